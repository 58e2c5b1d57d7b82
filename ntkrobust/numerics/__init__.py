"""Arithmetic that all rooms share: precision, sizes beyond float32, special functions, norms of matrices."""
