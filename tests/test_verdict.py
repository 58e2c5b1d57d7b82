"""Verdicts on simulated cells whose truth is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ntkrobust.bounds.claims import AtMost, Claim, DecreasesIn, Equals, IncreasesIn, Reading
from ntkrobust.bounds.verdict import CellSample, Verdict, decide

RNG = np.random.default_rng(20)


def claim(relation: Any, axis: str = "width", functional: str = "mean", cells: int = 4) -> Claim:
    grid = {"depth": (2,), "width": tuple(2**k for k in range(cells))}
    return Claim("test/simulated", "", relation, "jacobian_frobenius", grid, Reading(functional=functional))


def cells(means: list[float], n: int = 64, sigma: float = 0.2, **fields: Any) -> tuple[CellSample, ...]:
    """Lognormal samples of these means."""
    return tuple(
        CellSample(
            coordinates={"depth": 2, "width": 2**k},
            values=mean * RNG.lognormal(-(sigma**2) / 2, sigma, n),
            reference=1.0,
            **fields,
        )
        for k, mean in enumerate(means)
    )


def verdict(relation: Any, sample: tuple[CellSample, ...], side: str = "exact", **options: Any) -> Verdict:
    return decide([(claim(relation, cells=len(sample), **options), sample, side)], 10)[0]


EQUALS = Equals(lambda: 1.0, margin=0.1)
AT_MOST = AtMost(lambda: 1.0)


@pytest.mark.parametrize(
    ("relation", "means", "label"),
    [
        (EQUALS, [1.0, 1.0, 1.0], "supported"),
        (EQUALS, [1.0, 1.0, 1.3], "refuted"),
        (EQUALS, [0.7, 1.0, 1.0], "refuted"),
        (EQUALS, [1.0, 1.1, 1.0], "inconclusive"),
        (AT_MOST, [0.9, 0.7, 0.1], "supported"),
        (AT_MOST, [0.9, 0.7, 1.2], "refuted"),
        (AT_MOST, [1.0, 0.7, 0.1], "inconclusive"),
        (IncreasesIn("width"), [1.0, 1.3, 1.6, 2.0], "supported"),
        (IncreasesIn("width"), [2.0, 1.6, 1.3, 1.0], "refuted"),
        (IncreasesIn("width"), [1.0, 2.0, 1.5, 3.0], "refuted"),
        (IncreasesIn("width"), [1.0, 1.0, 1.0, 1.0], "inconclusive"),
        (DecreasesIn("width"), [2.0, 1.6, 1.3, 1.0], "supported"),
        (DecreasesIn("width"), [1.0, 1.3, 1.6, 2.0], "refuted"),
    ],
)
def test_labels_where_the_truth_is_plain(relation: Any, means: list[float], label: str) -> None:
    found = verdict(relation, cells(means, n=200))
    assert found.label == label
    assert (found.counterexample is not None) == (label == "refuted")


def test_the_counterexample_is_the_cell_that_refutes() -> None:
    found = verdict(AT_MOST, cells([0.9, 1.4, 0.9], n=100))
    assert found.counterexample is not None
    assert found.counterexample.coordinates["width"] == 2
    assert found.effect is not None
    assert found.effect.low < 1.4 < found.effect.high
    assert found.tightness is not None
    np.testing.assert_allclose(found.tightness, (1 / 1.4, 1 / 0.9), rtol=0.1)


def error_rate(make: Callable[[], tuple[CellSample, ...]], relation: Any, label: str, repetitions: int = 1000) -> float:
    return float(np.mean([verdict(relation, make()).label == label for _ in range(repetitions)]))


# 5 % and four standard errors of a share over 1000 repetitions
TOLERATED = 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(
    ("relation", "means"),
    [
        (EQUALS, [0.9, 1.1, 1.1]),
        (AT_MOST, [1.0, 1.0, 1.0]),
        (IncreasesIn("width"), [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_barely_true_statements_are_rarely_refuted(relation: Any, means: list[float]) -> None:
    assert error_rate(lambda: cells(means, n=16), relation, "refuted") <= TOLERATED


@pytest.mark.parametrize(
    ("relation", "means"),
    [
        (EQUALS, [1.0, 1.0, 1.1]),
        (AT_MOST, [0.5, 0.5, 1.0]),
        (IncreasesIn("width"), [1.0, 1.6, 1.6 / 1.05, 2.5]),
        (IncreasesIn("width"), [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_barely_false_statements_are_rarely_supported(relation: Any, means: list[float]) -> None:
    assert error_rate(lambda: cells(means, n=16, sigma=0.05), relation, "supported") <= TOLERATED


def test_power_at_a_plain_effect() -> None:
    assert error_rate(lambda: cells([1.0, 1.3, 1.7, 2.2], n=16), IncreasesIn("width"), "supported", 200) > 0.9
    assert error_rate(lambda: cells([1.0, 1.0, 1.4], n=16), AT_MOST, "refuted", 200) > 0.9


def test_many_true_statements_together_are_rarely_refuted() -> None:
    def any_refuted() -> bool:
        batch = [(claim(AT_MOST, cells=3), cells([1.0, 1.0, 1.0], n=16), "exact") for _ in range(10)]
        return any(one.label == "refuted" for one in decide(batch, 1))

    assert np.mean([any_refuted() for _ in range(300)]) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize(("side", "expected"), [("lower", "inconclusive"), ("upper", "supported")])
def test_a_bound_on_the_measure_supports_only_from_its_side(side: str, expected: str) -> None:
    assert verdict(AT_MOST, cells([0.5, 0.5, 0.5]), side).label == expected


@pytest.mark.parametrize(("side", "expected"), [("lower", "refuted"), ("upper", "inconclusive")])
def test_a_bound_on_the_measure_refutes_only_from_its_side(side: str, expected: str) -> None:
    assert verdict(AT_MOST, cells([1.5, 1.5, 1.5]), side).label == expected
    assert verdict(EQUALS, cells([1.5, 1.5, 1.5]), side).label == "inconclusive"


def test_cells_out_of_scope_do_not_count() -> None:
    sample = cells([1.0, 1.3, 1.6, 2.0], n=100)
    outside = cells([5.0, 0.1, 0.1, 0.1], n=100, in_scope=False)
    assert verdict(IncreasesIn("width"), (*sample[:3], outside[3])).label == "supported"
    nothing = verdict(IncreasesIn("width"), outside)
    assert nothing.label == "out of scope"
    assert nothing.p_value is None


def test_problems_are_said_and_decide_nothing() -> None:
    sample = cells([1.0, 2.0, 3.0], problem="3 of 16 networks diverged")
    found = verdict(IncreasesIn("width"), sample)
    assert found.label == "inconclusive"
    assert "3 of 16 networks diverged" in found.reason


def test_too_few_networks_decide_nothing() -> None:
    found = verdict(IncreasesIn("width"), cells([1.0, 10.0, 100.0], n=11))
    assert found.label == "inconclusive"
    assert "12 networks" in found.reason
    assert verdict(IncreasesIn("width"), cells([1.0, 10.0, 100.0], n=12)).label == "supported"


def test_the_functional_can_change_the_answer() -> None:
    # Same mean, falling geometric mean: what depth does to networks of finite width.
    sample = tuple(
        CellSample({"depth": 2, "width": 2**k}, RNG.lognormal(-(sigma**2) / 2, sigma, 4000), 1.0)
        for k, sigma in enumerate((0.2, 0.5, 0.8))
    )
    assert verdict(DecreasesIn("width"), sample).label == "inconclusive"
    assert verdict(DecreasesIn("width"), sample, functional="geometric mean").label == "supported"


def test_seeds_needed_are_told_when_nothing_is_decided() -> None:
    found = verdict(IncreasesIn("width"), cells([1.0, 1.1, 1.2], n=16, sigma=0.5))
    assert found.label == "inconclusive"
    assert found.seeds_needed is not None
    assert found.seeds_needed > 16
    assert "networks per cell would settle it" in found.reason
