"""neural-tangents on current JAX and without TensorFlow: the only place that imports it.

neural-tangents 0.6.5 (December 2023) was written for JAX 0.4.x. It works by itself up to JAX 0.4.35, with TensorFlow
installed and scipy before 1.14, and is left as it is there. Elsewhere each difference is met on its own, inside
neural-tangents' modules only; ``docs/neural-tangents.md`` lists them with their reasons.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import threading
import types
from typing import Any

import jax

from ntkrobust.kernels._neural_tangents import loading
from ntkrobust.kernels._neural_tangents.replacements import replacements
from ntkrobust.kernels._neural_tangents.views import make_views

JAX_REWRITE = (0, 4, 36)
"""Before this version JAX has the names and the way of tracing that neural-tangents was written for."""

_lock = threading.Lock()
_state: dict[str, Any] = {}


def load() -> types.ModuleType:
    """The module ``neural_tangents``, adapted where it doesn't work by itself. Later calls return the same.

    From here on ``import neural_tangents`` gives the same module everywhere. If other code imported it before, that
    module is kept and adapted in place; what a failed import left behind is dropped.

    Raises:
        ImportError: neural-tangents is not installed.
    """
    with _lock:
        if not _state or loading.PACKAGE not in sys.modules:
            _state.clear()
            _state.update(_load(rewritten=jax.__version_info__ >= JAX_REWRITE))
        return sys.modules[loading.PACKAGE]


def adapter_state() -> dict[str, Any]:
    """What was done for neural-tangents, as plain data; loads it.

    Returns:
        ``neural_tangents``, ``jax``: versions (None if not installed); ``works``: whether it could be loaded;
        ``problem``: one sentence, or None; ``imported_by``: ``ntkrobust`` or ``other code``, whichever came first;
        ``adapted``: what was adapted, one short sentence each; ``left_out``: modules that were left out.
    """
    state: dict[str, Any] = {
        "neural_tangents": None, "jax": jax.__version__, "works": False, "problem": None,
        "imported_by": None, "adapted": [], "left_out": [],
    }  # fmt: skip
    try:
        module = load()
    except ImportError as error:
        return state | {"problem": str(error)}
    return state | {"neural_tangents": module.__version__, "works": True} | _state


def _load(rewritten: bool) -> dict[str, Any]:
    views = make_views() if rewritten else {}
    adapted = []
    if rewritten:
        adapted.append("names that JAX moved or removed are shown to neural-tangents' modules, and to no others")
    if loading.is_loaded():
        imported_by = "other code"
        loading.show_views(views)
    else:
        imported_by = "ntkrobust"
        if importlib.util.find_spec(loading.PACKAGE) is None:
            raise ImportError(
                "neural-tangents is not installed; 'pip install --no-deps neural-tangents==0.6.5' is enough beside "
                "ntkrobust's other requirements, without TensorFlow"
            )
        if rewritten or not _has_tensorflow():
            loading.import_with_views(views)
        else:
            loading.forget()
            importlib.import_module(loading.PACKAGE)
    for replacement in replacements(rewritten):
        loading.replace(replacement.module, replacement.name, replacement.make)
        adapted.append(replacement.what)
    return {"imported_by": imported_by, "adapted": adapted, "left_out": loading.left_out()}


def _has_tensorflow() -> bool:
    """Whether ``neural_tangents.experimental`` finds what it imports."""
    return all(importlib.util.find_spec(name) is not None for name in ("tensorflow", "tf2jax"))
