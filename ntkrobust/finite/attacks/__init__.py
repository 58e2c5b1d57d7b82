"""Attacks on whole ensembles: points in a ball around each input that change the class, one file per method."""
