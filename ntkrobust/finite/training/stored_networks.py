"""Networks as plain data, for files: names and numbers that JSON has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ntkrobust.networks.convolutional import ARCHITECTURES
from ntkrobust.networks.initializations import Initialization
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network


def described_fields(net: Network) -> dict[str, Any]:
    """What a network is, without its initialization; a function that is its activation is told by its name alone."""
    fields = [field.name for field in dataclasses.fields(net)]  # type: ignore[arg-type]  # every network is one
    return {
        "architecture": net.architecture,
        **{name: getattr(net, name) for name in fields if name not in ("activation", "initialization")},
        "activation": str(net.phi),
    }


def described_network(net: Network, d_in: int) -> dict[str, Any]:
    """All of a network. An initialization given as functions becomes the numbers they come to at d_in inputs."""
    initialization, scales = net.drawn_from, net.scales(d_in)
    told: Any = initialization.known_as
    if told is None and not isinstance(net, MLP):
        told = {"gains": initialization.fan_in_gains, "alpha": scales.alpha, "name": initialization.name}
    return {**described_fields(net), "initialization": told or {**scales._asdict(), "name": initialization.name}}


def restored_network(described: Mapping[str, Any]) -> Network:
    """The network that :func:`described_network` told of; entries that are none of its fields are left alone."""
    # Files written before there were others hold fully connected networks, and don't say so.
    kind = ARCHITECTURES[described.get("architecture", MLP.architecture)]
    fields = {field.name: described[field.name] for field in dataclasses.fields(kind)}
    told = fields["initialization"]
    if isinstance(told, Mapping) and "gains" in told:
        plain = Initialization.from_gains(*told["gains"]).with_alpha_times(told["alpha"])
        fields["initialization"] = dataclasses.replace(plain, name=told["name"])
    elif isinstance(told, Mapping):
        fields["initialization"] = Initialization(**told)
    return kind(**fields)
