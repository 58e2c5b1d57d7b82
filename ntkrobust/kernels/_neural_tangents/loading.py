"""Imports neural-tangents' modules so that they see views of JAX, and leaves its TensorFlow part out.

Nothing outside neural-tangents' own modules changes. While they are being imported, a finder at the head of
``sys.meta_path`` gives each of them builtins whose ``__import__`` returns the views; the finder knows no other
package's modules, and is removed again. Compiled bytecode is the ordinary one.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

PACKAGE = "neural_tangents"
_TENSORFLOW_PART = ("experimental", "experimental.empirical_tf", "experimental.empirical_tf.empirical")


def import_with_views(views: dict[str, types.ModuleType]) -> types.ModuleType:
    """Import neural-tangents, its modules seeing ``views``, without ``neural_tangents.experimental``."""
    forget()
    for name in _TENSORFLOW_PART:
        sys.modules[f"{PACKAGE}.{name}"] = _LeftOut(f"{PACKAGE}.{name}")
    finder = ViewFinder(PACKAGE, views)
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(PACKAGE)
    except BaseException:
        forget()
        raise
    finally:
        sys.meta_path.remove(finder)


def is_loaded() -> bool:
    """Whether neural-tangents was imported to its end: its last names are there."""
    return all(hasattr(sys.modules.get(PACKAGE), name) for name in ("stax", "predict", "Kernel"))


def left_out() -> list[str]:
    """Names of the modules that were left out."""
    return [name for name, module in sys.modules.items() if isinstance(module, _LeftOut)]


def forget() -> None:
    """Drop all of neural-tangents from ``sys.modules``: a failed import leaves some of its modules there."""
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def own_modules() -> Iterator[types.ModuleType]:
    """The modules of neural-tangents that are loaded."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == PACKAGE and not isinstance(module, _LeftOut):
            yield module


def show_views(views: dict[str, types.ModuleType]) -> None:
    """Let modules of neural-tangents that other code imported see ``views`` from here on."""
    seen = {id(sys.modules[name]): view for name, view in views.items() if name in sys.modules}
    for module in own_modules():
        for name, value in list(vars(module).items()):
            if id(value) in seen:
                setattr(module, name, seen[id(value)])


def replace(module: str, name: str, make: Callable[[Any], Any]) -> None:
    """Replace ``module.name`` by what ``make`` makes of it, in every module of neural-tangents that imported it."""
    old = getattr(sys.modules[module], name)
    new = make(old)
    for own in own_modules():
        for own_name, value in list(vars(own).items()):
            if value is old:
                setattr(own, own_name, new)


class _LeftOut(types.ModuleType):
    """Stands for a module of ``neural_tangents.experimental``; using it raises one sentence."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what tools ask of every module, to learn whether it has one
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        raise ImportError(
            f"{self.__name__}.{name} is left out: it converts TensorFlow models, which ntkrobust doesn't support; "
            "neural_tangents.empirical_ntk_fn computes the kernel of any JAX function"
        )


class ViewFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of one package where the other finders find them, and loads them with views of JAX."""

    def __init__(self, package: str, views: dict[str, types.ModuleType]) -> None:
        self._package = package
        self._builtins = {**vars(builtins), "__import__": _import_function(views)}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != self._package:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = _Loader(spec.loader, self._builtins)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    """``loader``, executing a module with other builtins."""

    def __init__(self, loader: Any, module_builtins: dict[str, Any]) -> None:
        self._loader = loader
        self._builtins = module_builtins

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__["__builtins__"] = self._builtins
        exec(self._loader.get_code(module.__name__), module.__dict__)


def _import_function(views: dict[str, types.ModuleType]) -> Any:
    """``__import__`` that returns views of JAX instead of its modules."""

    def import_module(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> types.ModuleType:
        if level == 0 and fromlist and name in views:  # from jax.core import …
            return views[name]
        module = builtins.__import__(name, globals, locals, fromlist or (), level)
        # ``import jax`` and ``import jax.numpy as jnp`` both ask for the topmost module.
        return module if level or fromlist else views.get(module.__name__, module)

    return import_module
