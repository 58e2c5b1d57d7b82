"""What users give to :func:`ntkrobust.attack`, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import check_not_negative
from ntkrobust.data.checks import as_numeric
from ntkrobust.data.encoding import encode_like
from ntkrobust.data.labels import Classes
from ntkrobust.errors import InputError
from ntkrobust.finite.arrays import as_radius, single_precision
from ntkrobust.finite.training.run import Run
from ntkrobust.networks.parameters import Parameters


def check_radii(epsilon: float | Sequence[float], x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Radii (E,) around inputs x (n, d).

    Raises:
        InputError: one is negative, not a finite number, or none that single precision knows, or there are none.
    """
    as_numeric("epsilon", epsilon)
    if np.ndim(epsilon) not in (0, 1) or np.size(epsilon) == 0:
        raise InputError(f"epsilon must be a number or a sequence of numbers, got shape {np.shape(epsilon)}")
    listed = [epsilon] if np.ndim(epsilon) == 0 else list(np.asarray(epsilon))
    radii = [check_not_negative("epsilon", _plain(one)) for one in listed]
    for radius in filter(None, radii):
        as_radius(radius, x)
    return np.array(radii)


def _plain(number: object) -> object:
    """A numpy scalar, or array of shape (), as a Python number."""
    return number.item() if isinstance(number, np.generic | np.ndarray) else number


def check_labels(
    y: npt.ArrayLike, n: int, y_train: npt.NDArray[np.floating], classes: Classes | None
) -> npt.NDArray[np.int32]:
    """True classes (n,) as networks have them: ±1 for one output, 0 … o−1 for several.

    ``y`` holds labels (n,), which mean what they meant in training, with the targets ``y_train`` (m, o) and the
    ``classes``; or targets (n, o), ±1 or one-hot rows.

    Raises:
        InputError: it has another shape, or a label that training never saw.
    """
    targets, d_out = encode_like("y", y, y_train, classes, only_class=True), y_train.shape[1]
    if targets.shape != (n, d_out):
        raise InputError(f"y must have shape ({n},) or ({n}, {d_out}), got {np.shape(y)}")
    if d_out == 1:
        return targets[:, 0].astype(np.int32)
    one_hot = np.isin(targets, (0, 1)).all(axis=1) & (targets.sum(axis=1) == 1)
    if not one_hot.all():
        row = int(np.argmin(one_hot))
        raise InputError(f"y must hold one-hot rows or integer labels, but row {row} (from 0) is {targets[row]}")
    return np.argmax(targets, axis=1).astype(np.int32)


def check_points(x: npt.ArrayLike, d: int) -> npt.NDArray[np.float32]:
    """Inputs (n, d) in single precision; InputError otherwise."""
    points = single_precision("x", x)
    if points.shape[1] != d:
        raise InputError(f"x must have shape (n, {d}), got {points.shape}")
    return points


def snapshot(run: Run, record: int) -> tuple[Parameters, npt.NDArray[np.bool_]]:
    """Parameters at a record, and which seeds (seed,) can be attacked: those that have not diverged.

    Raises:
        InputError: there is no such record, or all have diverged, as networks have whose weights are not finite.
    """
    records = len(run.snapshots)
    if isinstance(record, bool) or not isinstance(record, int | np.integer) or not -records <= record < records:
        raise InputError(
            f"record must be one of the run's {records} records, counted from 0 or from -1, got {record!r}"
        )
    has_diverged = np.asarray(run.status) == "diverged"
    if has_diverged.all():
        raise InputError("every network of the run has diverged: there is nothing to attack")
    return run.snapshots[record], ~has_diverged
