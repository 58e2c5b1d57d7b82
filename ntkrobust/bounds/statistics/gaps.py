"""Whether gaps between networks and a limit close as the width grows, and how fast: from estimates to a verdict.

The rates to expect (Taylor expansion of the training dynamics in the fluctuations of the kernel): 1/m with corrections
1/m² for smooth activations. For activations with a kink the early rate is 1/m and the late one m^{−1/2}, because
training moves about √m of the gates (docs/finite-width.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ntkrobust.bounds.statistics import Estimate
from ntkrobust.bounds.statistics.rates import ACCEPTED, PowerFit, fit_late, free_exponent, two_point_slope

SMOOTH = (1.0, 2.0)
"""a/m + b/m²."""
KINKED = (0.5, 1.0)
"""a m^{−1/2} + b/m."""
HALF = (0.5,)
"""a m^{−1/2} alone."""

SURE = 3.0
"""Standard errors from which on a number counts as different from zero."""

TRUSTED = 0.5
"""With a kink, a limit smaller than this share of the gap at the largest width proves nothing: the expansion in
m^{−1/2} converges slowly, and the powers that the fit leaves out can do that much."""


@dataclasses.dataclass(frozen=True)
class Closing:
    """What the gaps at one time say.

    Attributes:
        label: ``no gap seen`` (every one is within 3 standard errors of zero), ``closes`` (it shrinks, and the limit is
            nothing that speaks against zero), ``stays`` (its limit differs from zero, whatever the expansion; or it is
            seen and does not shrink), or ``unclear``.
        limit: the gap at infinite width, a constant fitted beside the powers; with a kink, of the two expansions the
            one that speaks less against zero. None for fewer than four widths.
        limit_fit: the fit it comes from.
        fits: the better expansion first (not rejected, from the narrowest width on); with a kink, last m^{−1/2} alone.
        two_point: slope of log|gap| between the two largest widths, without a model.
        free: slope of log|gap| over the three largest widths.
    """

    label: str
    limit: Estimate | None
    limit_fit: PowerFit | None
    fits: tuple[PowerFit, ...]
    two_point: Estimate | None
    free: Estimate | None


def judge(widths: Sequence[int], gaps: Sequence[Estimate], *, kinked: bool) -> Closing:
    """Fit the gaps at one time and say whether they close.

    Args:
        widths: increasing.
        gaps: measured/theory − 1, one per width.
        kinked: whether the activation has a kink.
    """
    if len(widths) < 3:
        return Closing("unclear", None, None, (), None, None)
    expansions = (KINKED, SMOOTH) if kinked else (SMOOTH,)
    limits = [fit_late(widths, gaps, (0.0, *powers)) for powers in expansions] if len(widths) > 3 else []
    limit_fit = min(limits, key=lambda fit: abs(fit.coefficient(0).value / fit.coefficient(0).se), default=None)
    fits = sorted((fit_late(widths, gaps, powers) for powers in expansions), key=_reach)
    half = [fit_late(widths, gaps, HALF)] if kinked else []
    return Closing(
        _label(gaps, limits, TRUSTED if kinked else 0.0),
        None if limit_fit is None else limit_fit.coefficient(0),
        limit_fit,
        (*fits, *half),
        two_point_slope(widths, gaps),
        free_exponent(widths[-3:], gaps[-3:]),
    )


def _reach(fit: PowerFit) -> tuple[bool, int, float]:
    """First what isn't rejected, reaches down to the narrowest width, and fits best."""
    p_value = fit.p_value or 0.0
    return p_value < ACCEPTED, fit.widths[0], -p_value


def _label(gaps: Sequence[Estimate], limits: Sequence[PowerFit], trusted: float) -> str:
    if not any(map(_seen, gaps)):
        return "no gap seen"
    narrow, wide = gaps[0], gaps[-1]
    constants = [fit.coefficient(0) for fit in limits]
    accepted = any((fit.p_value or 0.0) >= ACCEPTED for fit in limits)
    one_sign = len({constant.value > 0 for constant in constants}) == 1
    large = all(_seen(one) and abs(one.value) >= trusted * abs(wide.value) for one in constants)
    if accepted and one_sign and large:
        return "stays"
    if abs(wide.value) < abs(narrow.value):
        return "closes"
    return "stays" if _seen(wide) else "unclear"


def _seen(estimate: Estimate) -> bool:
    return abs(estimate.value) > SURE * estimate.se
