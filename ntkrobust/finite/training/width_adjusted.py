"""Carrying the strength of a regularization from a narrow network to wider ones.

Wu et al. (arXiv 2010.01279, width adjusted regularization) tune λ on a narrow network and enlarge it on wider ones so
that natural risk and robust regularization stay in proportion. What is held fixed here is the ratio after training

    R = (regularization)/L_nat,

of means over samples and seeds: one network that fits its data exactly does not make it infinite. More λ lowers the
numerator and raises the denominator, so R falls with λ and the solution is unique. With their weights in the objective,
λR, it is not: λR rises while λ is small and falls where the regularization has won, so it takes each value twice.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkrobust.checks import check_flag, check_integer, check_positive, shown, takes
from ntkrobust.errors import InputError
from ntkrobust.finite.training.held_out import objective_parts
from ntkrobust.finite.training.run import Run, a_run
from ntkrobust.finite.training.train import train
from ntkrobust.networks.network import Network, a_network

FACTOR = 8.0
"""By how much one training may change λ while no λ on the other side of the solution is known."""

MARGIN = 0.1
"""Between two λ, a guess keeps this share of their distance in logarithm from either."""


@takes(run=a_run, weighted=check_flag)
def regularization_ratio(
    run: Run, x: np.ndarray | None = None, y: np.ndarray | None = None, *, weighted: bool = False
) -> float:
    """R = (regularization)/(natural risk) of a trained ensemble.

    Args:
        run: what :func:`ntkrobust.train` returned, with an adversary. It is looked at where its held-out loss is lowest
            if it has one, otherwise at its last record. Networks that diverged are left out.
        x: (n, d) inputs, by default those of training.
        y: (n, o) or (n,) targets.
        weighted: whether to multiply by λ, for the ratio of the two summands of the objective.

    Returns:
        R ≥ 0: infinite where the natural risk is zero, NaN where both parts are (or no network is left).

    Raises:
        InputError: the run has no adversary, or the data do not fit it.
    """
    adversary = run.adversary
    if adversary is None:
        raise InputError("the run has no adversary, so there is no ratio of its parts")
    if (x is None) != (y is None):
        raise InputError("give both x and y, or neither")
    run = run if run.validation_loss is None else run.at_best()
    last = dataclasses.replace(run, snapshots=run.snapshots[-1:], step=run.step[:, -1:], loss=run.loss[:, -1:])
    parts = objective_parts(last, run.x_train if x is None else x, run.y_train if y is None else y)
    kept = run.status != "diverged"
    if not kept.any():
        return math.nan
    natural, regularization = (float(np.mean(part[kept], dtype=np.float64)) for part in parts)
    # A weak attack may end below where it began: then there is nothing to pay.
    paid = (adversary.strength if weighted else 1.0) * max(regularization, 0.0)
    if natural > 0:
        return paid / natural
    return math.inf if paid > 0 else math.nan


@dataclasses.dataclass(frozen=True)
class WidthAdjustment:
    """What :func:`width_adjusted_strength` found.

    Attributes:
        strength: λ of the training whose ratio came nearest to the target.
        ratio: its R.
        target: R₀ of the reference.
        reached: whether they agree within the tolerance.
        strengths: all λ that were tried, in order.
        ratios: their R.
        run: the training at ``strength``.
    """

    strength: float
    ratio: float
    target: float
    reached: bool
    strengths: tuple[float, ...]
    ratios: tuple[float, ...]
    run: Run


@takes(
    reference=a_run,
    net=a_network,
    weighted=check_flag,
)
def width_adjusted_strength(
    reference: Run,
    net: Network,
    *,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
    weighted: bool = False,
    tolerance: float = 0.1,
    trainings: int = 8,
    **training: Any,
) -> WidthAdjustment:
    """λ for ``net`` at which natural risk and regularization stand in the same ratio as in a trained reference.

    The first training takes the reference's λ. Then log R is followed as a function of log λ: with slope −1 at first,
    along secants later, between the nearest λ on either side once there are such.

    Args:
        reference: a trained (narrow) ensemble with an adversary. ``net`` is trained on its data, with its seeds, key,
            loss, batch size and adversary, but for λ, in the range of its data.
        net: the (wider) network.
        x: (n, d) inputs at which ratios are compared, by default those of training.
        y: (n, o) or (n,) targets.
        weighted: whether to keep λR instead, which first rises with λ and then falls; what is found is on the side on
            which it rises, and it may be smaller than the reference's λ.
        tolerance: of R/R₀, relative (in logarithm).
        trainings: at most so many.
        training: arguments of :func:`ntkrobust.train` that a run does not hold: ``steps``, ``learning_rate`` and so on;
            they should be those of the reference.

    Raises:
        InputError: the reference's ratio is zero or has none (λ = 0, ε = 0, or a natural risk of zero), an argument is
            out of its range, or as for ``train``.
    """
    tolerance = check_positive("tolerance", tolerance)
    trainings = check_integer("trainings", trainings, 1)
    target = regularization_ratio(reference, x, y, weighted=weighted)
    adversary = reference.adversary
    assert adversary is not None  # or there was no ratio
    if not adversary.strength or not 0 < target < math.inf:
        raise InputError(
            f"no λ can be carried over from a reference with λ = {adversary.strength:g} and a ratio of regularization "
            f"to natural risk of {target:g}: it takes a positive λ and ε, and a natural risk that is not zero (stop "
            "earlier, or give held-out x and y)"
        )
    held: dict[str, Any] = {
        "seeds": reference.seeds, "key": reference.key, "loss": reference.objective,
        "batch_size": reference.batch_size, "weight_decay": reference.weight_decay,
        "bounds": reference.bounds, "movable": reference.movable,
    }  # fmt: skip
    if reference.optimizer != "own":
        held["optimizer"] = reference.optimizer
    given = held | training

    tried: list[tuple[float, float]] = []
    nearest = math.inf
    strength = adversary.strength
    for _ in range(trainings):
        run = train(
            net,
            reference.x_train,
            reference.y_train,
            classes=reference.classes,
            adversary=dataclasses.replace(adversary, strength=strength),
            **given,
        )
        ratio = regularization_ratio(run, x, y, weighted=weighted)
        tried.append((strength, ratio))
        miss = _miss(ratio, target)
        if len(tried) == 1 or abs(miss) < nearest:
            nearest, found = abs(miss), WidthAdjustment(strength, ratio, target, abs(miss) <= tolerance, (), (), run)
        if found.reached or math.isnan(ratio):
            break
        rising = 1 if weighted else -1
        strength = math.exp(next_guess([(math.log(one), rising * _miss(its, target)) for one, its in tried]))
    strengths, ratios = zip(*tried, strict=True)
    return dataclasses.replace(found, strengths=strengths, ratios=ratios)


def _miss(ratio: float, target: float) -> float:
    """log R − log R₀; infinite where there is no R."""
    if math.isnan(ratio) or ratio == math.inf:
        return math.inf
    return math.log(ratio / target) if ratio > 0 else -math.inf


def next_guess(tried: Sequence[tuple[float, float]]) -> float:
    """Where to look for a zero of a function that rises, as a rule, with slope 1.

    Args:
        tried: (position, value) of what is known, in order; values may be infinite.
    """
    longest = math.log(FACTOR)
    below = max(((at, value) for at, value in tried if value < 0), default=None)
    above = min(((at, value) for at, value in tried if value > 0), default=None)
    if below is not None and above is not None:
        (left, low), (right, high) = below, above
        # Secants alone may creep up to a bend from one side.
        crept = len(tried) > 1 and tried[-1][1] * tried[-2][1] > 0
        share = 0.5 if crept or not math.isfinite(high - low) else -low / (high - low)
        return left + min(max(share, MARGIN), 1 - MARGIN) * (right - left)
    (at, value), slope = tried[-1], 1.0
    if len(tried) > 1:
        before, its = tried[-2]
        slope = (value - its) / (at - before)
    # Where it does not rise, a long step in the direction in which it should.
    step = -value / slope if slope > 0 and math.isfinite(slope) else math.copysign(math.inf, -value)
    return at + min(max(step, -longest), longest)


@dataclasses.dataclass(frozen=True)
class StrengthSchedule:
    """λ as a power of width, λ(m) = c·m^p, fitted to a few widths by least squares in logarithms.

    What it says of widths outside of those it was fitted to is an extrapolation.

    Attributes:
        widths: at least two different widths.
        strengths: their λ > 0, from :func:`width_adjusted_strength` for instance.

    Raises:
        InputError: there are fewer than two different widths, another number of strengths, or one that is not positive.
    """

    widths: tuple[int, ...]
    strengths: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("widths", "strengths"):
            given = getattr(self, name)
            is_row = isinstance(given, np.ndarray) and given.ndim == 1
            if not is_row and (not isinstance(given, Sequence) or isinstance(given, str)):
                raise InputError(f"{name} must be a sequence of numbers, got {shown(given)}")
        widths = tuple(check_integer("a width", width, 1) for width in self.widths)
        strengths = tuple(check_positive("a strength", strength) for strength in self.strengths)
        if len(widths) != len(strengths):
            raise InputError(f"there are {len(widths)} widths and {len(strengths)} strengths")
        if len(set(widths)) < 2:
            raise InputError(f"a fit takes at least two different widths, got {self.widths!r}")
        object.__setattr__(self, "widths", widths)
        object.__setattr__(self, "strengths", strengths)

    @property
    def exponent(self) -> float:
        """p."""
        return float(self._line()[0])

    @property
    def factor(self) -> float:
        """c."""
        return float(np.exp(self._line()[1]))

    @property
    def residual(self) -> float:
        """Root mean square of log λ − log(c·m^p) over the widths of the fit."""
        line = np.polyval(self._line(), np.log(self.widths))
        return float(np.sqrt(np.mean((np.log(self.strengths) - line) ** 2)))

    def __call__(self, width: int) -> float:
        """λ of a width."""
        return float(np.exp(np.polyval(self._line(), np.log(check_integer("width", width, 1)))))

    def _line(self) -> np.ndarray:
        return np.polyfit(np.log(self.widths), np.log(self.strengths), 1)
