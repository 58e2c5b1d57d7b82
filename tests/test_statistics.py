import numpy as np
import pytest
from scipy import stats

from ntkrobust.bounds import statistics
from ntkrobust.bounds.statistics import Estimate


def test_mean_and_interval_are_students() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=40)
    estimate = statistics.mean(values)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose(estimate.interval(), (low, high), rtol=1e-12)


@pytest.mark.parametrize("reference", [1.5, 2.0, 2.5])
def test_one_sided_p_values_are_students(reference: float) -> None:
    values = np.random.default_rng(1).gamma(2.0, size=25)
    estimate = statistics.mean(values)
    above = stats.ttest_1samp(values, reference, alternative="greater").pvalue
    below = stats.ttest_1samp(values, reference, alternative="less").pvalue
    np.testing.assert_allclose([estimate.p_above(reference), estimate.p_below(reference)], [above, below], rtol=1e-10)
    assert abs(above - below) > 1e-3, "the two sides must be told apart"


def test_difference_is_welchs() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(1.0, 1.0, 14), rng.normal(0.5, 4.0, 40)
    change = statistics.difference(statistics.mean(a), statistics.mean(b))
    welch = stats.ttest_ind(a, b, equal_var=False, alternative="greater")
    np.testing.assert_allclose([change.p_above(0.0), change.df], [welch.pvalue, welch.df], rtol=1e-10)
    pooled = stats.ttest_ind(a, b, equal_var=True, alternative="greater").pvalue
    assert abs(change.p_above(0.0) - pooled) > 1e-3, "equal variances must not be assumed"


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


def test_no_spread_is_no_evidence_of_a_difference() -> None:
    exact = Estimate(1.0, 0.0, 10)
    assert exact.p_above(0.9) == 1.0
    assert exact.p_below(1.1) == 1.0
    # what a share of exactly 0 among a few draws of a rare event would otherwise "show"
    assert statistics.mean(np.zeros(32)).p_below(0.02) == 1.0


def test_paired_differences_use_the_pairing() -> None:
    rng = np.random.default_rng(6)
    base = rng.lognormal(0, 0.5, (3000, 40))
    later = 1.1 * base * rng.lognormal(0, 0.05, base.shape)
    paired = [statistics.paired_difference(b, a, "mean") for a, b in zip(base, later, strict=True)]
    spread = np.std([one.value for one in paired])
    # standard error of a standard deviation over 3000 repetitions: 1.3 %, times four
    assert abs(np.mean([one.se for one in paired]) / spread - 1) < 0.06
    unpaired = statistics.difference(statistics.log_mean(later[0], "mean"), statistics.log_mean(base[0], "mean"))
    assert unpaired.se > 5 * paired[0].se
    geometric = statistics.paired_difference(later[0], base[0], "geometric mean")
    np.testing.assert_allclose(geometric.value, np.mean(np.log(later[0] / base[0])), rtol=1e-12)


def test_holm_by_hand() -> None:
    # sorted: 0.01·4, max(0.04, 0.02·3), max(…, 0.03·2), max(…, 0.5)
    np.testing.assert_allclose(statistics.holm(np.array([0.02, 0.5, 0.01, 0.03])), [0.06, 0.5, 0.04, 0.06])


def test_holm_keeps_the_family_error() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(size=(20_000, 8))
    share = np.mean([statistics.holm(row).min() <= 0.05 for row in p])
    # 1 − 0.95^(1/8)-like: for independent nulls the rate is 1 − (1 − 0.05/8)^8 = 0.0489
    assert abs(share - 0.0489) < 4 * np.sqrt(0.0489 / 20_000)
    assert np.mean(p.min(axis=1) <= 0.05) > 0.3, "without the adjustment it would not be kept"


def test_bonferroni_is_capped() -> None:
    assert statistics.bonferroni(np.array([0.4, 0.6, 0.9]), 3) == 1.0
    assert statistics.bonferroni(np.array([0.01, 0.6]), 3) == pytest.approx(0.03)


def test_seeds_needed_gives_the_power_it_promises() -> None:
    rng = np.random.default_rng(5)
    truth, spread = 0.3, 1.0
    needed = statistics.seeds_needed(Estimate(truth, spread / np.sqrt(16), 15), 0.0, 16, level=0.05)
    assert needed is not None
    p = [statistics.mean(rng.normal(truth, spread, needed)).p_above(0.0) for _ in range(2000)]
    # power 0.9, less a little for t instead of normal quantiles; standard error 0.7 %
    assert 0.87 < np.mean(np.array(p) <= 0.05) < 0.93
    assert statistics.seeds_needed(Estimate(0.0, 1.0, 15), 0.0, 16, level=0.05) is None
