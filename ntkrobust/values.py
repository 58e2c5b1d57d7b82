"""Objects that are values: equal if their contents are, and the same after pickling, copying or a trip to a process.

Three things keep ordinary dataclasses from that. Arrays have no truth value, so fields of arrays can't be compared.
JAX arrays in float64 come back in float32 wherever 64 bits are not switched on. And functions written in place
(``lambda``, or inside of another function) can be neither pickled nor found equal to their copies. :class:`Value` takes
care of all of them.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import html
import pickle
import sys
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np

if TYPE_CHECKING:
    import jax


_LONGEST = 160
"""Characters of a fact in a table: what is longer is cut."""


class Shown:
    """Base class of objects that a notebook shows as a short table: what they are, and :meth:`_facts` of them."""

    def _facts(self) -> Mapping[str, Any]:
        """What a reader wants to know first, name → value: fields or public attributes, unless a class knows better."""
        if dataclasses.is_dataclass(self):
            return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def _repr_html_(self) -> str | None:
        left = 'style="text-align:left"'
        rows = "".join(
            f'<tr><th scope="row" {left}>{html.escape(name)}</th><td {left}>{html.escape(briefly(value))}</td></tr>'
            for name, value in self._facts().items()
        )
        return f"<table><caption {left}>{type(self).__name__}</caption>{rows}</table>"


def briefly(value: Any) -> str:
    """A value in a few words: arrays by their type and shape, long texts cut."""
    if isinstance(value, np.ndarray) or _is_of_jax(value):
        return f"{value.dtype} {value.shape}"
    text = f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else as_code(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class Value(Shown):
    """Base class of objects that are equal by content, hashable, and survive pickle and copy.

    Dataclasses that derive from it are made with ``eq=False``, and compared by their fields; others by their attributes
    without what is computed from them once (``functools.cached_property``). A copy shares immutable contents:
    functions and JAX arrays. Pickles hold functions that can't be imported by value, with :mod:`cloudpickle`; like
    all pickles they can execute code when they are read.
    """

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        return same(self._contents(), other._contents())

    def __hash__(self) -> int:
        return hash((type(self).__qualname__, content_hash(self._contents())))

    def __repr__(self) -> str:
        shown = (f"{name}={as_code(value)}" for name, value in self._contents().items())
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _contents(self) -> dict[str, Any]:
        if dataclasses.is_dataclass(self):
            return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.compare}
        return self._stored()

    def _stored(self) -> dict[str, Any]:
        """Attributes, without those that are computed from others once."""
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(type(self), name, None), functools.cached_property)
        }

    def __getstate__(self) -> dict[str, Any]:
        return {name: _packed(value) for name, value in self._stored().items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: _unpacked(value) for name, value in state.items()})


def as_code(value: Any) -> str:
    """``repr``, with functions by their names: where they lie in memory differs from process to process."""
    if isinstance(value, types.FunctionType):
        return value.__name__
    if type(value) is dict:
        return f"{{{', '.join(f'{name!r}: {as_code(one)}' for name, one in value.items())}}}"
    if type(value) is tuple:
        return f"({', '.join(map(as_code, value))}{',' * (len(value) == 1)})"
    if type(value) is list:
        return f"[{', '.join(map(as_code, value))}]"
    return repr(value)


def same(one: Any, other: Any) -> bool:
    """Whether two contents are equal: arrays in shape, type and every entry, functions in code and all that it reads.

    NaN equals NaN.
    """
    return _same(one, other, set())


def _same(one: Any, other: Any, seen: set[tuple[int, int]]) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return isinstance(one, int | float) and isinstance(other, int | float) and one == other
    if isinstance(one, types.FunctionType):
        pair = (id(one), id(other))
        if pair in seen:  # functions that call themselves
            return True
        seen.add(pair)
        return one.__code__ == other.__code__ and _same(read_by(one), read_by(other), seen)
    if isinstance(one, functools.partial):
        return _same((one.func, one.args, one.keywords), (other.func, other.args, other.keywords), seen)
    if isinstance(one, np.ndarray) or _is_of_jax(one):
        return _same_arrays(one, other)
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(_same(one[name], other[name], seen) for name in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(_same(a, b, seen) for a, b in zip(one, other, strict=True))
    if hasattr(one, "identical"):  # what xarray has
        return bool(one.identical(other))
    return bool(one == other) or (isinstance(one, float) and one != one and other != other)


def _same_arrays(one: Any, other: Any) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if _is_of_jax(one):
        one, other = _numbers(one), _numbers(other)
    return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def read_by(function: types.FunctionType) -> dict[str, Any]:
    """What a function reads beside its arguments: defaults, the variables it closes over, the globals it names."""
    cells = {
        name: cell.cell_contents if _is_filled(cell) else None
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    }
    names = _globals_of(function.__code__)
    read = {name: function.__globals__[name] for name in names if name in function.__globals__}
    return {"cells": cells, "globals": read, "defaults": (function.__defaults__, function.__kwdefaults__)}


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  reads it
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def _globals_of(code: types.CodeType) -> tuple[str, ...]:
    """Names of globals that a function reads, or functions written inside of it, in order."""
    own = [str(one.argval) for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"]
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _globals_of(part)]
    return tuple(dict.fromkeys([*own, *inner]))


def content_hash(value: Any) -> int:
    """A hash of contents; equal for those that are the :func:`same`."""
    if isinstance(value, types.FunctionType):
        return hash(value.__code__)
    if isinstance(value, functools.partial):
        return content_hash((value.func, value.args, value.keywords))
    if isinstance(value, np.ndarray) or _is_of_jax(value):
        numbers = _numbers(value) if _is_of_jax(value) else value
        return hash((numbers.shape, str(value.dtype), _digest(numbers)))
    if isinstance(value, Mapping):
        return hash(tuple((name, content_hash(one)) for name, one in value.items()))
    if isinstance(value, tuple | list):
        return hash(tuple(content_hash(one) for one in value))
    if isinstance(value, float) and value != value:
        return 0
    if hasattr(value, "identical"):
        return hash(type(value).__qualname__)
    return hash(value)


def _digest(array: np.ndarray) -> int:
    if array.dtype.kind == "O":
        return content_hash(array.tolist())
    if array.dtype.kind in "fc":
        # −0 equals 0, and one NaN another.
        array = np.where(np.isnan(array), np.nan, array + 0.0)
    return hash(array.tobytes())


def _is_of_jax(value: Any) -> bool:
    """Whether this is a JAX array. None is where JAX was not imported, which reading data does without."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array)


