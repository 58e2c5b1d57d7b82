"""What the infinite-width limit says: kernels of any architecture, and neural-tangents on current JAX.

``ntkrobust.kernels.neural_tangents`` is neural-tangents itself, made to work where it doesn't by itself. Names are
loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from ntkrobust.kernels._neural_tangents import adapter_state
    from ntkrobust.kernels.architectures import Stax, stax, stax_parameters
    from ntkrobust.kernels.ensemble import InfiniteEnsemble
    from ntkrobust.kernels.ensemble_at import EnsembleAt
    from ntkrobust.kernels.general import GeneralEnsemble
    from ntkrobust.kernels.general_at import GeneralEnsembleAt
    from ntkrobust.kernels.matrices import kernel_matrix
    from ntkrobust.kernels.spectrum import Conditioning

    neural_tangents: ModuleType

_HOMES = {
    "adapter_state": "ntkrobust.kernels._neural_tangents",
    "Stax": "ntkrobust.kernels.architectures",
    "stax": "ntkrobust.kernels.architectures",
    "stax_parameters": "ntkrobust.kernels.architectures",
    "Conditioning": "ntkrobust.kernels.spectrum",
    "InfiniteEnsemble": "ntkrobust.kernels.ensemble",
    "EnsembleAt": "ntkrobust.kernels.ensemble_at",
    "GeneralEnsemble": "ntkrobust.kernels.general",
    "GeneralEnsembleAt": "ntkrobust.kernels.general_at",
    "kernel_matrix": "ntkrobust.kernels.matrices",
}

__all__ = [
    "Conditioning",
    "EnsembleAt",
    "GeneralEnsemble",
    "GeneralEnsembleAt",
    "InfiniteEnsemble",
    "Stax",
    "adapter_state",
    "kernel_matrix",
    "neural_tangents",
    "stax",
    "stax_parameters",
]


def __getattr__(name: str) -> Any:
    if name == "neural_tangents":
        return importlib.import_module("ntkrobust.kernels._neural_tangents").load()
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
