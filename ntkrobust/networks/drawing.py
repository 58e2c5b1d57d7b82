"""How the parameters of an ensemble are drawn.

Programs that train and measure are given their networks: one that drew them would take the compiler much longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import Parameters, is_square, layer_scales
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.random_normals import normals
from ntkrobust.runtime.seeds import RawKeys, own_keys

_FIRST, _HIDDEN, _LAST, _BIASES, _OWN = 0, 1, 2, 3, 8
"""What a network's own key is folded with for each array; from 8 on, layers that are drawn one by one."""


def initialize(net: Network, d_in: int, keys: RawKeys) -> Parameters:
    """Parameters of an ensemble as numpy arrays, one network per key along a leading axis.

    Entries are N(0, β_l²) in the standard parameterization and N(0, 1) in the NTK parameterization; biases are
    N(0, s²) and N(0, 1). Networks of different shape share no randomness. Networks of one shape that differ only in
    initialization share their underlying standard normals.
    """
    shapes, scales = net.layer_shapes(d_in), layer_scales(net, d_in)
    ends = np.cumsum([fan_out for fan_out, _ in shapes])

    if is_square(shapes):
        parts = {_FIRST: (shapes[0],), _HIDDEN: shapes[1:-1], _LAST: (shapes[-1],)}
    else:
        parts = {_OWN + layer: (shape,) for layer, shape in enumerate(shapes)}
    parts = {index: of_part for index, of_part in parts.items() if of_part}
    own = own_keys(keys, shapes, (*parts, _BIASES))

    weights: list[Any] = []
    for index, of_part in parts.items():
        # Layers of one shape come out of one array.
        drawn = normals(own[index], len(of_part), math.prod(of_part[0]))
        for position, shape in enumerate(of_part):
            std = scales.weight_std[len(weights)]
            weights.append(np.multiply(drawn[:, position], std).reshape(len(keys), *shape))
    if net.bias_std is None:
        return Parameters(tuple(weights), ())
    biases: list[Any] = np.split(scales.bias_std * normals(own[_BIASES], int(ends[-1])), ends[:-1], axis=1)
    return Parameters(tuple(weights), tuple(biases))


def run_over_draws(
    function: Callable[[Any, Any], Any],
    plan: Plan,
    shared: Any,
    net: Network,
    d_in: int,
    per_seed: dict[str, Any],
    name: str = "parameters",
) -> Any:
    """:func:`~ntkrobust.runtime.executor.run_over_seeds` on networks as they are drawn, as many at a time as worked on.

    Args:
        function, plan, shared: as there.
        net, d_in: the networks.
        per_seed: arrays with a leading seed axis; ``key`` among them is what parameters are drawn from.
        name: of the parameters in what ``function`` is given.
    """
    n_seeds, at_once = len(per_seed["key"]), plan.chunk * plan.streams
    plan = plan.with_room_for(min(at_once, n_seeds))
    parts = []
    for start in range(0, n_seeds, at_once):
        one = jax.tree.map(lambda leaf, start=start: leaf[start : start + at_once], per_seed)
        drawn = {name: initialize(net, d_in, one["key"])}
        parts.append(run_over_seeds(function, plan, shared, one | drawn))
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
