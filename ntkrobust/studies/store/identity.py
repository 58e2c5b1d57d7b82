"""What the numbers of a cell depend on, as one name: a digest of all that changes them and nothing that does not.

Names of data sets, networks, measures and claims, folders, how seeds are laid out, and the machine are left out. The
layout changes the rounding of float32, as everything does that decides which products are taken together; so does the
number of networks that are asked for at once. Therefore networks are stored as they were asked for (see
:mod:`ntkrobust.studies.store.segments`), and a run that goes on asks as the one before it did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from ntkrobust.data import Dataset
from ntkrobust.errors import one_line
from ntkrobust.finite.measures.base import Measure
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.network import Network
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.store.contents import digest, of_json, told

NUMERICS = 1
"""To be raised by whoever changes what networks are drawn, trained or measured to: what was stored before is then
computed again. Versions of JAX, whose random numbers and compiler may change, count by themselves."""

SETTINGS = ("jax_enable_x64", "jax_threefry_partitionable")
"""Flags of JAX that change random numbers or precision."""

_SAID_OF_A_MEASURE = ("name", "definition", "source", "side")
"""What is said of a measure beside what it computes."""


def numerics() -> dict[str, Any]:
    """What all numbers of this process depend on."""
    flags = {name: bool(getattr(jax.config, name)) for name in SETTINGS}
    return {"numerics": NUMERICS, "jax": jax.__version__, "jaxlib": version("jaxlib"),
            "precision": np.dtype(TRAINING_DTYPE).name, **flags}  # fmt: skip


def digest_of_data(data: Dataset) -> str:
    """Of its content: points, targets, range; not of its name."""
    held = {field.name: getattr(data, field.name) for field in dataclasses.fields(data) if field.name != "name"}
    return digest(held)


class Identities:
    """Names of cells and measures, on one data set with one key.

    Attributes:
        data: digest of the data.
        numerics: digest of :func:`numerics`.
        code: what networks and measures show themselves as → names of those that do.
    """

    def __init__(self, data: Dataset, key: jax.Array, points: int, pilot: int = 0) -> None:
        """On these data, with this key and so many test points.

        Args:
            data, key, points: of the run.
            pilot: of networks that judge nothing, and take the largest steps: how many each cell gets that do judge,
                since they run in the same programs.
        """
        self.code: dict[str, set[str]] = {}
        self._pilot = pilot
        self.data, self.numerics = digest_of_data(data), of_json(numerics())
        self._data, self._points, self._key = data, points, told(key)
        # By address, with the object so that no other one gets it: to hash a network takes as long as to name it.
        self._cells: dict[int, tuple[Cell, str]] = {}
        self._measures: dict[int, tuple[Measure, str]] = {}
        self._networks: dict[Network, str] = {}

    def of_cell(self, cell: Cell) -> str:
        """The name of a cell.

        Raises:
            UnnamedError: its network holds or reads what can't be told from others in another process.
        """
        if id(cell) not in self._cells:
            self._cells[id(cell)] = cell, self._named(cell)
        return self._cells[id(cell)][1]

    def _named(self, cell: Cell) -> str:
        fields = {field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}
        unit = cell.unit
        described = {
            "numerics": self.numerics,
            "data": self.data,
            "key": self._key,
            **{name: told(one) for name, one in fields.items() if name not in ("net", "unit", "points", "outside")},
            "points": min(cell.points or self._points, len(self._data.x_test)),
            "net": self._of_network(cell.net),
            "unit": None if unit is None else [self._of_network(unit.net), unit.n, told(unit.scale)],
            **({"pilot": self._pilot} if self._pilot else {}),
        }
        return of_json(described)

    def of_measures(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        """Name in the result → the name of the measure.

        Raises:
            UnnamedError: one of them can't be told.
        """
        return {name: self._of_measure(measure) for name, measure in measures.items()}

    def _of_measure(self, measure: Measure) -> str:
        if id(measure) not in self._measures:
            held = {name: one for name, one in measure._contents().items() if name not in _SAID_OF_A_MEASURE}
            self._measures[id(measure)] = measure, digest([type(measure), held])
            self._note(f"the measure {measure.name}", self._measures[id(measure)][1])
        return self._measures[id(measure)][1]

    def _of_network(self, net: Network) -> str:
        if net not in self._networks:
            self._networks[net] = of_json(described_network(net, self._data.d))
            self._note(f"the network {net!r} of {self._data.d} inputs", self._networks[net])
        return self._networks[net]

    def _note(self, shown: str, name: str) -> None:
        if " at 0x" not in shown:  # an address says nothing in another process
            self.code.setdefault(one_line(shown, 500), set()).add(name)


def described_network(net: Network, d: int) -> Any:
    """What a network is. Those of the package, by what they are drawn with: an initialization by its numbers.

    Raises:
        UnnamedError: it holds or reads what can't be told.
    """
    if not isinstance(net, LayeredNetwork) or not type(net).__module__.startswith("ntkrobust."):
        return told(net)
    fields = {field.name: getattr(net, field.name) for field in dataclasses.fields(net)}  # type: ignore[arg-type]
    del fields["initialization"]
    scales = [*net.weight_stds(d), net.scales(d).alpha]
    return [told(type(net)), told(fields), told([float(one) for one in scales])]
