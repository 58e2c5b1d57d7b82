"""Levels under early stopping."""

import numpy as np
import pytest
from scipy import special

from ntkrobust.bounds.statistics import sequential
from ntkrobust.bounds.statistics.sequential import SequentialPlan, look_sizes


@pytest.mark.parametrize(
    ("n_max", "sizes"), [(96, (32, 64, 96)), (36, (12, 24, 36)), (16, (12, 16)), (12, (12,)), (20, (12, 14, 20))]
)
def test_looks_never_have_too_few_networks(n_max: int, sizes: tuple[int, ...]) -> None:
    assert look_sizes(n_max) == sizes


@pytest.mark.parametrize("sizes", [(12, 24, 36), (16, 64), (12, 14, 20), (10, 20, 30, 40)])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_error_is_spent_exactly_for_gaussian_statistics(sizes: tuple[int, ...], level: float) -> None:
    rng = np.random.default_rng(0)
    repetitions = 400_000
    steps = np.diff(np.array(sizes), prepend=0)
    scores = np.cumsum(rng.standard_normal((repetitions, len(sizes))) * np.sqrt(steps), axis=1)
    p = special.ndtr(-scores / np.sqrt(sizes))
    looks = SequentialPlan(sizes)
    tolerance = 4 * np.sqrt(level / repetitions)
    assert abs(np.mean((p <= looks.levels(level)).any(axis=1)) - level) < tolerance
    adjusted = np.min([looks.p_values(p[:, k], k) for k in range(len(sizes))], axis=0)
    assert abs(np.mean(adjusted <= level) - level) < tolerance + 0.01 * level
    assert np.mean(p.min(axis=1) <= level) > 1.2 * level, "looking without an adjustment would not keep it"


def test_a_single_look_changes_nothing() -> None:
    np.testing.assert_allclose(SequentialPlan((20,)).levels(0.03), [0.03])
    np.testing.assert_allclose(
        SequentialPlan((20,)).p_values(np.array([0.001, 0.03, 0.4]), 0), [0.001, 0.03, 0.4], rtol=1e-3
    )


def test_adjusted_values_belong_to_the_levels() -> None:
    looks = SequentialPlan((12, 24, 36))
    for level in (0.2, 0.05, 0.004):
        for look, needed in enumerate(looks.levels(level)):
            np.testing.assert_allclose(looks.p_values(needed, look), level, rtol=0.01)
    # below the table by Bonferroni's inequality, which costs more
    assert looks.p_values(np.array(1e-12), 1) == pytest.approx(1e-12 / (1 / 3), rel=1e-6)
    assert looks.p_values(np.array(0.9), 2) == 1.0


def test_it_spends_less_than_bonferroni_over_the_looks() -> None:
    looks = SequentialPlan((12, 24, 36))
    shares = np.diff((np.array(looks.sizes) / 36) ** sequential.SPENDING, prepend=0.0)
    assert (looks.levels(0.05) >= 0.05 * shares * (1 - 1e-9)).all()
    assert looks.levels(0.05)[-1] > 1.4 * 0.05 * shares[-1]
