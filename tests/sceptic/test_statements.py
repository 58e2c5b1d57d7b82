"""Statements agree with the intervals beside them, and say what was seen: labels, sentences, numbers, figures."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import (
    AtLeast,
    AtMost,
    DecreasesIn,
    Equals,
    FallsThenRises,
    IncreasesIn,
    OrderAtLeast,
    OrderAtMost,
    Relation,
    RisesThenFalls,
    ScalesAs,
    Turns,
)
from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts import CellSample, Effect, SequentialDecision, Verdict, decide, describing, shown
from ntkrobust.reports import words
from ntkrobust.reports.terminal import undecided_lines
from ntkrobust.studies import reach
from ntkrobust.studies.evidence import describe
from ntkrobust.workflows.showing import verdict_html

Report = Callable[[str, object, object, str], None]
WIDTHS = (32, 64, 128, 256, 512)


def one() -> float:
    return 1.0


RELATIONS: tuple[Relation, ...] = (
    Equals(one, 0.1),
    AtMost(one),
    AtLeast(one),
    OrderAtMost(one),
    OrderAtLeast(one),
    IncreasesIn("width"),
    DecreasesIn("width", 0.02, flat=0.1),
    RisesThenFalls("width"),
    FallsThenRises("width", 0.1),
    ScalesAs("width", -0.04, margin=0.02),
    ScalesAs("width", 0.3, 0.1, "neighbours"),
)


def claim(relation: Relation, depths: tuple[int, ...] = (2,), name: str = "one", draws: int = 1) -> Claim:
    return Claim(f"test/{name}", "", relation, "jacobian_frobenius", {"depth": depths, "width": WIDTHS}, draws=draws)


def cells(means: np.ndarray, n: int, sigma: float, rng: np.random.Generator, depth: int = 2) -> tuple[CellSample, ...]:
    """Lognormal samples of these means along the width."""
    return tuple(
        CellSample({"depth": depth, "width": width}, mean * rng.lognormal(-(sigma**2) / 2, sigma, n), 1.0)
        for width, mean in zip(WIDTHS, means, strict=True)
    )


# ---- labels and intervals


def stated(relation: Relation, effect: Effect) -> tuple[float, float]:
    """What the relation, by its words, allows an effect of this name to be."""
    match relation:
        case Equals():
            return 1 - relation.margin, 1 + relation.margin
        case AtMost():
            return -math.inf, 1.0
        case AtLeast():
            return 1.0, math.inf
        case OrderAtMost():
            return -math.inf, relation.growth
        case OrderAtLeast():
            return 1 / relation.growth, math.inf
        case ScalesAs():
            return relation.power - relation.margin, relation.power + relation.margin
    first, last = map(int, re.findall(r"\d+", effect.name))
    sign = relation.sign
    if isinstance(relation, Turns):
        return -math.inf, math.inf  # which way a leg goes depends on where it turns
    whole = (first, last) == (WIDTHS[0], WIDTHS[-1])
    if sign > 0:
        return (1.0 if whole else 1 / (1 + relation.margin)), math.inf
    return -math.inf, (1.0 if whole else 1 + relation.margin)


def contradiction(verdict: Verdict) -> str:
    """What is wrong between the label and the interval shown, or "".

    Supported: inside what is stated. Refuted: outside. Inconclusive: neither. Flat: inside the margin of what is flat.
    """
    relation, effect = verdict.claim.relation, verdict.effect
    assert effect is not None
    low, high = stated(relation, effect)
    # To within the precision of the bisection that found the ends.
    inside = low - 1e-4 <= effect.low and effect.high <= high + 1e-4
    strictly_inside = low + 1e-4 <= effect.low and effect.high <= high - 1e-4
    outside = effect.high <= low + 1e-4 or effect.low >= high - 1e-4
    strictly_outside = effect.high < low - 1e-4 or effect.low > high + 1e-4
    if not effect.low <= effect.estimate <= effect.high:
        return "the estimate is outside its interval"
    turning = low == -math.inf and high == math.inf
    bad = {
        "supported": not inside,
        "refuted": not outside and not turning,
        "inconclusive": (strictly_inside and not turning) or strictly_outside,
        "flat": False,
    }[verdict.label]
    if verdict.label == "flat":
        room = math.log1p(relation.margin if getattr(relation, "flat", None) is None else relation.flat)
        scale = math.log(WIDTHS[-1] / WIDTHS[0]) if words.is_factor({"name": effect.name}) is False else 1.0
        ends = (
            (effect.low * scale, effect.high * scale) if scale != 1.0 else (math.log(effect.low), math.log(effect.high))
        )
        bad = max(map(abs, ends)) > room + 1e-4
    return f"{verdict.label} beside {effect} of {low:g} to {high:g}" if bad else ""


def random_batches(count: int) -> Iterator[list[tuple[Claim, tuple[CellSample, ...], str]]]:
    """Claims judged together: all relations, one to thirteen at a time, near their borders and far from them."""
    rng = np.random.default_rng(7)
    logs = np.log(np.array(WIDTHS) / WIDTHS[0])
    for index in range(count):
        batch = []
        for position in range(int(rng.integers(1, 14))):
            relation = RELATIONS[(index + position) % len(RELATIONS)]
            slope = rng.choice([0.0, 0.0, -0.02, -0.04, -0.06, 0.05, 0.3, -0.4])
            bend = rng.choice([0.0, 0.0, 0.1, -0.3])
            level = rng.choice([0.9, 1.0, 1.1, 0.5])
            means = level * np.exp(slope * logs + bend * np.sin(np.pi * logs / logs[-1]))
            n, sigma = int(rng.choice([12, 16, 64, 400])), float(rng.choice([0.02, 0.1, 0.4]))
            batch.append((claim(relation, name=str(position)), cells(means, n, sigma, rng), "exact"))
        yield batch


def contradictions(count: int) -> tuple[list[str], dict[str, int]]:
    found, labels = [], dict.fromkeys(("supported", "refuted", "flat", "inconclusive"), 0)
    for batch in random_batches(count):
        for verdict in decide(batch, 1):
            labels[verdict.label] += 1
            found += [text for text in [contradiction(verdict)] if text]
    return found, labels


def test_labels_never_contradict_the_intervals_beside_them(figure: Report) -> None:
    found, labels = contradictions(12)
    figure(
        "labels beside 95 % intervals of random samples", f"{len(found)} contradictions", 0, "the words of relations"
    )
    assert not found
    assert min(labels.values()) > 0, "every label was met"


@pytest.mark.parametrize("planted", ["marginal intervals", "the whole range whatever decides"])
def test_intervals_that_know_nothing_of_the_label_are_noticed(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if planted == "marginal intervals":
        monkeypatch.setattr(shown, "_agrees", lambda *_: True)
    else:
        monkeypatch.setattr(describing, "shown_part", lambda judgement, label, levels, preferred: preferred)
    assert contradictions(12)[0]


def test_verdicts_reached_early_agree_with_their_intervals_too() -> None:
    looks = SequentialPlan((16, 32, 48))
    for whole in random_batches(6):
        whole = [(about, tuple(dataclasses.replace(c, values=np.resize(c.values, 48)) for c in of), side)
                 for about, of, side in whole if len(of[0].values) >= 64]  # fmt: skip
        if not whole:
            continue

        decision = SequentialDecision(len(whole), looks, 1)
        while (needed := decision.needs()) is not None:
            decision.look(
                [
                    (about, tuple(dataclasses.replace(c, values=c.values[: needed.networks]) for c in of), side)
                    for about, of, side in (whole[index] for index in needed.claims)
                ]
            )
        for verdict in decision.verdicts:
            assert not contradiction(verdict)


# ---- exponents


def noisy_power() -> tuple[tuple[CellSample, ...], float]:
    """Means that fall by width^−0.038, and the slope of log mean on log width of the samples."""
    rng = np.random.default_rng(3)
    found = cells(np.array(WIDTHS) ** -0.038, 200, 0.12, rng)
    slope = np.polyfit(np.log(WIDTHS), [np.log(np.mean(cell.values)) for cell in found], 1)[0]
    return found, float(slope)


def test_an_exponent_inside_its_margin_over_the_range_is_supported(figure: Report) -> None:
    sample, slope = noisy_power()
    verdict = decide([(claim(ScalesAs("width", -0.04, margin=0.02)), sample, "exact")], 1)[0]
    assert verdict.effect is not None
    shown_as = f"{verdict.label} [{verdict.effect.low:.3f}, {verdict.effect.high:.3f}]"
    figure("ScalesAs('width', -0.04, margin=0.02)", shown_as, "supported", "least squares of log means, numpy")
    assert verdict.label == "supported"
    # The bias of log x̄ is taken out, a few 1e-5 here.
    assert verdict.effect.estimate == pytest.approx(slope, abs=2e-4)
    assert verdict.exponent == verdict.effect, "one exponent has one interval"
    pairwise = decide([(claim(ScalesAs("width", -0.04, 0.02, "neighbours")), sample, "exact")], 1)[0]
    assert pairwise.label == "inconclusive", "the reading between neighbours is the planted fault"
    assert pairwise.effect is not None
    assert pairwise.effect.name.startswith("exponent of width between ")


def test_a_figure_gives_one_interval_for_one_exponent() -> None:
    sample, _ = noisy_power()
    page = verdict_html(decide([(claim(ScalesAs("width", -0.04, margin=0.02)), sample, "exact")], 1)[0])
    assert "fitted exponent" not in page


# ---- flat


def test_what_is_flat_is_called_so_and_no_seeds_are_asked_for(figure: Report) -> None:
    rng = np.random.default_rng(1)
    sample = cells(np.ones(5), 2000, 0.2, rng)
    verdict = decide([(claim(DecreasesIn("width"), draws=128), sample, "exact")], 1)[0]
    figure("a trend of equal means, 2000 networks", verdict.label, "flat", "the means it was simulated with")
    assert verdict.label == "flat"
    assert verdict.reason.startswith("flat to within 5 % between any two cells")
    assert verdict.seeds_needed is None
    document = {"values": {"verdicts": [describe(verdict, measure(), range(5))]}}
    assert words.label(document["values"]["verdicts"][0]) == "flat to 5 %"
    # A hump of 8 % between equal ends is not flat.
    hump = cells(np.array([1.0, 1.04, 1.08, 1.04, 1.0]), 2000, 0.2, rng)
    assert decide([(claim(DecreasesIn("width")), hump, "exact")], 1)[0].label == "refuted"
    assert decide([(claim(IncreasesIn("width", 0.1, flat=0.05)), hump, "exact")], 1)[0].label == "inconclusive"


def test_flat_is_rarely_said_of_what_is_not(figure: Report) -> None:
    # Means that differ by just the margin: "flat" is false, in 5 % of samples at most it may be said.
    rng, said, repetitions = np.random.default_rng(5), 0, 150
    for _ in range(repetitions):
        sample = cells(np.array([1.0, 1.0, 1.0, 1.0, 1.05]), 200, 0.05, rng)[::2]
        about = Claim("test/edge", "", DecreasesIn("width", 0.5, flat=0.05), "jacobian_frobenius",
                      {"depth": (2,), "width": WIDTHS[::2]})  # fmt: skip
        judged = decide([(about, sample, "exact")], 1)[0]
        said += judged.label == "flat"
    figure("flat, said of a change of just 5 %", said / repetitions, "at most 0.05", "the means it was simulated with")
    assert said / repetitions <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / repetitions)


# ---- numbers of networks


def measure() -> Any:
    from ntkrobust.finite.measures.catalogue import MEASURES

    return MEASURES["jacobian_frobenius"]


def test_what_is_undecided_says_what_to_type(figure: Report) -> None:
    rng = np.random.default_rng(2)
    about = claim(IncreasesIn("width"), draws=4)
    sample = cells(np.array([1.0, 1.01, 1.02, 1.04, 1.06]), 64, 0.2, rng)
    verdict = decide([(about, sample, "exact")], 1)[0]
    assert verdict.label == "inconclusive"
    needed = verdict.seeds_needed
    assert needed is not None
    document = {"values": {"verdicts": [describe(verdict, measure(), range(5))]}}
    (line,) = undecided_lines(document)
    figure("seeds for an undecided trend, draws = 4", needed, "networks/4", "verdict.reason")
    assert f"about {needed} seeds, {4 * needed} networks per cell, would settle it" in line
    # So many do: the estimates are near the truth here, and the power aimed at is 0.9.
    more = [
        decide([(about, cells(np.array([1.0, 1.01, 1.02, 1.04, 1.06]), 4 * needed, 0.2, rng), "exact")], 1)[0].label
        for _ in range(10)
    ]
    assert more.count("inconclusive") <= 6


# ---- readings that nobody reaches


def unreachable(loss: float) -> Claim:
    return Claim(
        "test/out-of-reach",
        "",
        IncreasesIn("width"),
        "perturbation_stability",
        {"depth": (2,), "width": (8, 12, 16, 20), "n": (32,)},
        reading=ntr.Reading("equal loss", loss, budget=20),
    )


def test_a_loss_that_no_network_reaches_is_said_after_a_few(figure: Report) -> None:
    verdicts = ntr.verify([unreachable(1e-4)], seeds=16)
    verdict = verdicts[0]
    drawn = max(len(cell.values) for cell in verdict.cells)
    figure("a loss out of reach: networks per cell", drawn, reach.PILOT, "the pilot")
    assert verdict.label == "inconclusive"
    assert drawn == reach.PILOT
    found = re.search(
        r"none of 4 networks reached loss 0.0001 in 20 steps; the lowest seen is ([\d.]+)", verdict.reason
    )
    assert found is not None
    y = ntr.data.load("digits").y_train[:32]
    # The first cell, in units of the loss of f = 0.
    lowest = np.nanmin(verdicts.evidence["measured"]["loss"][0]) / (0.5 * np.sum(np.square(y, dtype=np.float64)))
    assert float(found[1]) == pytest.approx(lowest, rel=0.02)


# ---- sentences about zeros


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.0, 0.0, 0.0, 0.0], "jacobian_frobenius is zero in every network"),
        ([1.0, -1.0, 0.5, -0.5], "the mean of jacobian_frobenius over networks is 0, which is not positive"),
        ([-1.0, -2.0, -1.0, -3.0], "jacobian_frobenius is negative in every network"),
    ],
)
def test_zero_is_said_of_zeros_only(values: list[float], said: str) -> None:
    assert reach._without_meaning(claim(IncreasesIn("width")), np.array(values), None).startswith(said)
    geometric = dataclasses.replace(claim(IncreasesIn("width")), reading=ntr.Reading(functional="geometric mean"))
    sentence = reach._without_meaning(geometric, np.array(values), None)
    assert ("are zero" in sentence) == (min(values) == 0), sentence
