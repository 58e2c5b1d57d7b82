"""The cells of a claim's grid: networks of one kind, read at one time, and the coordinates that formulas ask for."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ntkrobust.adversary import Adversary
from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.coordinates import family_name
from ntkrobust.bounds.claims.relations import ScalesAs, Trend, Turns
from ntkrobust.checks import check_positive
from ntkrobust.checks import shown as shown_value
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.networks.convolutional import ARCHITECTURES, ConvNet, WideResNet
from ntkrobust.networks.initializations import as_initialization
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network


@dataclasses.dataclass(frozen=True)
class TimeUnit:
    """The networks whose λ_max sets the unit of an ``equal time``, one for all cells that are compared.

    Attributes:
        net: the network.
        n: training points used.
        scale: factor on all inputs.
    """

    net: Network
    n: int
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class Cell:
    """Networks of one kind at one time: what is drawn, trained and measured as a unit.

    Attributes:
        net: the network.
        n: training points used (the first so many).
        time: the time of the reading, see :class:`~ntkrobust.bounds.claims.Reading`.
        value: the number that goes with it.
        budget: steps that a network may take; see :class:`~ntkrobust.bounds.claims.Reading`.
        unit: for ``equal time``, the networks whose λ_max sets the unit.
        epsilon: the radius, for measures that need one.
        scale: factor on all inputs.
        label_noise: share of the training labels that are wrong.
        optimizer, learning_rate, loss, batch_size: of the reading.
        adversary: what is trained against, at the strength of this cell.
        points: test points of the claim, if it has a number of its own.
        outside: why there can be no such networks on these data, or "".
    """

    net: Network
    n: int
    time: str
    value: float | None = None
    budget: int = 0
    unit: TimeUnit | None = None
    epsilon: float | None = None
    scale: float = 1.0
    label_noise: float = 0.0
    optimizer: str = "gd"
    learning_rate: float | str = "auto"
    loss: str = "squared"
    batch_size: int | None = None
    adversary: Adversary | None = None
    points: int | None = None
    outside: str = ""


_OF_LAYERS = ("architecture", "depth", "width", "initialization", "activation", "parameterization", "bias_std",
              "parameters", "beta_first", "beta", "beta_last", "alpha")  # fmt: skip
"""What networks of layers have: of others None."""


def coordinates(cell: Cell, data: Dataset) -> dict[str, Any]:
    """The coordinates that formulas and assumptions may ask for by name."""
    net = cell.net
    return {
        "d_in": data.d,
        "d_out": net.d_out,
        "n": cell.n,
        **dict.fromkeys(_OF_LAYERS),
        **net.coordinates(data.d),
        "network": None if isinstance(net, LayeredNetwork) else repr(net),
        "net": net,
        "epsilon": cell.epsilon,
        "scale": cell.scale,
        "label_noise": cell.label_noise,
        "strength": None if cell.adversary is None else cell.adversary.strength,
        "time": cell.value or 0.0,
    }


def cells_of(claim: Claim, data: Dataset) -> Iterator[tuple[dict[str, Any], Cell]]:
    """The cells of a claim's grid, each with the values of the axes."""
    untrained = claim.reading.time == "initialization"
    if not untrained and set(claim.grid.get("d_out", ())) - {data.o}:
        raise InputError(f"claim {claim.id}: trained networks have the {data.o} output(s) of the data")
    sizes = [min(int(n), data.n) for n in claim.grid.get("n", ())]
    if len(set(sizes)) < len(sizes):
        raise InputError(
            f"claim {claim.id}: n goes up to {max(claim.grid['n'])}, and the data have {data.n} training points"
        )
    for values in itertools.product(*claim.grid.values()):
        shown = dict(zip(claim.grid, values, strict=True))
        # Untrained networks see no labels; their number of training points doesn't matter.
        n = 1 if untrained else min(int(shown.get("n", data.n)), data.n)
        if "n" in shown:
            shown["n"] = min(int(shown["n"]), data.n)
        unit = None
        reading = claim.reading
        budget = 0 if untrained else reading.budget
        try:
            outside, fields = _outside(shown, data), {"d_out": _outputs(shown, data, untrained)} | shown
            if reading.time == "equal time":
                first = {axis: options[0] for axis, options in claim.grid.items()}
                if isinstance(claim.relation, Trend | Turns | ScalesAs):
                    # Each facet of a trend has its own unit of time.
                    first = shown | {claim.relation.axis: first[claim.relation.axis]}
                points = min(int(first.get("n", data.n)), data.n)
                unit = TimeUnit(_network(fields | first, data), points, float(first.get("scale", 1.0)))
            net = _network(fields, data)
            net.shapes(data.d)
            if isinstance(net, LayeredNetwork):
                net.scales(data.d)
        except InputError as error:
            raise InputError(f"claim {claim.id}: at {shown_as(shown)}, {error}") from None
        more: dict[str, Any] = {"outside": outside} | _positive(claim, shown) | _noise(claim, shown, data)
        if not untrained:
            more |= {name: getattr(reading, name) for name in ("optimizer", "learning_rate", "loss", "batch_size")}
        more |= {"adversary": _adversary(claim, shown), "points": claim.points}
        if "network" in shown:
            shown["network"] = family_name(shown["network"])
        yield shown, Cell(net, n, reading.time, reading.value, budget, unit, **more)


