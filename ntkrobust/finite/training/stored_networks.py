"""Networks as plain data, for files: names and numbers that JSON has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ntkrobust.networks.convolutional import ARCHITECTURES
from ntkrobust.networks.initializations import Initialization
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network


class AnotherNetworkError(ValueError):
    """A file is that of another network than the one given, or of one that has to be given."""


def stored_network(net: Network, d_in: int) -> dict[str, Any]:
    """All of a network of this package; what tells a network of one's own from others.

    An initialization given as functions becomes the numbers they come to at d_in inputs.
    """
    if not isinstance(net, LayeredNetwork):
        return {"own": net.described(d_in)}
    initialization, scales = net.drawn_from, net.scales(d_in)
    told: Any = initialization.known_as
    if told is None and not isinstance(net, MLP):
        told = {"gains": initialization.fan_in_gains, "alpha": scales.alpha, "name": initialization.name}
    return {**net.described(d_in), "initialization": told or {**scales._asdict(), "name": initialization.name}}


def restored_network(described: Mapping[str, Any], given: Network | None, d_in: int) -> Network:
    """The network that :func:`stored_network` told of; entries that are none of its fields are left alone.

    Args:
        described: what the file says.
        given: the network, by whoever reads the file; needed for one of one's own.
        d_in: dimension of the inputs.

    Raises:
        AnotherNetworkError: the file is that of another network than the one given, or one has to be given.
    """
    own = described.get("own")
    if own is None:
        found = _of_this_package(described)
        if given is not None and given != found:
            raise AnotherNetworkError(f"is a run of {found!r}, not of {given!r}")
        return found
    if given is None:
        raise AnotherNetworkError(f"is a run of a network of one's own, {own['network']}: give Run.load(path, net)")
    if given.described(d_in)["program"] != own["program"]:
        raise AnotherNetworkError(f"is a run of {own['network']}, whose function is not that of {given!r}")
    return given


def _of_this_package(described: Mapping[str, Any]) -> LayeredNetwork:
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
