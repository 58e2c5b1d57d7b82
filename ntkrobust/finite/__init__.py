"""Finite networks: parameters, training, measures."""
