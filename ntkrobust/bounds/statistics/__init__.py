"""Tests on samples of networks, one file per subject. Nothing here knows what a claim is."""

from ntkrobust.bounds.statistics.estimates import MINIMUM_SEEDS, Estimate, log_mean, mean
from ntkrobust.bounds.statistics.multiplicity import bonferroni, holm, holm_levels
from ntkrobust.bounds.statistics.power import networks_needed

__all__ = ["MINIMUM_SEEDS", "Estimate", "bonferroni", "holm", "holm_levels", "log_mean", "mean", "networks_needed"]
