import numpy as np
import pytest
from scipy.optimize import curve_fit

from ntkrobust.bounds.statistics import Estimate, rates
from ntkrobust.bounds.statistics.gaps import judge
from ntkrobust.bounds.statistics.rates import fit_late, fit_powers, free_exponent, networks_needed, two_point_slope

WIDTHS = (64, 128, 256, 512, 1024)


def exact(curve: np.ndarray, se: float = 1e-6) -> list[Estimate]:
    return [Estimate(float(value), se, 63) for value in curve]


def simulated(curve: np.ndarray, ses: np.ndarray, rng: np.random.Generator) -> list[Estimate]:
    """Gaps as samples of 64 networks give them: a normal mean, and a standard error that is itself estimated."""
    estimated = ses * np.sqrt(rng.chisquare(63, len(ses)) / 63)
    return [Estimate(float(value), float(se), 63) for value, se in zip(rng.normal(curve, ses), estimated, strict=True)]


def curve_of(
    coefficients: tuple[float, ...], exponents: tuple[float, ...], widths: tuple[int, ...] = WIDTHS
) -> np.ndarray:
    return np.power.outer(np.array(widths, float), -np.array(exponents)) @ np.array(coefficients)


@pytest.mark.parametrize(
    ("exponents", "coefficients"), [((1.0, 2.0), (19.0, -600.0)), ((0.0, 0.5, 1.0), (0.03, 9.0, -40.0))]
)
def test_coefficients_are_those_of_weighted_least_squares(
    exponents: tuple[float, ...], coefficients: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(0)
    ses = np.array([5.5, 3.2, 2.1, 1.8, 0.9]) * 1e-3
    gaps = [
        Estimate(float(v), float(s), 63)
        for v, s in zip(rng.normal(curve_of(coefficients, exponents), ses), ses, strict=True)
    ]
    fit = fit_powers(WIDTHS, gaps, exponents)
    # An independent route, started from somewhere else.
    found, covariance = curve_fit(
        lambda m, *c: curve_of(c, exponents), np.array(WIDTHS), [gap.value for gap in gaps], p0=np.ones(len(exponents)),
        sigma=ses, absolute_sigma=True,
    )  # fmt: skip
    for index in range(len(exponents)):
        assert fit.coefficient(index).value == pytest.approx(found[index], rel=1e-5)
        assert fit.coefficient(index).se == pytest.approx(np.sqrt(covariance[index, index]), rel=1e-5)


def test_local_slope_is_that_of_the_curve() -> None:
    gaps = exact(curve_of((19.0, -600.0), (1.0, 2.0)))
    wanted = np.log2(gaps[-1].value / gaps[-2].value)
    found = fit_powers(WIDTHS, gaps, (1.0, 2.0)).local_slope(512, 1024)
    assert found is not None
    assert found.value == pytest.approx(wanted, rel=1e-9)
    # between the slopes at the two ends, by its definition as their mean along log m
    at_ends = [-(19.0 - 1200.0 / m) / (19.0 - 600.0 / m) for m in (512, 1024)]
    assert min(at_ends) < found.value < max(at_ends)


def coverage(true: float, draws: list[Estimate | None], shrink: float = 1.0) -> float:
    found = [one for one in draws if one is not None]
    assert len(found) > 0.99 * len(draws)
    halves = [shrink * (one.interval(0.9)[1] - one.value) for one in found]
    return float(np.mean([abs(one.value - true) <= half for one, half in zip(found, halves, strict=True)]))


def test_intervals_cover_what_they_promise() -> None:
    exponents, coefficients = (1.0, 2.0), (19.0, -600.0)
    curve, ses = curve_of(coefficients, exponents), np.array([5.5, 3.2, 2.1, 1.8, 1.8]) * 1e-3
    rng = np.random.default_rng(1)
    runs = [simulated(curve, ses, rng) for _ in range(2000)]
    slope = float(np.log2(curve[-1] / curve[-2]))
    fits = [fit_powers(WIDTHS, run, exponents) for run in runs]
    limits = [fit_powers(WIDTHS, run, (0.0, *exponents)).coefficient(0) for run in runs]
    # 2000 runs: a standard error of 0.7 %; the delta method and estimated weights may cost another 1.5 %.
    for true, draws in (
        (coefficients[0], [fit.coefficient(0) for fit in fits]),
        (slope, [fit.local_slope(512, 1024) for fit in fits]),
        (slope, [two_point_slope(WIDTHS, run) for run in runs]),
        (0.0, limits),
    ):
        assert abs(coverage(true, draws) - 0.9) < 0.035
        assert coverage(true, draws, shrink=0.8) < 0.85, "intervals that are too short must be noticed"


def test_free_exponent_covers_a_pure_power() -> None:
    curve, ses = curve_of((8.0,), (0.5,), WIDTHS[-3:]), np.array([9.0, 7.0, 5.0]) * 1e-3
    rng = np.random.default_rng(2)
    draws = [free_exponent(WIDTHS[-3:], simulated(curve, ses, rng)) for _ in range(2000)]
    assert abs(coverage(-0.5, draws) - 0.9) < 0.03
    assert coverage(-0.45, draws) < 0.8, "another power must be told apart"


def test_nothing_is_said_of_what_is_not_resolved() -> None:
    gaps = [*exact(np.array([0.3, 0.1])), Estimate(0.01, 0.0021, 63)]
    assert two_point_slope((64, 128, 256), gaps) is None
    assert free_exponent((64, 128, 256), [*gaps[:2], Estimate(-0.1, 0.001, 63)]) is None
    assert two_point_slope((64, 128), gaps[:2]) is not None


def test_late_fits_leave_out_widths_that_do_not_follow() -> None:
    curve = curve_of((19.0, -600.0), (1.0, 2.0))
    curve[0] *= 1.5
    late = fit_late(WIDTHS, exact(curve, 1e-3), (1.0, 2.0))
    assert late.widths == WIDTHS[1:]
    assert late.p_value is not None
    assert late.p_value > rates.ACCEPTED
    curve[1:] += np.array([1.0, -1.0, 1.0, -1.0]) * 0.1
    rejected = fit_late(WIDTHS, exact(curve, 1e-3), (1.0, 2.0))
    assert len(rejected.widths) == 3, "a degree of freedom is kept to be able to reject"
    assert rejected.p_value is not None
    assert rejected.p_value < rates.ACCEPTED


def test_networks_asked_for_reach_the_half_width_at_the_least_cost() -> None:
    spread, gaps, costs = np.array([0.1, 0.05]), np.array([0.04, 0.02]), np.array([1.0, 4.0])
    pilot = [Estimate(gap, s / 8, 63) for gap, s in zip(gaps, spread, strict=True)]
    n = networks_needed((512, 1024), pilot, (64, 64), costs, 0.1)

    def half_width(n: np.ndarray) -> float:
        found = two_point_slope(
            (512, 1024), [Estimate(g, s / np.sqrt(k), 1e9) for g, s, k in zip(gaps, spread, n, strict=True)]
        )
        assert found is not None
        return found.interval(0.9)[1] - found.value

    assert half_width(n) == pytest.approx(0.1, rel=2e-3)
    for other in (n * [1.3, 1.0], n * [0.8, 1.0]):
        # The other width adjusted to the same half-width costs more.
        scaled = other * [
            1.0,
            np.interp(
                0.1, *zip(*sorted((half_width(other * [1, f]), f) for f in np.linspace(0.3, 3, 200)), strict=True)
            ),
        ]
        assert scaled @ costs > n @ costs


@pytest.mark.parametrize(
    ("kinked", "curve", "label"),
    [
        (False, curve_of((19.0, -600.0), (1.0, 2.0)), "closes"),
        (False, np.zeros(5), "no gap seen"),
        (False, (1 + curve_of((19.0, -600.0), (1.0, 2.0))) / 1.03 - 1, "stays"),
        (False, np.full(5, -0.03), "stays"),
        (True, curve_of((8.0, -20.0), (0.5, 1.0)), "closes"),
        (True, curve_of((0.3, 8.0, -20.0), (0.0, 0.5, 1.0)), "stays"),
    ],
)
def test_verdicts(kinked: bool, curve: np.ndarray, label: str) -> None:
    rng = np.random.default_rng(3)
    ses = np.array([5.5, 3.2, 2.1, 1.8, 0.9]) * 1e-3
    labels = [judge(WIDTHS, simulated(curve, ses, rng), kinked=kinked).label for _ in range(200)]
    assert np.mean([found == label for found in labels]) > 0.95
