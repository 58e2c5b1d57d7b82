"""Data sets: scikit-learn's digits, synthetic points, and the user's own files.

Everything here is numpy and runs without a network; every draw comes from a visible seed.
"""

from ntkrobust.data.bundled import digits
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.encoding import targets
from ntkrobust.data.files import from_file
from ntkrobust.data.names import NAMES, load
from ntkrobust.data.synthetic import gaussian, sphere

__all__ = ["NAMES", "Dataset", "digits", "from_file", "gaussian", "load", "sphere", "targets"]
