"""What infinite width says for finite networks of one width after steps of gradient descent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ntkrobust.data import Dataset
from ntkrobust.kernels.ensemble import InfiniteEnsemble
from ntkrobust.kernels.general import GeneralEnsemble
from ntkrobust.kernels.spectrum import Conditioning
from ntkrobust.networks.initializations import Initialization
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network

REMAINDER = 0.01
"""Training counts as converged when this share of the slowest mode's residual is left."""
MAX_STEPS = 20_000
"""Default steps go no further."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What infinite width says for networks of one width.

    Attributes:
        learning_rate: η on the loss ½Σ, for both sides.
        largest: λ_max(Θ_∞).
        condition_number: of Θ_∞ on the training points.
        targets: (time,) E‖J_t‖_F², averaged over the test points.
        propagators: (time, n', n, d), see :func:`~ntkrobust.finite.training.control_variate.jacobian_excess`; None
            where there is no control variate.
    """

    learning_rate: float
    largest: float
    condition_number: float
    targets: np.ndarray
    propagators: np.ndarray | None


def default_steps(rate: float, conditioning: Conditioning) -> tuple[int, ...]:
    """0, K^¼, K^½ and K, where (1 − ηλ_min)^K = 1 %, and K ≤ 20 000."""
    slowest = min(rate / conditioning.condition_number, 0.5)
    last = MAX_STEPS if slowest == 0 else min(MAX_STEPS, math.ceil(math.log(REMAINDER) / math.log1p(-slowest)))
    return tuple(sorted({0, round(last**0.25), round(last**0.5), last}))


def predict(net: Network, data: Dataset, steps: Sequence[int], rate: float) -> Prediction:
    """What infinite width says for networks of the width of ``net`` after these steps of gradient descent.

    Raises:
        InputError: as for :class:`~ntkrobust.InfiniteEnsemble`.
    """
    flow = infinite_ensemble(net, data)
    eta = rate / flow.conditioning.largest
    ensemble = flow.with_learning_rate(eta) if isinstance(flow, InfiniteEnsemble) else infinite_ensemble(net, data, eta)
    targets = [np.mean(ensemble.at(eta * step).gradient_second_moment(data.x_test)) for step in steps]
    return Prediction(
        eta,
        flow.conditioning.largest,
        flow.conditioning.condition_number,
        np.array(targets),
        _propagators(net, data, eta, steps) if isinstance(net, MLP) else None,
    )


def _propagators(net: MLP, data: Dataset, eta: float, steps: Sequence[int]) -> np.ndarray:
    """(time, n', n, d): what unit residuals do."""
    # The layers must stay those of the network, not of one with n outputs.
    units = dataclasses.replace(net, d_out=data.n, initialization=Initialization(*net.scales(data.d)))
    ensemble = InfiniteEnsemble(units, data.x_train, np.eye(data.n), learning_rate=eta)
    return np.stack([ensemble.at(eta * step).gradient_mean(data.x_test) for step in steps])


def infinite_ensemble(
    net: Network, data: Dataset, learning_rate: float | None = None
) -> InfiniteEnsemble | GeneralEnsemble:
    """The infinitely wide network of this kind.

    Raises:
        InputError: nothing is known of its infinite width.
    """
    if isinstance(net, MLP):
        return InfiniteEnsemble(net, data.x_train, data.y_train, learning_rate=learning_rate)
    return GeneralEnsemble(net, data.x_train, data.y_train, learning_rate=learning_rate)
