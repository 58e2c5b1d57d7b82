"""Tests on samples of networks, one file per subject. Nothing here knows what a claim is."""

from ntkrobust.bounds.statistics.estimates import MINIMUM_SEEDS, Estimate, log_mean, mean
from ntkrobust.bounds.statistics.multiplicity import bonferroni, holm
from ntkrobust.bounds.statistics.power import seeds_needed

__all__ = ["MINIMUM_SEEDS", "Estimate", "bonferroni", "holm", "log_mean", "mean", "seeds_needed"]
