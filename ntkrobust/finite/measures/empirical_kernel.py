"""The empirical NTK of every network of a run, at points of one's own."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import xarray as xr

from ntkrobust.checks import takes
from ntkrobust.errors import InputError
from ntkrobust.finite.arrays import single_precision
from ntkrobust.finite.representable import check_representable
from ntkrobust.finite.training.run import Run, a_run
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.models import Model
from ntkrobust.networks.network import Network, rows_of
from ntkrobust.networks.parameters import Parameters
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import CHUNK_BYTES, Plan
from ntkrobust.runtime.machine import available_bytes

_COPIES = 3
"""Arrays of the size of a kernel that a program holds at once: the sum so far, one layer's part, and the transpose."""

_DIMS = ("seed", "time", "point", "output", "other_point", "other_output")


@takes(run=a_run)
def empirical_ntk(run: Run, x: np.ndarray) -> xr.DataArray:
    """Θ(x, x) = ∂f/∂θ (∂f/∂θ)^T of every network of a run at every recorded time.

    With respect to the parameters as they are trained, so that gradient flow on ½Σ‖f − y‖² is df/dt = −Θ(f − y).

    Args:
        run: what :func:`ntkrobust.train` returned.
        x: (n, d) inputs.

    Returns:
        float32, (seed, time, n, o, n, o) with dimensions ``seed``, ``time``, ``point``, ``output``, ``other_point`` and
        ``other_output``; coordinates ``gradient_flow_time`` and ``step`` (seed, time), ``status`` (seed).

    Raises:
        InputError: x is of the wrong shape or not finite, or the result does not fit into this machine's memory or
            single precision.
    """
    x = single_precision("x", rows_of(run.net, x))
    if x.shape[1] != run.d_in:
        raise InputError(f"x must have shape (n, {run.d_in}), got {x.shape}")
    shape = (len(run.seeds), len(run.snapshots), *(len(x), run.net.d_out) * 2)
    _check_memory(shape, _floats(run.net, run.d_in, len(x)))
    program, plan = _Kernel(run.net.model()), _kernel_plan(run.net, run.d_in, len(x))
    shared = (run.net.layer_scales(run.d_in), x)
    is_sound = np.asarray(run.status) != "diverged"
    for snapshot in run.snapshots:
        check_representable(run.net, shared[0], x, snapshot, is_sound, squared=True)
    kernels = np.empty(shape, np.float32)
    for time, snapshot in enumerate(run.snapshots):
        kernels[:, time] = run_over_seeds(program, plan, shared, snapshot)
    return xr.DataArray(
        kernels,
        dims=_DIMS,
        coords={
            "seed": list(run.seeds),
            "step": (("seed", "time"), run.step),
            "gradient_flow_time": (("seed", "time"), run.time),
            "status": ("seed", run.status),
        },
        name="empirical_ntk",
        attrs={"network": repr(run.net), "plan": str(plan)},
    )


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """The kernel of one network, as a program."""

    model: Model

    def __call__(self, shared: tuple, one: Parameters) -> jax.Array:
        scales, x = shared
        return self.model.kernel(scales, one, x)


def _kernel_plan(net: Network, d_in: int, n: int) -> Plan:
    """The plan for n points, with no more kernels at once than a chunk may take."""
    plan = choose_plan(net, d_in, n)
    fitting = max(1, CHUNK_BYTES // (4 * _floats(net, d_in, n)))
    group = min(plan.group, 2 ** (fitting.bit_length() - 1))
    chunk = max(group, min(plan.chunk // plan.devices, fitting))
    return dataclasses.replace(plan, group=group, chunk=chunk * plan.devices)


def _floats(net: Network, d_in: int, n: int) -> int:
    """Numbers that a program holds for the kernel of one network on n points."""
    rows = n * net.d_out
    # Kernels of other than fully connected networks come from the derivatives by all parameters.
    derivatives = 0 if isinstance(net, MLP) else rows * net.count_parameters(d_in)
    return _COPIES * rows**2 + derivatives


def _check_memory(shape: tuple[int, ...], of_one: int) -> None:
    # All of them, those of one time on their way, and what it takes to make one.
    needed = 4 * float(np.prod(shape, dtype=float)) * (1 + 1 / shape[1]) + 4.0 * of_one
    available = available_bytes()
    if available and needed > available:
        raise InputError(
            f"kernels of shape {shape} need {needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are there: "
            "fewer points or fewer seeds"
        )
