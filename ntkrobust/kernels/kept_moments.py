"""Expectations over neurons, kept between calls: they know the points, and neither times nor targets.

Curves over time, and over the size of the labels, so cost what one of their points does.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator

import numpy as np

from ntkrobust.kernels.neuron_moments import Neurons, TestMoments, TrainMoments

Moments = tuple[TrainMoments, TestMoments]

KEPT_BYTES = 2**28
"""What is kept, together; moments of larger problems are computed each time."""

_kept: OrderedDict[Hashable, tuple[Moments, ...]] = OrderedDict()
_lock = threading.Lock()


def kept(made_by: tuple[Hashable, ...], neurons: Neurons, make: Callable[[], Iterable[Moments]]) -> Iterator[Moments]:
    """Moments of each independent set of neurons, one after another: those that are kept, or those of ``make``.

    Args:
        made_by: what they depend on beside the points: the functions that make them, and their arguments.
        neurons: the points.
        make: computes them.
    """
    key = (made_by, _digest(neurons))
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
    if found is not None:
        yield from found
        return
    seen: list[Moments] = []
    fits = True
    for one in make():
        seen.append(one)
        if not (fits := fits and _size(seen) <= KEPT_BYTES):
            seen.clear()
        yield one
    if fits:
        _keep(key, tuple(seen))


def _keep(key: Hashable, found: tuple[Moments, ...]) -> None:
    """Keep them, and let go of those that were used longest ago."""
    with _lock:
        _kept[key] = found
        while sum(map(_size, _kept.values())) > KEPT_BYTES:
            _kept.popitem(last=False)


def _size(sets: Iterable[Moments]) -> int:
    return sum(array.nbytes for pair in sets for moments in pair for array in moments)


def _digest(neurons: Neurons) -> bytes:
    """Of the contents of all arrays."""
    digest = hashlib.sha256()
    for one in neurons:
        array = np.ascontiguousarray(one, dtype=np.float64)
        digest.update(repr(array.shape).encode())
        digest.update(array.tobytes())
    return digest.digest()
