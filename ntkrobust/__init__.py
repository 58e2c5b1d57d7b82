"""Check robustness theorems about neural networks against reality."""
