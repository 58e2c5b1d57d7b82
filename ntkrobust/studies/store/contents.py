"""What an object is, told in JSON: the same in every process, and another for whatever could give other numbers.

Numbers, texts and arrays are told by themselves, and objects by their class and what they hold. What a library brings
is told by its name and the library's version. A function or class of the user's own is told by its code and by
all that the code reads: defaults, variables it closes over, globals it names, and whole files of the user's modules
that it names. Names of files, of the function itself and lines of the source change nothing.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import json
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ntkrobust.values import Value, read_by

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OF_A_CLASS = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__annotate_func__",
                         "__annotations_cache__", "__dataclass_fields__", "__dataclass_params__", "__abstractmethods__",
                         "_abc_impl", "__firstlineno__", "__static_attributes__", "__match_args__",
                         "__parameters__"})  # fmt: skip
"""Of a class, what says nothing about numbers, or only repeats what the rest says."""


class UnnamedError(Exception):
    """An object that can't be told from others in another process; the sentence says which and why."""


def digest(value: Any) -> str:
    """SHA-256 of what an object is.

    Raises:
        UnnamedError: it, or something it holds or reads, can't be told.
    """
    return of_json(told(value))


def of_json(document: Any) -> str:
    """SHA-256 of a document, however its keys are ordered."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def told(value: Any) -> Any:
    """What an object is, as JSON has it.

    Raises:
        UnnamedError: it, or something it holds or reads, can't be told.
    """
    return _Telling().told(value)


class _Telling:
    """One description. An object that holds itself is told there by how far up it begins, so circles end.

    Whether two equal parts are one object makes no difference: what is told once is only looked up the second time.
    """

    def __init__(self) -> None:
        self._begun: list[int] = []
        self._done: dict[int, tuple[Any, Any]] = {}  # with the object, so that no other one gets its address

    def told(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, enum.Enum):
            return ["enum", self.told(type(value)), value.name]
        if isinstance(value, int | float | complex | np.generic):
            return _number(value)
        if isinstance(value, bytes):
            return ["bytes", hashlib.sha256(value).hexdigest()]
        if id(value) in self._begun:
            return ["circle", len(self._begun) - self._begun.index(id(value))]
        if id(value) not in self._done:
            self._begun.append(id(value))
            # A digest, because what many parts share would be written out as often.
            self._done[id(value)] = value, of_json(self._compound(value))
            self._begun.pop()
        return self._done[id(value)][1]

    def _compound(self, value: Any) -> Any:
        if isinstance(value, np.ndarray | jax.Array):
            return self._array(value)
        for kind, tell in self._kinds():
            if isinstance(value, kind):
                return tell(value)
        return self._object(value)

    def _kinds(self) -> tuple[tuple[Any, Callable[[Any], Any]], ...]:
        return (
            (Mapping, lambda one: ["map", sorted(([self.told(a), self.told(b)] for a, b in one.items()), key=_text)]),
            ((list, tuple), lambda one: ["list", [self.told(part) for part in one]]),
            ((set, frozenset), lambda one: ["set", sorted((self.told(part) for part in one), key=_text)]),
            (types.FunctionType, self._function),
            (types.CodeType, self._code),
            (types.ModuleType, self._module),
            (types.MethodType, lambda one: ["method", self.told(one.__func__), self.told(one.__self__)]),
            (functools.partial, lambda one: ["partial", *map(self.told, (one.func, one.args, one.keywords))]),
            ((staticmethod, classmethod), lambda one: [type(one).__name__, self.told(one.__func__)]),
            (property, lambda one: ["property", self.told(one.fget)]),
            (functools.cached_property, lambda one: ["property", self.told(one.func)]),
            (type, self._class),
        )

    def _array(self, value: Any) -> Any:
        if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            return ["key", str(jax.random.key_impl(value)), self.told(np.asarray(jax.random.key_data(value)))]
        array = np.asarray(value)
        if array.dtype.kind == "O":
            return ["array", list(array.shape), self.told(array.tolist())]
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        return ["array", list(array.shape), array.dtype.str, content]

    def _function(self, function: types.FunctionType) -> Any:
        named = _name_in_a_library(function)
        if named is not None:
            return named
        read = read_by(function)
        return ["function", self._code(function.__code__), [self.told(read[name]) for name in sorted(read)]]

    def _code(self, code: types.CodeType) -> Any:
        imported = [one.argval for one in dis.get_instructions(code) if one.opname == "IMPORT_NAME"]
        missing = [name for name in imported if name not in sys.modules]
        if missing:
            raise UnnamedError(f"{code.co_name} imports {missing[0]} when it is called: import it beside the function")
        return [
            "code",
            hashlib.sha256(code.co_code).hexdigest(),
            [self._code(one) if isinstance(one, types.CodeType) else self.told(one) for one in code.co_consts],
            list(code.co_names),
            [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
            [list(code.co_varnames), list(code.co_freevars), list(code.co_cellvars)],
            [self.told(sys.modules[name]) for name in imported],
        ]

    def _module(self, module: types.ModuleType) -> Any:
        if is_of_a_library(module.__name__):
            return ["library", module.__name__, _version(module.__name__)]
        file = getattr(module, "__file__", None)
        if file is None:
            raise UnnamedError(f"the module {module.__name__} has no file")
        paths = [Path(file)]
        if hasattr(module, "__path__"):
            paths = sorted(path for folder in module.__path__ for path in Path(folder).rglob("*.py"))
        used = {getattr(one, "__module__", None) for one in vars(module).values()} - {module.__name__}
        modules = [one for one in vars(module).values() if isinstance(one, types.ModuleType)]
        modules += [sys.modules[name] for name in sorted(filter(None, used), key=str) if name in sys.modules]
        others = [self.told(one) for one in modules if not is_of_a_library(one.__name__)]
        return ["module", [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths], others]

    def _class(self, kind: type) -> Any:
        named = _name_in_a_library(kind)
        if named is not None:
            return named
        own = {name: one for name, one in vars(kind).items() if name not in _OF_A_CLASS and not _is_made(one)}
        return ["class", [self.told(base) for base in kind.__bases__], self.told(own)]

    def _object(self, value: Any) -> Any:
        named = _name_in_a_library(value)
        if named is not None:
            return named
        if hasattr(value, "__wrapped__") and callable(value):  # what jax.jit and functools.wraps give
            return ["wrapped", self.told(type(value)), self.told(value.__wrapped__)]
        state = self.told(_state(value))
        return ["object", self.told(type(value)), state]


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return ["number", value.dtype.str, np.asarray(value).tobytes().hex()]
    if isinstance(value, float):
        return ["float", value.hex()]
    return int(value) if isinstance(value, int) else ["complex", value.real.hex(), value.imag.hex()]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _state(value: Any) -> dict[str, Any]:
    """What an object holds, without what is computed from it once."""
    if isinstance(value, Value):
        return value._contents()
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    if not hasattr(value, "__dict__") and not slots:
        raise UnnamedError(f"an object of {type(value).__qualname__} does not say what it holds")
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)} | dict(getattr(value, "__dict__", {}))
    computed = functools.cached_property
    return {name: one for name, one in held.items() if not isinstance(getattr(type(value), name, None), computed)}


def _is_made(member: Any) -> bool:
    """Whether a member of a class was made by ``dataclasses``, of the fields that are told anyway."""
    code = getattr(member, "__code__", None)
    return code is not None and code.co_filename == "<string>"


def _name_in_a_library(value: Any) -> Any | None:
    """The name by which a library, this package among them, has exactly this object; None if it is none of theirs."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", getattr(value, "__name__", None))
    if not isinstance(module, str) or not isinstance(name, str) or not is_of_a_library(module):
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return ["library", f"{module}.{name}", _version(module)] if found is value else None


@functools.cache
def is_of_a_library(module: str) -> bool:
    """Whether a module comes with Python, is installed, or is of this package."""
    top = module.partition(".")[0]
    if top == "ntkrobust" or top in sys.builtin_module_names or top == "builtins":
        return True
    file = getattr(sys.modules.get(top), "__file__", None) or getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return top in sys.stdlib_module_names and top != "__main__"
    return any(Path(file).is_relative_to(folder) for folder in _LIBRARIES)


@functools.cache
def _version(module: str) -> str:
    """The version of the library that a module is of; "" for Python's own and this package."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "ntkrobust":
        return ""
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(top), "__version__", ""))
