"""How the parameters of an ensemble are drawn.

Programs that train and measure are given their networks: one that drew them would take the compiler much longer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ntkrobust.networks.parameters import LayerScales, Parameters, Shapes, is_square
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import Plan, plan_of_arrays
from ntkrobust.runtime.random_normals import normals
from ntkrobust.runtime.seeds import RawKeys, own_keys

if TYPE_CHECKING:
    from ntkrobust.networks.network import Network

_FIRST, _HIDDEN, _LAST, _BIASES, _OWN = 0, 1, 2, 3, 8
"""What a network's own key is folded with for each array; from 8 on, layers that are drawn one by one."""


def draw_layers(shapes: Shapes, scales: LayerScales, has_biases: bool, keys: RawKeys) -> Parameters:
    """Parameters of an ensemble of layers (fan_out, fan_in), as numpy arrays; see ``LayeredNetwork.initialize``."""
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
    if not has_biases:
        return Parameters(tuple(weights), ())
    biases: list[Any] = np.split(scales.bias_std * normals(own[_BIASES], int(ends[-1])), ends[:-1], axis=1)
    return Parameters(tuple(weights), tuple(biases))


@dataclasses.dataclass(frozen=True)
class _Draw:
    """Parameters of one network, as a program."""

    net: Network
    d_in: int

    def __call__(self, shared: dict, one: dict) -> Any:
        return self.net.draw(one["key"], self.d_in)


def draw_one_by_one(net: Network, d_in: int, keys: RawKeys) -> Any:
    """Parameters of an ensemble, drawn by the network's own ``draw``, as numpy arrays."""
    shapes = net.shapes(d_in)
    own = own_keys(keys, shapes, (_FIRST,))[_FIRST]
    plan = plan_of_arrays(sum(math.prod(shape) for shape in shapes), len(keys))
    return run_over_seeds(_Draw(net, d_in), plan, {}, {"key": own})


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
        drawn = {name: net.initialize(d_in, one["key"])}
        parts.append(run_over_seeds(function, plan, shared, one | drawn))
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
