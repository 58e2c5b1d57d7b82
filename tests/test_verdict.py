"""Verdicts on simulated cells whose truth is known."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from ntkrobust.bounds.claims import AtMost, Claim, DecreasesIn, Equals, IncreasesIn, Reading
from ntkrobust.bounds.claims.relations import AtLeast, FallsThenRises, OrderAtMost, RisesThenFalls, ScalesAs
from ntkrobust.bounds.statistics import skewness
from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts import CellSample, Needed, SequentialDecision, Verdict, decide, judge
from ntkrobust.bounds.verdicts.planning import p_values

RNG = np.random.default_rng(0)


def claim(relation: Any, axis: str = "width", functional: str = "mean", cells: int = 4) -> Claim:
    grid = {"depth": (2,), "width": tuple(2**k for k in range(cells))}
    return Claim("test/simulated", "", relation, "jacobian_frobenius", grid, Reading(functional=functional))


def cells(
    means: list[float], n: int | tuple[int, int] = 64, sigma: float = 0.2, reference: float | None = 1.0, **fields: Any
) -> tuple[CellSample, ...]:
    """Lognormal samples of these means."""
    return tuple(
        CellSample(
            coordinates={"depth": 2, "width": 2**k},
            values=mean * RNG.lognormal(-(sigma**2) / 2, sigma, n),
            reference=reference,
            **fields,
        )
        for k, mean in enumerate(means)
    )


def verdict(relation: Any, sample: tuple[CellSample, ...], side: str = "exact", **options: Any) -> Verdict:
    return decide([(claim(relation, cells=len(sample), **options), sample, side)], 10)[0]


EQUALS = Equals(lambda: 1.0, margin=0.1)
AT_MOST = AtMost(lambda: 1.0)
AT_LEAST = AtLeast(lambda: 1.0)
ORDER = OrderAtMost(lambda: 1.0)
POWER_LAW = ScalesAs("width", -0.5, margin=0.1, over="neighbours")
SLOPE = ScalesAs("width", -0.5, margin=0.1)
PEAK = RisesThenFalls("width")


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
        (AT_LEAST, [1.1, 1.3, 9.0], "supported"),
        (AT_LEAST, [1.1, 0.8, 9.0], "refuted"),
        (AT_LEAST, [1.0, 1.3, 9.0], "inconclusive"),
        (ORDER, [5.0, 5.0, 5.0, 5.0], "supported"),
        (ORDER, [1.0, 1.2, 1.4, 1.7], "refuted"),
        (ORDER, [0.1, 3.0, 3.0, 3.0, 3.0], "supported"),
        (ORDER, [1.0, 1.05, 1.1, 1.16], "inconclusive"),
        (ScalesAs("width", -0.5, margin=0.2), [1.0, 2**-0.5, 0.5, 2**-1.5], "supported"),
        (ScalesAs("width", -0.5, 0.2, "neighbours"), [1.0, 2**-0.5, 0.5, 2**-1.5], "supported"),
        (ScalesAs("width", -0.5, 0.2, "neighbours"), [1.0, 2**-0.5, 0.7, 0.7], "refuted"),
        (ScalesAs("width", -0.5, 0.2, "neighbours"), [1.0, 2**-0.5, 0.5, 2**-1.3], "inconclusive"),
        # The same bent curve has a slope of −0.44 over the range.
        (ScalesAs("width", -0.5, margin=0.2), [1.0, 2**-0.5, 0.5, 2**-1.3], "supported"),
        (SLOPE, [1.0, 2**-0.4, 2**-0.8, 2**-1.2], "inconclusive"),
        (SLOPE, [1.0, 0.9, 0.8, 0.7], "refuted"),
        (ScalesAs("width", -0.02, margin=0.02), [1.0, 1.0, 1.0, 1.0], "flat"),
        (PEAK, [0.4, 0.6, 1.0, 0.7, 0.5], "supported"),
        (PEAK, [1.0, 0.7, 0.5, 0.7, 1.0], "refuted"),
        (PEAK, [0.4, 0.6, 1.0, 1.3, 1.6], "refuted"),
        (PEAK, [1.0, 1.0, 1.0, 1.0, 1.0], "inconclusive"),
        (FallsThenRises("width"), [1.0, 0.7, 0.5, 0.7, 1.0], "supported"),
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


def error_rate(sample: tuple[CellSample, ...], relation: Any, label: Any) -> float:
    return float(np.mean(p_values(claim(relation, cells=len(sample)), sample, label) <= 0.05))


REPETITIONS = 2000
# 5 % and four standard errors of a share over that many repetitions
TOLERATED = 0.05 + 4 * np.sqrt(0.05 * 0.95 / REPETITIONS)


@pytest.mark.parametrize("n", [12, 64])
@pytest.mark.parametrize("sigma", [0.2, 0.7])
@pytest.mark.parametrize(
    ("relation", "means"),
    [
        (EQUALS, [0.9, 1.1, 1.1]),
        (AT_MOST, [1.0, 1.0, 1.0]),
        (AT_LEAST, [1.0, 1.0, 1.0]),
        (ORDER, [1.0, 1.05, 1.05**2, 1.05**3]),
        (POWER_LAW, [1.0, 2.0**-0.4, 2.0**-1.0]),
        (SLOPE, [1.0, 2.0**-0.6, 2.0**-1.2]),
        (IncreasesIn("width"), [1.0, 1.0, 1.0, 1.0]),
        (PEAK, [1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_barely_true_statements_are_rarely_refuted(relation: Any, means: list[float], sigma: float, n: int) -> None:
    assert error_rate(cells(means, n=(REPETITIONS, n), sigma=sigma), relation, "refuted") <= TOLERATED


@pytest.mark.parametrize("n", [12, 64])
@pytest.mark.parametrize("sigma", [0.05, 0.7])
@pytest.mark.parametrize(
    ("relation", "means"),
    [
        (EQUALS, [1.0, 1.0, 1.1]),
        (AT_MOST, [0.2, 0.2, 1.0]),
        (AT_LEAST, [5.0, 5.0, 1.0]),
        (ORDER, [1.0, 1.05, 1.05**2, 1.05**3]),
        (POWER_LAW, [1.0, 2.0**-0.5, 2.0**-0.9]),
        (SLOPE, [1.0, 2.0**-0.4, 2.0**-0.8]),
        (IncreasesIn("width"), [1.0, 1.6, 1.6 / 1.05, 2.5]),
        (IncreasesIn("width"), [1.0, 1.0, 1.0, 1.0]),
        (PEAK, [0.1, 0.4, 1.0, 1.0, 1.0]),
    ],
)
def test_barely_false_statements_are_rarely_supported(relation: Any, means: list[float], sigma: float, n: int) -> None:
    assert error_rate(cells(means, n=(REPETITIONS, n), sigma=sigma), relation, "supported") <= TOLERATED


def test_students_test_alone_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # The negative control of the two tests above: without its guards the level is not kept.
    monkeypatch.setattr(skewness, "OVERSTATED", 0.0)
    monkeypatch.setattr(skewness, "UNCERTAIN", 0.0)
    monkeypatch.setattr(skewness, "LOGNORMAL_BELOW", 0)
    assert error_rate(cells([0.2, 0.2, 1.0], n=(REPETITIONS, 12), sigma=0.7), AT_MOST, "supported") > 1.5 * TOLERATED
    assert error_rate(cells([1.0, 1.0, 1.0], n=(REPETITIONS, 12), sigma=0.7), AT_LEAST, "refuted") > 1.5 * TOLERATED


def test_power_at_a_plain_effect() -> None:
    assert error_rate(cells([1.0, 1.4, 2.0, 2.8], n=(500, 16)), IncreasesIn("width"), "supported") > 0.9
    assert error_rate(cells([1.0, 1.0, 1.4], n=(500, 16)), AT_MOST, "refuted") > 0.9


def test_what_is_simulated_is_what_judges() -> None:
    for relation in (EQUALS, AT_MOST, AT_LEAST, ORDER, POWER_LAW, SLOPE, IncreasesIn("width"), PEAK):
        batch = cells([1.0, 1.1, 1.15, 1.1, 0.9], n=(3, 20), sigma=0.3)
        about = claim(relation, cells=5)
        one = tuple(dataclasses.replace(cell, values=cell.values[1]) for cell in batch)
        judged = judge(about, one, 0.05)
        assert judged.p_support == pytest.approx(p_values(about, batch, "supported")[1], rel=1e-9)
        assert judged.p_refute == pytest.approx(p_values(about, batch, "refuted")[1], rel=1e-9)


def test_many_true_statements_together_are_rarely_refuted() -> None:
    def any_refuted() -> bool:
        batch = [(claim(AT_MOST, cells=3), cells([1.0, 1.0, 1.0], n=16), "exact") for _ in range(10)]
        return any(one.label == "refuted" for one in decide(batch, 1))

    assert np.mean([any_refuted() for _ in range(100)]) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)


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
    assert verdict(DecreasesIn("width"), sample).label == "flat"
    assert verdict(DecreasesIn("width"), sample, functional="geometric mean").label == "supported"


def test_seeds_needed_are_told_when_nothing_is_decided() -> None:
    found = verdict(IncreasesIn("width"), cells([1.0, 1.1, 1.2], n=16, sigma=0.5))
    assert found.label == "inconclusive"
    assert found.seeds_needed is not None
    assert found.seeds_needed > 16
    assert f"about {found.seeds_needed} seeds would settle it" in found.reason


@pytest.mark.parametrize(("side", "label"), [("lower", "supported"), ("upper", "inconclusive")])
def test_at_least_is_decided_from_the_other_side(side: str, label: str) -> None:
    assert verdict(AT_LEAST, cells([2.0, 2.0, 2.0]), side).label == label
    refuted = {"lower": "inconclusive", "upper": "refuted"}[side]
    assert verdict(AT_LEAST, cells([0.5, 2.0, 2.0]), side).label == refuted
    assert verdict(ORDER, cells([1.0, 2.0, 4.0, 8.0]), side).label == "inconclusive"


def test_a_constant_is_told_for_this_range() -> None:
    found = verdict(ORDER, cells([2.0, 3.0, 3.0, 2.0], n=100))
    assert found.label == "supported"
    assert found.constant is not None
    assert found.constant.low < 3.0 < found.constant.high
    assert "for this range the constant is" in found.reason


def test_growth_is_looked_for_along_every_numeric_axis() -> None:
    grid = {"initialization": ("he",), "depth": (2, 4, 8), "width": (32, 64, 128)}
    about = Claim("test/two-axes", "", ORDER, "jacobian_frobenius", grid)

    def along(axis: str) -> Verdict:
        sample = tuple(
            CellSample(
                {"initialization": "he", "depth": depth, "width": width},
                {"depth": depth, "width": width}[axis] ** 0.5 * RNG.lognormal(0, 0.2, 60),
                reference=1.0,
            )
            for depth in grid["depth"]
            for width in grid["width"]
        )
        return decide([(about, sample, "exact")], 1)[0]

    for axis in ("depth", "width"):
        found = along(axis)
        assert found.label == "refuted"
        assert found.effect is not None
        assert found.effect.name == f"measured/bound per doubling of {axis}"
        assert found.effect.low < 2**0.5 < found.effect.high


def test_an_exponent_comes_with_its_interval() -> None:
    found = verdict(ScalesAs("width", -0.5, margin=0.2), cells([1.0, 2**-0.5, 0.5, 2**-1.5], n=200))
    assert found.exponent is not None
    assert found.exponent.low < -0.5 < found.exponent.high
    assert found.exponent.high - found.exponent.low < 0.1


def test_a_turning_point_is_placed_and_compared() -> None:
    means = [0.4, 0.7, 1.0, 0.7, 0.4]
    found = verdict(RisesThenFalls("width", at=lambda: 5.0), cells(means, n=100, reference=5.0))
    place = found.turning_point
    assert place is not None
    assert (place.estimate, place.low, place.high) == (4, 2, 8)
    assert place.agrees
    assert "5 was predicted, which is inside" in found.reason
    elsewhere = verdict(RisesThenFalls("width", at=lambda: 15.0), cells(means, n=100, reference=15.0))
    assert elsewhere.turning_point is not None
    assert not elsewhere.turning_point.agrees
    assert verdict(PEAK, cells(means, n=100, reference=None)).turning_point.agrees is None  # type: ignore[union-attr]


def test_networks_along_n_are_paired() -> None:
    grid = {"depth": (2,), "width": (8,), "n": (10, 20, 40)}
    about = Claim("test/paired", "", IncreasesIn("n"), "jacobian_frobenius", grid)
    base = RNG.lognormal(0, 0.7, 16)
    sample = tuple(
        CellSample({"depth": 2, "width": 8, "n": n}, base * 1.15**k * RNG.lognormal(0, 0.03, 16))
        for k, n in enumerate(grid["n"])
    )
    assert decide([(about, sample, "exact")], 1)[0].label == "supported"
    shuffled = tuple(dataclasses.replace(cell, values=RNG.permutation(cell.values)) for cell in sample)
    assert decide([(about, shuffled, "exact")], 1)[0].label == "inconclusive"


def test_looks_stop_when_every_claim_is_decided() -> None:
    plain, subtle, never = ([0.5, 0.5, 0.5], [0.8, 0.8, 0.8], [1.0, 0.5, 0.5])
    whole = [cells(means, n=48, sigma=0.3) for means in (plain, subtle, never)]
    looks = SequentialPlan((16, 32, 48))

    def decided(which: list[int]) -> tuple[SequentialDecision, list[Needed]]:
        decision, asked = SequentialDecision(len(which), looks, 1), []
        while (needed := decision.needs()) is not None:
            asked.append(needed)
            decision.look(
                [
                    (
                        claim(AT_MOST, cells=3),
                        tuple(
                            dataclasses.replace(cell, values=cell.values[: needed.networks])
                            for cell in whole[which[index]]
                        ),
                        "exact",
                    )
                    for index in needed.claims
                ]
            )
        return decision, asked

    alone, _ = decided([0])
    assert (alone.verdicts[0].label, alone.networks) == ("supported", [16])
    together, asked = decided([0, 1, 2])
    verdicts, used = together.verdicts, together.networks
    assert [one.label for one in verdicts] == ["supported", "supported", "inconclusive"]
    assert used[0] == 16
    assert used[2] == 48
    assert verdicts[0].seeds == 16, "a claim that is decided keeps the networks that decided it"
    assert asked[0] == (16, (0, 1, 2))
    assert 0 not in asked[1][1]
    assert SequentialDecision(0, looks, 1).needs() is None
    with pytest.raises(ValueError, match="a look at 0 open claims was expected, got 1"):
        alone.look([(claim(AT_MOST, cells=3), tuple(whole[0]), "exact")])
    with pytest.raises(ValueError, match="a look at 2 open claims was expected, got 1"):
        SequentialDecision(2, looks, 1).look([(claim(AT_MOST, cells=3), tuple(whole[0]), "exact")])
