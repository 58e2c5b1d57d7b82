"""Data sets: scikit-learn's digits and tables, synthetic points, one's own arrays, files and image folders, openml.org.

Everything here is numpy; every draw comes from a visible seed. Nothing but :func:`from_openml` goes to a network.
"""

from ntkrobust.data.arrays import from_arrays
from ntkrobust.data.bundled import digits
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.encoding import targets
from ntkrobust.data.files import from_file
from ntkrobust.data.folders import from_folder
from ntkrobust.data.names import NAMES, Data, each, load
from ntkrobust.data.openml import from_openml
from ntkrobust.data.standard import standardized
from ntkrobust.data.synthetic import gaussian, sphere
from ntkrobust.data.tables import table

__all__ = [
    "NAMES",
    "Data",
    "Dataset",
    "digits",
    "each",
    "from_arrays",
    "from_file",
    "from_folder",
    "from_openml",
    "gaussian",
    "load",
    "sphere",
    "standardized",
    "table",
    "targets",
]
