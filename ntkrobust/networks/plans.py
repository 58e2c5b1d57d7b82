"""How an ensemble of a network is laid out, from the network's sizes."""

from __future__ import annotations

import dataclasses

from ntkrobust.networks.network import Network
from ntkrobust.runtime.layout import Plan, plan_of_sizes

SHARED_PRODUCT = 2**27
"""m²n from which one product keeps all cores busy, so that programs side by side gain nothing."""


def is_large(net: Network, d_in: int, rows: int) -> bool:
    """Whether one product, with so many columns, keeps all cores busy."""
    return net.sizes(d_in).largest_product * rows >= SHARED_PRODUCT


def choose_plan(
    net: Network, d_in: int, n_points: int, copies: int = 0, repeats: int = 1, *, inputs_move: bool = False
) -> Plan:
    """The plan for an ensemble of ``net`` at ``n_points`` inputs of dimension ``d_in``, each in so many rows at once.

    Where inputs move, each network has its own, and they have to fit into the cache too.

    The estimate per seed: of every array of parameters, the value, its gradient, and one of each being made; as many
    more as an optimizer keeps (``copies``), going in and coming out; and at every layer, three arrays over the points
    for each output.
    """
    rows = repeats * n_points
    sizes = net.sizes(d_in)
    activations = 3 * rows * net.d_out * (d_in + sizes.activations)
    large = is_large(net, d_in, rows)
    widest = max(sizes.widest, d_in if inputs_move else 0)
    plan = plan_of_sizes(sizes.parameters, activations, widest * rows, copies, is_large=large)
    return dataclasses.replace(plan, points=n_points) if large and plan.devices > 1 else plan
