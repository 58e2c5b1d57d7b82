"""Training of ensembles: optimizers, losses, adversaries, runs, and what is kept of them."""
