"""The statements that this package knows, one file per source."""
