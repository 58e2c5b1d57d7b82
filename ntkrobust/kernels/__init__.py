"""What the infinite-width limit says: kernels of any architecture, and neural-tangents on current JAX.

``from ntkrobust.kernels import neural_tangents as nt`` gives neural-tangents itself, made to work where it doesn't by
itself; it is loaded at that moment and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntkrobust.kernels._neural_tangents import adapter_state
    from ntkrobust.kernels.architectures import stax

__all__ = ["adapter_state", "neural_tangents", "stax"]


def __getattr__(name: str) -> Any:
    if name == "neural_tangents":
        from ntkrobust.kernels._neural_tangents import load

        return load()
    if name == "adapter_state":
        from ntkrobust.kernels._neural_tangents import adapter_state

        return adapter_state
    if name == "stax":
        from ntkrobust.kernels.architectures import stax

        return stax
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
