"""Tests of samples against scipy, hand calculation and simulation."""

import dataclasses

import numpy as np
import pytest
from scipy import special, stats

from ntkrobust.bounds import statistics
from ntkrobust.bounds.statistics import exponents, orders, skewness
from ntkrobust.bounds.statistics.bounds import implied_constant
from ntkrobust.bounds.statistics.comparisons import Change, Level, PairedChange
from ntkrobust.bounds.statistics.limits import confidence_interval, lower_limit
from ntkrobust.bounds.statistics.parts import All, Every, OneOf
from ntkrobust.bounds.statistics.samples import Moments, Sample
from ntkrobust.bounds.statistics.turning import turning_point


@pytest.fixture
def students(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guards against skewness."""
    monkeypatch.setattr(skewness, "OVERSTATED", 0.0)
    monkeypatch.setattr(skewness, "UNCERTAIN", 0.0)
    monkeypatch.setattr(skewness, "LOGNORMAL_BELOW", 0)


def sample(values: np.ndarray, geometric: bool = False) -> Sample:
    return Sample(np.atleast_2d(values), geometric)


def test_mean_and_interval_are_students() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=40)
    estimate = statistics.mean(values)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose(estimate.interval(), (low, high), rtol=1e-12)


def test_log_mean_is_the_delta_method() -> None:
    # Over repetitions, the spread of log x̄ is what the standard error says; both to the Monte Carlo error of a
    # standard deviation over 4000 repetitions, 1/√8000 = 1.1 %, times four.
    rng = np.random.default_rng(3)
    draws = rng.lognormal(0.0, 0.5, size=(4000, 60))
    estimates = [statistics.log_mean(row, "mean") for row in draws]
    spread = np.std([one.value for one in estimates])
    assert abs(np.mean([one.se for one in estimates]) / spread - 1) < 0.045
    geometric = [statistics.log_mean(row, "geometric mean") for row in draws]
    # E log X = 0 while log E X = 0.125: the functionals differ.
    assert abs(np.mean([one.value for one in geometric])) < 4 * 0.5 / np.sqrt(4000 * 60)
    assert abs(np.mean([one.value for one in estimates]) - 0.125) < 0.005


@pytest.mark.usefixtures("students")
@pytest.mark.parametrize("reference", [1.5, 2.0, 2.5])
def test_without_guards_a_level_is_students(reference: float) -> None:
    values = np.random.default_rng(1).gamma(2.0, size=(3, 25))
    level = Level(Sample(values))
    above = stats.ttest_1samp(values, reference, axis=1, alternative="greater").pvalue
    below = stats.ttest_1samp(values, reference, axis=1, alternative="less").pvalue
    np.testing.assert_allclose(level.p_above(reference), above, rtol=1e-7)
    np.testing.assert_allclose(level.p_below(reference), below, rtol=1e-7)


@pytest.mark.usefixtures("students")
def test_without_guards_a_change_is_welchs() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(10.0, 1.0, 14), rng.normal(8.0, 4.0, 40)
    welch = stats.ttest_ind(a, 1.1 * b, equal_var=False, alternative="greater")
    p = Change(sample(a), sample(b)).p_above(1.1)
    np.testing.assert_allclose(p, welch.pvalue, rtol=1e-7)
    pooled = stats.ttest_ind(a, 1.1 * b, equal_var=True, alternative="greater").pvalue
    assert abs(p[0] - pooled) > 1e-3, "equal variances must not be assumed"


@pytest.mark.usefixtures("students")
def test_without_guards_a_paired_change_is_students_of_differences() -> None:
    rng = np.random.default_rng(6)
    base = rng.lognormal(0, 0.5, 40)
    later = 1.1 * base * rng.lognormal(0, 0.05, 40)
    paired = PairedChange(sample(later), sample(base))
    test = stats.ttest_1samp(later - 1.08 * base, 0.0, alternative="greater")
    np.testing.assert_allclose(paired.p_above(1.08), test.pvalue, rtol=1e-7)
    assert paired.p_above(1.05)[0] < 1e-3 < Change(sample(later), sample(base)).p_above(1.05)[0]
    geometric = PairedChange(sample(later, True), sample(base, True))
    np.testing.assert_allclose(geometric.estimate, np.exp(np.mean(np.log(later / base))), rtol=1e-12)
    test = stats.ttest_1samp(np.log(later / base), np.log(1.08), alternative="greater")
    np.testing.assert_allclose(geometric.p_above(1.08), test.pvalue, rtol=1e-7)


def test_guards_only_raise_p_values() -> None:
    rng = np.random.default_rng(7)
    values = rng.lognormal(0, 0.6, (200, 16))
    level = Level(Sample(values))
    for reference in (0.9, 1.2, 1.6):
        t = stats.ttest_1samp(values, reference, axis=1, alternative="less").pvalue
        assert (level.p_below(reference) >= t * (1 - 1e-9)).all()
        assert (level.p_below(reference) > 1.2 * t).any()


def test_moments_are_unbiased() -> None:
    # The third cumulant of a mean of n exponentials is 2/n²; its Monte Carlo error here is about 1 %.
    moments = Moments.of(np.random.default_rng(8).exponential(size=(200_000, 12)))
    np.testing.assert_allclose(moments.third.mean(), 2 / 12**2, rtol=0.05)
    np.testing.assert_allclose(moments.variance.mean(), 1 / 12, rtol=0.01)


def test_the_correction_does_not_saturate() -> None:
    # Hall's cubic would: with a = 1 its smallest value is about −1, whatever the effect.
    t = np.array([2.0, 5.0, 20.0, 80.0])
    p = skewness.upper_tail(t, np.full(4, 11.0), np.full(4, -0.5), np.full(4, 0.2))
    assert (np.diff(p) < 0).all()
    assert p[-1] < 1e-3


def test_the_lognormal_guard_becomes_students_test_of_logs() -> None:
    variance = 1e-10
    t = np.array([-3.0, -1.0, 0.5])
    p = skewness.lognormal_below(t * np.sqrt(variance / 16), np.full(3, variance), 16)
    np.testing.assert_allclose(p, stats.t.cdf(t, 15), rtol=1e-4)


def test_the_lognormal_quadratures_agree_with_simulation() -> None:
    # The pivot itself, drawn 400 000 times; four standard errors of the shares.
    rng = np.random.default_rng(9)
    draws = 400_000
    w1, w2 = (np.sqrt(rng.chisquare(df, draws) / df) for df in (11, 15))
    z1, z2 = rng.standard_normal((2, draws))
    first = -z1 * 0.7 / (w1 * np.sqrt(12)) + 0.49 / (2 * w1**2)
    second = -z2 * 0.4 / (w2 * np.sqrt(16)) + 0.16 / (2 * w2**2)
    p = skewness.lognormal_below(np.array([-0.5]), np.array([0.49]), 12)[0]
    share = np.mean(first - 0.5 >= 0)
    assert abs(p - share) < 4 * np.sqrt(share / draws)
    p = skewness.lognormal_change_below(np.array([-0.3]), (np.array([0.49]), np.array([0.16])), (12, 16))[0]
    share = np.mean(second - first - 0.3 >= 0)
    assert abs(p - share) < 4 * np.sqrt(share / draws)


def test_no_spread_is_no_evidence_of_a_difference() -> None:
    exact = Level(sample(np.ones(20)))
    assert exact.p_above(0.9)[0] == 1.0
    assert exact.p_below(1.1)[0] == 1.0
    # what a share of exactly 0 among a few draws of a rare event would otherwise "show"
    assert Level(sample(np.zeros(32))).p_below(0.02)[0] == 1.0


def test_intervals_invert_the_tests() -> None:
    rng = np.random.default_rng(10)
    a, b = sample(rng.lognormal(0.1, 0.3, 20)), sample(rng.lognormal(0, 0.3, 30))
    for of in (Level(a), Change(a, b), Level(sample(a.values, True))):
        low, high = confidence_interval(of)
        assert low < of.estimate.item() < high
        np.testing.assert_allclose([of.p_above(low).item(), of.p_below(high).item()], 0.025, rtol=1e-3)


def test_the_implied_constant_is_the_largest_of_limits() -> None:
    rng = np.random.default_rng(11)
    ratios = [sample(mean * rng.lognormal(-0.02, 0.2, 40)) for mean in (1.0, 2.0, 1.9)]
    estimate, low, high = implied_constant(ratios)
    assert estimate == max(one.location.item() for one in ratios)
    assert low < 2.0 < high
    assert low == max(lower_limit(Level(one), 0.025 / 3) for one in ratios)
    assert high == max(confidence_interval(Level(one))[1] for one in ratios)


@pytest.mark.parametrize(
    ("values", "start"),
    [
        ((16, 32, 64, 128, 256), 1),  # the last three doublings
        ((2, 4, 6, 8), 0),  # not that many
        ((100, 110, 120, 130, 140), 1),  # the last four values
        ((1, 16, 256, 4096), 2),  # at least the last two
    ],
)
def test_growth_is_looked_for_at_the_far_end(values: tuple[int, ...], start: int) -> None:
    assert orders.far_end(values) == start


def test_the_exponent_over_the_range_has_the_error_of_the_seeds() -> None:
    rng = np.random.default_rng(12)
    widths = (16.0, 32.0, 64.0, 128.0)

    def power(noise: np.ndarray, base: np.ndarray | float = 1.0, paired: bool = False) -> exponents.Power:
        return exponents.Power(tuple(Sample(w**-0.5 * base * noise[k]) for k, w in enumerate(widths)), widths, paired)

    batch = power(rng.lognormal(0, 0.3, (4, 1000, 40)))
    slopes = np.log(batch.estimate)
    one = [Sample(sample.values[:1]) for sample in batch.samples]
    low, high = confidence_interval(dataclasses.replace(batch, samples=tuple(one)))
    half = np.log(high / low) / 2
    # Half a 95 % interval is two standard errors and a little; its own error with 40 networks per cell is a tenth.
    assert 1.7 < half / np.std(slopes) < 2.6
    # four standard errors of a mean over 1000 repetitions
    assert abs(np.mean(slopes) + 0.5) < 4 * np.std(slopes) / np.sqrt(1000)
    # The tails at a true exponent are what they are said to be: four standard errors of a share.
    for p in (batch.p_above(np.exp(-0.5)), batch.p_below(np.exp(-0.5))):
        assert np.mean(p <= 0.05) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1000)
    base = rng.lognormal(0, 0.5, (1, 40))
    together = power(rng.lognormal(0, 0.01, (4, 1, 40)), base, paired=True)
    low, high = confidence_interval(together)
    assert np.log(high / low) / 2 < 0.01


def test_the_turning_point_is_covered() -> None:
    rng = np.random.default_rng(13)
    means = (0.8, 0.95, 1.0, 0.97, 0.7)
    widths = (16.0, 32.0, 64.0, 128.0, 256.0)
    places = [
        turning_point([sample(m * rng.lognormal(0, 0.2, 16)) for m in means], widths, "width", +1, False, None)
        for _ in range(200)
    ]
    covered = np.mean([one.low <= 64 <= one.high for one in places])
    assert covered >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / 200)
    assert any(one.estimate != 64 for one in places), "the estimate alone would be wrong at times"


def test_statements_are_combined_by_hand() -> None:
    p = np.array([[0.01], [0.2], [0.03], [0.04]])
    level = Level(sample(np.arange(1.0, 13.0)))
    parts = statistics_parts(level, 2)
    either = OneOf([All(parts, 2), All(parts, 3)], 4)
    # support: smallest of the largest, times 4; refutation: largest of 2·0.01 and 3·0.03
    np.testing.assert_allclose(either.p_support(p), 0.16)
    np.testing.assert_allclose(either.p_refute(p), 0.09)
    every = Every([All(parts, 2), All(parts, 3)], 4)
    np.testing.assert_allclose(every.p_support(p), 0.2)
    np.testing.assert_allclose(every.p_refute(p), 0.08)
    assert [part.cells for part in every.located([7, 8]).parts] == [(7,), (8,), (7,), (8,)]


def statistics_parts(level: Level, count: int) -> list:
    from ntkrobust.bounds.statistics.parts import Part

    return [Part(level, 1.0, True, (position,)) for position in range(count)]


def test_holm_by_hand() -> None:
    # sorted: 0.01·4, max(0.04, 0.02·3), max(…, 0.03·2), max(…, 0.5)
    np.testing.assert_allclose(statistics.holm(np.array([0.02, 0.5, 0.01, 0.03])), [0.06, 0.5, 0.04, 0.06])
    batch = np.array([[0.02, 0.9], [0.5, 0.01]])
    np.testing.assert_allclose(statistics.holm(batch), [[0.04, 0.9], [0.5, 0.02]])


def test_holm_keeps_the_family_error() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(size=(8, 20_000))
    share = np.mean(statistics.holm(p).min(axis=0) <= 0.05)
    # 1 − 0.95^(1/8)-like: for independent nulls the rate is 1 − (1 − 0.05/8)^8 = 0.0489
    assert abs(share - 0.0489) < 4 * np.sqrt(0.0489 / 20_000)
    assert np.mean(p.min(axis=0) <= 0.05) > 0.3, "without the adjustment it would not be kept"


def test_bonferroni_is_capped() -> None:
    assert statistics.bonferroni(np.array([0.4, 0.6, 0.9]), 3) == 1.0
    assert statistics.bonferroni(np.array([0.01, 0.6]), 3) == pytest.approx(0.03)


def test_seeds_needed_gives_the_power_it_promises(students: None) -> None:
    rng = np.random.default_rng(5)
    truth, spread = 0.3, 1.0
    now = special.ndtr(-truth / (spread / np.sqrt(16)))
    needed = int(statistics.networks_needed(now, 16, level=0.05, power=0.9))
    p = Level(Sample(rng.normal(10 + truth, spread, (2000, needed)))).p_above(10.0)
    # power 0.9, less a little for t instead of normal quantiles; standard error 0.7 %
    assert 0.87 < np.mean(p <= 0.05) < 0.93
    assert statistics.networks_needed(0.5, 16, level=0.05, power=0.9) == np.inf
