"""What cells gave, on disk: named by all that changes it and nothing that does not, so that no run does it again."""
