"""neural-tangents on current JAX and without TensorFlow: the only place that imports it.

neural-tangents 0.6.5 (December 2023) was written for the JAX of its time. Where nothing that it needs is missing it is
left as it is. Elsewhere each difference is met on its own, inside neural-tangents' modules only;
``docs/neural-tangents.md`` lists them with their reasons.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import threading
import types
from typing import Any

import jax

from ntkrobust.kernels._neural_tangents import loading

JAX_REWRITE = (0, 4, 36)
"""From this version on JAX traces in another way than neural-tangents was written for."""

_lock = threading.Lock()
_state: dict[str, Any] = {}


def load() -> types.ModuleType:
    """The module ``neural_tangents``, adapted where it doesn't work by itself. Later calls return the same.

    From here on ``import neural_tangents`` gives the same module everywhere. If other code imported it before, that
    module is kept and adapted in place; what a failed import left behind is dropped.

    Raises:
        ImportError: neural-tangents is not installed, or can't be adapted to this JAX.
    """
    with _lock:
        if not _state or loading.PACKAGE not in sys.modules:
            _state.clear()
            _state.update(_load())
        return sys.modules[loading.PACKAGE]


def adapter_state() -> dict[str, Any]:
    """What was done for neural-tangents, as plain data; loads it.

    Returns:
        ``neural_tangents``, ``jax``: versions (the former None if it can't be loaded); ``works``: whether it was
        loaded; ``problem``: one sentence, or None; ``imported_by``: ``ntkrobust`` or ``other code``, whichever came
        first; ``adapted``: what was adapted, one short sentence each; ``left_out``: modules that were left out.
    """
    state: dict[str, Any] = {"neural_tangents": None, "jax": jax.__version__, "works": False, "problem": None}
    state |= {"imported_by": None, "adapted": [], "left_out": []}
    try:
        module = load()
    except ImportError as error:
        return state | {"problem": str(error)}
    return state | {"neural_tangents": module.__version__, "works": True} | copy.deepcopy(_state)


def _load() -> dict[str, Any]:
    other_code = loading.is_loaded()
    if not other_code:
        missing = [name for name in (loading.PACKAGE, "frozendict") if not _is_installed(name)]
        if missing:
            raise ImportError(
                f"{' and '.join(missing)} can't be imported: 'pip install frozendict && pip install --no-deps "
                "neural-tangents==0.6.5' installs what is needed beside JAX and scipy, and leaves TensorFlow out"
            )
    try:
        adapted = _adapt(other_code, rewritten=jax.__version_info__ >= JAX_REWRITE)
    except Exception as error:
        if not other_code:
            loading.forget()
        raise ImportError(
            f"neural-tangents can't be adapted to JAX {jax.__version__}: {type(error).__name__}: {error}"
        ) from error
    return {
        "imported_by": "other code" if other_code else "ntkrobust",
        "adapted": adapted,
        "left_out": loading.left_out(),
    }


def _adapt(other_code: bool, rewritten: bool) -> list[str]:
    """Load neural-tangents, unless ``other_code`` did, and adapt it; one sentence for each adaptation."""
    # Imported here because a JAX that lacks what they need should be reported by load(), and not by importing us.
    from ntkrobust.kernels._neural_tangents.replacements import replacements
    from ntkrobust.kernels._neural_tangents.views import make_views

    views = make_views(rewritten)
    if other_code:
        loading.show_views(views)
    elif views or not _has_tensorflow():
        loading.import_with_views(views)
    else:
        loading.forget()
        importlib.import_module(loading.PACKAGE)
    adapted = []
    if views:
        adapted.append("names that JAX moved or removed are shown to neural-tangents' modules, and to no others")
    for replacement in replacements(rewritten):
        loading.replace(replacement.module, replacement.name, replacement.make)
        adapted.append(replacement.what)
    return adapted


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _has_tensorflow() -> bool:
    """Whether ``neural_tangents.experimental`` finds what it imports."""
    return _is_installed("tensorflow") and _is_installed("tf2jax")
