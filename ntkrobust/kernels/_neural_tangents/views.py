"""What neural-tangents sees when it imports ``jax``: views that add the names it wants and leave JAX itself alone.

neural-tangents 0.6.5 was written for JAX 0.4.x and uses names that JAX has since moved or removed. A view is a module
object that holds those names and passes every other look-up on to the real module. Only neural-tangents' own modules
hold views; the modules in ``sys.modules`` are never written to, not even while importing.
"""

from __future__ import annotations

import importlib
import math
import types
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.extend.core
import jax.extend.source_info_util
import jax.interpreters.ad
import jax.numpy

from ntkrobust.kernels._neural_tangents.loading import own_modules


class View(types.ModuleType):
    """``module`` with ``names`` added or replaced."""

    def __init__(self, module: types.ModuleType, **names: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(names, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return view_of, (self.__name__,)


def view_of(name: str) -> types.ModuleType:
    """The view of a module that neural-tangents has been given; the module itself where it needed none."""
    for module in own_modules():
        for value in vars(module).values():
            if isinstance(value, View) and value.__name__ == name:
                return value
    return importlib.import_module(name)


def safe_zip(*sequences: Iterable[Any]) -> list[tuple[Any, ...]]:
    """A list of tuples, from sequences that must agree in length."""
    return list(zip(*sequences, strict=True))


def safe_map(function: Callable[..., Any], *sequences: Iterable[Any]) -> list[Any]:
    """``function`` along sequences that must agree in length, as a list."""
    return [function(*arguments) for arguments in safe_zip(*sequences)]


class _NoDynamicShapes:
    """Stands for ``jax.core.DShapedArray``: JAX has no arrays of dynamic shape any more, so nothing is one."""


def size(x: Any, axis: int | None = None) -> int:
    """``jax.numpy.size``, also of abstract arrays, of which JAX will soon refuse it."""
    return math.prod(x.shape) if axis is None and hasattr(x, "shape") else jax.numpy.size(x, axis)


def dtype(x: Any) -> Any:
    """``jax.numpy.dtype``, also of an array, of which JAX will soon refuse it."""
    return jax.numpy.dtype(getattr(x, "dtype", x))


def _missing(module: types.ModuleType, names: dict[str, Any]) -> dict[str, Any]:
    """Those of ``names`` that ``module`` lacks, or has only to say that they are deprecated."""
    return {name: value for name, value in names.items() if name not in vars(module)}


def make_views(rewritten: bool) -> dict[str, types.ModuleType]:
    """Views of JAX by the name under which neural-tangents imports them; empty if JAX lacks nothing.

    Args:
        rewritten: whether JAX traces in the way it does since 0.4.36.
    """
    moved = ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")
    in_core = {name: getattr(jax.extend.core, name, None) for name in moved}
    core_names = _missing(jax.core, {**in_core, "DShapedArray": _NoDynamicShapes, "Value": Any})
    ad_names = _missing(
        jax.interpreters.ad,
        {
            "source_info_util": jax.extend.source_info_util,
            # Read once, for an assertion whose other helpers (lattice_join, strip_named_shape) are gone from JAX.
            "config": types.SimpleNamespace(jax_enable_checks=False),
            # A key in a table of rules; no current program contains it.
            "zeros_like_p": jax.extend.core.Primitive("zeros_like"),
        },
    )
    top_names: dict[str, Any] = {}
    if rewritten:
        # What jax.core.eval_context did before: what can be computed now is computed, tracers are left to be traced.
        # The function of that name now refuses tracers.
        core_names["eval_context"] = jax.ensure_compile_time_eval
        top_names["numpy"] = View(jax.numpy, size=size, dtype=dtype)
        top_names["util"] = types.ModuleType("jax.util")
        top_names["util"].__dict__.update(safe_map=safe_map, safe_zip=safe_zip)
    if not (core_names or ad_names or top_names):
        return {}
    core, ad = View(jax.core, **core_names), View(jax.interpreters.ad, **ad_names)
    interpreters = View(jax.interpreters, ad=ad)
    views = {"core": core, "interpreters": interpreters, **top_names}
    return {
        "jax": View(jax, **views),
        **{f"jax.{name}": view for name, view in views.items()},
        "jax.interpreters.ad": ad,
    }
