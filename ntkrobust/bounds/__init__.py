"""Do networks obey what theorems say? The exact law, claims, statistics and verdicts."""