def _numbers(array: jax.Array) -> np.ndarray:
    """The numbers of an array, or of typed keys."""
    import jax

    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(array))
    return np.asarray(array)


class Carried:
    """What does not travel by itself: functions, JAX arrays, typed keys, read-only arrays. Copies share it."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __deepcopy__(self, memo: dict[int, Any]) -> Carried:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        content = self.content
        if isinstance(content, np.ndarray):
            return _restored_read_only, (content,)
        if not _is_of_jax(content):
            return _restored_function, (cloudpickle.dumps(content),)
        import jax

        if jax.dtypes.issubdtype(content.dtype, jax.dtypes.prng_key):
            return _restored_key, (_numbers(content), str(jax.random.key_impl(content)))
        return _restored_array, (_numbers(content),)


def _restored_function(stored: bytes) -> Carried:
    return Carried(pickle.loads(stored))


def _restored_read_only(array: np.ndarray) -> Carried:
    array.setflags(write=False)
    return Carried(array)


def _restored_key(numbers: np.ndarray, implementation: str) -> Carried:
    import jax

    return Carried(jax.random.wrap_key_data(jax.numpy.asarray(numbers), impl=implementation))


def _restored_array(numbers: np.ndarray) -> Carried:
    import jax

    # Outside of this context float64 would silently become float32.
    with jax.enable_x64(True):
        return Carried(jax.numpy.asarray(numbers))


def _packed(value: Any) -> Any:
    if isinstance(value, types.FunctionType | functools.partial) or _is_of_jax(value):
        return Carried(value)
    if type(value) is np.ndarray and not value.flags.writeable:
        return Carried(value)
    return _mapped(_packed, value)


def _unpacked(value: Any) -> Any:
    return value.content if isinstance(value, Carried) else _mapped(_unpacked, value)


def _mapped(change: Any, value: Any) -> Any:
    """``change`` of what plain containers hold; everything else as it is."""
    if type(value) is dict:
        return {name: change(one) for name, one in value.items()}
    if type(value) in (tuple, list):
        return type(value)(change(one) for one in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(change(one) for one in value))
    return value


def equal_tuples(one: tuple[Any, ...], other: object) -> bool:
    """``==`` of named tuples that hold arrays."""
    return type(one) is type(other) and same(tuple(one), tuple(other))


def hash_of_tuple(one: tuple[Any, ...]) -> int:
    """Their hash."""
    return content_hash(tuple(one))
