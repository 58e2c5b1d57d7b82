"""Measures of ensembles at points."""
