"""Files that appear whole or not at all, alone or together; folders of one run at a time; archives of bounded size."""
