"""What plots are given, as curves: samples of networks at numbers along an axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ntkrobust.bounds import statistics
from ntkrobust.checks import shown
from ntkrobust.errors import InputError

AVERAGED = ("point",)
"""Dimensions that are averaged over before anything is drawn."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """Networks along an axis.

    Attributes:
        name: what tells the curve apart: a text, a number, or "" where there is one only.
        x: (k,) increasing.
        samples: k samples, (n_i,) each; networks without a finite number are left out.
    """

    name: Any
    x: np.ndarray
    samples: tuple[np.ndarray, ...]

    def after_zero(self) -> Curve:
        """The part where x is positive."""
        kept = tuple(sample for sample, place in zip(self.samples, self.x, strict=True) if place > 0)
        return Curve(self.name, self.x[self.x > 0], kept)

    def means(self) -> np.ndarray:
        """(k,) the means; NaN where there is no network."""
        return np.array([np.mean(one) if len(one) else np.nan for one in self.samples])

    def band(self) -> tuple[np.ndarray, np.ndarray]:
        """(k,), (k,) the ends of the 95 % intervals of the means; NaN where there are fewer than two networks."""
        ends = [statistics.mean(one).interval() if len(one) > 1 else (np.nan, np.nan) for one in self.samples]
        low, high = np.array(ends).reshape(-1, 2).T
        return low, high


def curves(
    data: Any,
    along: str,
    *,
    measure: str | None = None,
    x: Any = None,
    by: str | None = None,
    at: Any = None,
    usual: Sequence[str] = (),
) -> list[Curve]:
    """Curves out of whatever the functions of :mod:`ntkrobust.plots` take.

    Args:
        data: an array (k, n) or (k,) with ``x``; a mapping of numbers along the axis to samples; an
            :class:`xarray.DataArray` or ``Dataset`` with the dimension ``along``; evidence, or what has some; or a
            mapping of names to any of these.
        along: the axis.
        measure: its name, where there is more than one.
        x: (k,) numbers along the axis, for arrays.
        by: the dimension or coordinate that tells curves apart.
        at: coordinate → value: which of the others.
        usual: measures that are taken where none is named and there are several, the first that there is.

    Raises:
        InputError: something is missing, or left open.
    """
    chosen = {} if at is None else dict(at)
    if isinstance(data, Mapping) and not isinstance(data, xr.Dataset | xr.DataTree):
        if not data:
            raise InputError("there is nothing to draw: the mapping is empty")
        if not all(isinstance(name, int | float | np.number) for name in data):
            return [
                dataclasses.replace(one, name=name if one.name == "" else f"{name}, {one.name}")
                for name, part in data.items()
                for one in curves(part, along, measure=measure, x=x, by=by, at=at, usual=usual)
            ]
        places = sorted(data)
        samples = [_sample(data[place], measure, chosen, usual) for place in places]
        return [Curve("", np.array(places, dtype=float), tuple(samples))]
    table = table_of(data, measure, usual)
    if isinstance(table, np.ndarray):
        return [_of_array(table, along, x)]
    return _of_table(_selected(table, chosen, keep=(along, by)), along, by)


def table_of(data: Any, measure: str | None, usual: Sequence[str] = ()) -> xr.DataArray | np.ndarray:
    """One measure out of a data set or of evidence, along its own dimensions; plain arrays as they are.

    Where none is named and there are several, the first of ``usual`` that is among them.

    Raises:
        InputError: there is no such measure, or several and none is named; or these are no numbers.
    """
    data = getattr(data, "evidence", data)
    if isinstance(data, xr.DataTree):
        if "measured" not in data.children:
            raise InputError("evidence has a group `measured`, and this tree has none")
        if measure is None:
            raise InputError("evidence holds several measures: name one, measure=...")
        data = data["measured"].to_dataset()
    if isinstance(data, xr.Dataset):
        names = [str(name) for name in data.data_vars]
        if measure is None and len(names) > 1:
            measure = next((name for name in usual if name in names), None)
        if measure is None and len(names) != 1:
            raise InputError(f"which measure? measure= one of {', '.join(names) or 'none'}")
        if measure is not None and measure not in names:
            raise InputError(f"measure must be one of {', '.join(names) or 'none'}, got {shown(measure)}")
        data = data[measure or names[0]]
    if isinstance(data, xr.DataArray):
        return data
    try:
        array = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"data must be a data set of xarray, evidence, an array or a mapping of these, got {shown(data)}"
        ) from None
    return array


def _sample(data: Any, measure: str | None, at: Mapping[str, Any], usual: Sequence[str]) -> np.ndarray:
    """(n,) networks, out of what stands at one number of the axis."""
    table = table_of(data, measure, usual)
    if isinstance(table, xr.DataArray):
        table = _selected(table, at, keep=("seed",)).mean(_averaged(table)).to_numpy()
    if table.ndim > 1:
        raise InputError(f"at one place there is one number per network, an array (n,), got shape {table.shape}")
    return _finite(np.atleast_1d(table))


def _of_array(table: np.ndarray, along: str, x: Any) -> Curve:
    if x is None:
        raise InputError(f"an array needs x, its numbers along {along}")
    places = np.asarray(x, dtype=np.float64)
    if table.ndim not in (1, 2) or places.ndim != 1 or len(places) != len(table):
        raise InputError(
            f"an array must be ({along}, network) with as many rows as x has numbers, got {table.shape} and "
            f"{places.shape}"
        )
    order = np.argsort(places, kind="stable")
    return Curve("", places[order], tuple(_finite(np.atleast_1d(table[index])) for index in order))


def _selected(table: xr.DataArray, at: Mapping[str, Any], keep: Sequence[str | None]) -> xr.DataArray:
    """The part at these coordinates. Records: of those of a run, the last one, unless ``at`` says which."""
    for name, value in at.items():
        if name in table.dims and name not in table.coords:
            table = table.isel({name: value})
        elif name in table.coords:
            along = table.coords[name].dims
            if len(along) > 1:
                raise InputError(f"at[{name!r}] would have to be one number per place, and {name} has several")
            matches = np.atleast_1d(table.coords[name].to_numpy() == value)
            if not matches.any():
                raise InputError(f"there is nothing at {name} = {shown(value)}")
            table = table.isel({along[0]: np.flatnonzero(matches)}) if along else table
        else:
            raise InputError(f"there is no {name!r}, only {', '.join(map(str, table.coords))}")
    if "time" in table.dims and "time" not in keep and "time" not in at:
        table = table.isel(time=-1)
    return table


def _averaged(table: xr.DataArray) -> list[str]:
    return [name for name in AVERAGED if name in table.dims]


def _of_table(table: xr.DataArray, along: str, by: str | None) -> list[Curve]:
    table = table.mean(_averaged(table))
    if "cell" in table.dims:
        return _of_cells(table, along, by)
    for name in (along, by):
        if name is not None and name not in table.dims:
            raise InputError(f"data have no dimension {name!r}, only {', '.join(map(str, table.dims)) or 'none'}")
    table = table.squeeze([name for name in table.dims if table.sizes[name] == 1 and name not in (along, by, "seed")])
    rest = [str(name) for name in table.dims if name not in (along, by, "seed")]
    if rest:
        raise InputError(
            f"data have several values of {rest[0]}: choose one, at={{{rest[0]!r}: ...}}, or by={rest[0]!r}"
        )
    if "seed" not in table.dims:
        table = table.expand_dims("seed")
    table = table.sortby(along) if along in table.coords else table
    x = _numbers(table[along].to_numpy(), along)
    parts = [("", table)] if by is None else [(_plain(name), table.sel({by: name})) for name in table[by].to_numpy()]
    return [
        Curve(name, x, tuple(_finite(row) for row in part.transpose(along, "seed").to_numpy())) for name, part in parts
    ]


def _of_cells(table: xr.DataArray, along: str, by: str | None) -> list[Curve]:
    """Curves out of evidence, whose rows are cells with coordinates."""
    for name in (along, by):
        if name is not None and name not in table.coords:
            raise InputError(f"evidence has no {name!r}, only {', '.join(map(str, table.coords))}")
    values = table.transpose("cell", "seed").to_numpy()
    used = np.isfinite(values).any(1)
    names = table[by].to_numpy() if by is not None else np.full(len(values), "")
    found = []
    for name in dict.fromkeys(names[used].tolist()):
        rows = np.flatnonzero(used & (names == name))
        places = _numbers(table[along].to_numpy()[rows], along)
        if len(set(places)) < len(places):
            varied = [
                str(other)
                for other, of in table.coords.items()
                if of.dims == ("cell",) and other not in (along, by, "cell", "parameters", "plan")
                and len(set(map(str, of.to_numpy()[rows].tolist()))) > 1
            ]  # fmt: skip
            raise InputError(
                f"evidence has several cells at one {along}: choose with at={{...}}, or tell them apart with by=..., "
                f"by {', '.join(varied) or 'a coordinate of your own'}"
            )
        order = rows[np.argsort(places)]
        found.append(Curve(_plain(name), np.sort(places), tuple(_finite(values[row]) for row in order)))
    if not found:
        raise InputError("there is nothing to draw: no network has this measure there")
    return found


def _numbers(values: np.ndarray, along: str) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{along} must have numbers, got {shown(values.ravel()[0].item())}") from None


def _plain(name: Any) -> Any:
    """A coordinate as Python has it: a text, or a number."""
    value = name.item() if isinstance(name, np.generic) else name
    return value if isinstance(value, str | int | float) else str(value)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
