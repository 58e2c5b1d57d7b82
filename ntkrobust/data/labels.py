"""The classes of a classification: which label stands for which column of the targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError

Label = bool | int | str
Classes = tuple[Label, ...]

Kind = Literal["label", "target"]
"""What numbers are that could be either."""

FEW = 20
"""Different whole numbers that are taken for classes without being asked, at most."""

EXACT_INTEGERS = 2.0**53
"""Below this every integer is a float64, so a label read as float64 is the label that was written."""

_SHOWN = 12


def classes_in(labels: npt.NDArray[np.generic]) -> Classes:
    """The labels that occur, sorted."""
    return tuple(np.unique(labels).tolist())


def check_classes(classes: object) -> Classes:
    """Labels of the columns of targets, in their order: at least two different integers, booleans or texts.

    Raises:
        InputError: it is something else.
    """
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if not isinstance(classes, Sequence) or isinstance(classes, str | bytes):
        raise InputError(f"classes must be None or a sequence of labels, got {classes!r}")
    found = tuple(one.item() if isinstance(one, np.generic) else one for one in classes)
    if not all(isinstance(one, bool | int | str) for one in found):
        strange = next(one for one in found if not isinstance(one, bool | int | str))
        raise InputError(f"classes must be integers, booleans or texts, got {strange!r}")
    if len({isinstance(one, str) for one in found}) > 1:
        raise InputError(f"classes must be numbers or texts, not both, got {found!r}")
    if len(found) < 2 or len(set(found)) < len(found):
        raise InputError(f"classes must be at least two different labels, got {found!r}")
    return found


def shown_classes(classes: Classes) -> str:
    """Some of the labels, for a sentence."""
    some = [repr(one) if isinstance(one, str) else str(one) for one in classes[:_SHOWN]]
    return ", ".join(some) + (f", … ({len(classes)} classes)" if len(classes) > _SHOWN else "")
