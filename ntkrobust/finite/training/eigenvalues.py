"""λ_max of each network's empirical NTK on the training points, by power iteration."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ntkrobust.finite.arrays import single_precision
from ntkrobust.networks.derivatives import ntk_largest_eigenvalue
from ntkrobust.networks.models import Model
from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import packed
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.random_normals import normals
from ntkrobust.runtime.seeds import RawKeys, check_seeds, seed_keys


@dataclasses.dataclass(frozen=True)
class _LargestEigenvalue:
    """λ_max of the empirical NTK of one network on the training inputs."""

    model: Model

    def __call__(self, shared: dict, one: dict) -> jax.Array:
        def outputs(parameters: Any) -> jax.Array:
            return self.model.outputs(shared["scales"], parameters, shared["x"])

        return ntk_largest_eigenvalue(outputs, one["parameters"], one["start"])


def largest_eigenvalues(
    model: Model, plan: Plan, scales: Any, x: np.ndarray, outputs: int, parameters: Any, keys: RawKeys
) -> np.ndarray:
    """λ_max (seed,) of networks of these parameters and so many outputs on x (n, d)."""
    one = {"parameters": parameters, "start": normals(keys, len(x), outputs)}
    largest: np.ndarray = run_over_seeds(_LargestEigenvalue(model), plan, {"scales": scales, "x": x}, one)
    return largest


def largest_kernel_eigenvalue(
    net: Network, x: np.ndarray, *, seeds: int | Sequence[int] = 8, key: jax.Array | None = None
) -> np.ndarray:
    """λ_max (seed,) of each network's empirical NTK on x (n, d) at initialization."""
    x = single_precision("x", x)
    keys = seed_keys(key, check_seeds(seeds))
    plan, scales = choose_plan(net, x.shape[1], len(x)), net.layer_scales(x.shape[1])
    drawn = packed(net.initialize(x.shape[1], keys), axis=1)
    return largest_eigenvalues(net.model(), plan, scales, x, net.d_out, drawn, keys)