_NOT_OF_NETWORKS = ("network", "architecture", "n", "epsilon", "scale", "alpha", "label_noise", "strength")


def _adversary(claim: Claim, shown: Mapping[str, Any]) -> Adversary | None:
    """What the networks of a cell are trained against."""
    adversary = claim.reading.adversary
    if "strength" not in shown:
        return adversary
    if adversary is None:
        raise InputError(f"claim {claim.id}: a grid over strength needs a reading with an adversary")
    try:
        return dataclasses.replace(adversary, strength=shown["strength"])
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None


def _noise(claim: Claim, shown: Mapping[str, Any], data: Dataset) -> dict[str, float]:
    """The share of wrong labels, where the grid has one; what is not possible is refused here, before any training."""
    share = shown.get("label_noise", 0.0)
    try:
        data.noisy_targets(1, share)
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None
    return {"label_noise": float(share)}


def _network(shown: Mapping[str, Any], data: Dataset) -> Network:
    """The network that values of axes describe; a factor on α becomes part of its initialization.

    For data that are no images its inputs are one column of d positions: a description to be left out of scope.

    Raises:
        InputError: there is no such network.
    """
    fields = {axis: value for axis, value in shown.items() if axis not in _NOT_OF_NETWORKS}
    if "network" in shown:
        return _of_family(shown["network"], fields)
    if "alpha" in shown:
        plain = as_initialization(fields.get("initialization", MLP.initialization))
        fields["initialization"] = plain.with_alpha_times(shown["alpha"])
    kind = _kind(shown)
    if issubclass(kind, MLP):
        return kind(**fields)
    return kind(**fields, image_shape=data.image_shape or (data.d, 1, 1))


def _outputs(shown: Mapping[str, Any], data: Dataset, untrained: bool) -> int:
    """Outputs where the grid says nothing: those of the data; untrained, one, or those of a network of one's own."""
    if not untrained:
        return data.o
    family = shown.get("network")
    return family.d_out if isinstance(family, Network) else 1


def _of_family(family: Any, fields: Mapping[str, Any]) -> Network:
    """A network of one's own, at the width of a cell.

    Args:
        family: a network, or a function of the width that gives one.
        fields: values of the axes of networks.
    """
    fields = dict(fields)
    d_out, width = fields.pop("d_out"), fields.pop("width", None)
    if fields:
        raise InputError(f"a network of one's own has a width only, and the grid gives {', '.join(fields)} too")
    if not isinstance(family, Network):
        net = family(width)
        if not isinstance(net, Network):
            raise InputError(f"a family must give a network for a width, got {shown_value(net)} at width {width}")
    else:
        net = family if width is None else family.at_width(width)
    if net.d_out != d_out:
        raise InputError(f"the network has d_out={net.d_out}, and {d_out} is asked for")
    return net


def _kind(shown: Mapping[str, Any]) -> type[MLP] | type[ConvNet] | type[WideResNet]:
    name = shown.get("architecture", MLP.architecture)
    if name not in ARCHITECTURES:
        raise InputError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {name!r}")
    return ARCHITECTURES[name]


def _outside(shown: Mapping[str, Any], data: Dataset) -> str:
    """Why there can be no such networks on these data, or an empty text."""
    if "network" in shown:
        return ""
    kind = _kind(shown)
    if kind is MLP or data.image_shape is not None:
        return ""
    return f"{kind.architecture} networks need images, and {data.name} has no image_shape"


def _positive(claim: Claim, shown: Mapping[str, Any]) -> dict[str, float]:
    """The radius and the factor on the inputs, where the grid has them."""
    try:
        return {axis: check_positive(axis, shown[axis]) for axis in ("epsilon", "scale") if axis in shown}
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None


def shown_as(of: Mapping[str, Any]) -> str:
    """``depth=2, width=64``."""
    return ", ".join(f"{axis}={value}" for axis, value in of.items())
