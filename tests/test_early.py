"""Verdicts that are told before the others have their networks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import ntkrobust as ntr
from ntkrobust.bounds.claims import AtLeast, AtMost, Claim, Reading
from ntkrobust.studies import early, pilot

PLAIN = Claim(
    "own/plain", "", AtMost(lambda exact_law: 1.5 * exact_law), "perturbation_stability",
    {"initialization": ("he",), "depth": (2,), "width": (8,)}, draws=8,
)  # fmt: skip
# the bound is what it bounds: as good as never decided
BORDER = Claim(
    "own/border", "", AtMost(lambda exact_law: exact_law), "perturbation_stability",
    {"initialization": ("he",), "depth": (3,), "width": (8, 16, 32)}, draws=8,
)  # fmt: skip
FALSE = Claim(
    "own/false", "", AtMost(lambda exact_law: 0.5 * exact_law), "perturbation_stability",
    {"initialization": ("lecun",), "depth": (4,), "width": (64,)}, draws=8,
)  # fmt: skip


def test_what_is_told_early_is_what_is_said_in_the_end() -> None:
    told: dict[str, tuple[str, int]] = {}
    ended = 0

    def progress(text: str, done: int, total: int) -> None:
        nonlocal ended
        ended = done

    def reached(claim: str, label: str) -> None:
        assert claim not in told
        told[claim] = label, ended

    verdicts = ntr.verify([PLAIN, BORDER, FALSE], seeds=12, points=8, progress=progress, reached=reached)
    assert [one.label for one in verdicts] == ["supported", "inconclusive", "refuted"]
    assert {claim: label for claim, (label, _) in told.items()} == {"own/plain": "supported", "own/false": "refuted"}
    # The smallest network ends first, and its claim does not wait for the largest.
    assert told["own/plain"][1] < 5


@pytest.mark.parametrize(("claims", "expected"), [(5, ["own/plain"]), (6, [])])
def test_what_others_could_undo_is_not_told(claims: int, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Of six claims, p = 0.01 is not certain: Holm may leave it 0.05/6.
    judgement = SimpleNamespace(p_refute=1.0, p_support=0.01)
    monkeypatch.setattr(early, "examine", lambda *_: SimpleNamespace(judgement=judgement))
    told: list[str] = []
    study: Any = SimpleNamespace(claim=PLAIN, cells=(), excluded=())
    waiting = [early.Waiting(study, {}, lambda *_: None)]  # type: ignore[arg-type, return-value]
    one = early.Early(claims, 12, lambda claim, label: told.append(claim))
    one.telling(waiting, lambda *_: None)("a cell", 1, 1)
    assert sorted(set(told)) == expected


def test_untrained_networks_are_judged_before_any_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Claim(
        "own/trained", "", AtLeast(lambda exact_law: 0.0 * exact_law), "perturbation_stability",
        {"initialization": ("he",), "depth": (2,), "width": (8,)},
        Reading("equal scaled time", value=0.5), alternatives=(0.25,),
    )  # fmt: skip
    told: list[str] = []
    seen_by_the_pilot: list[list[str]] = []
    settled = pilot.settled

    def settling(*args: Any, **more: Any) -> list[Claim]:
        seen_by_the_pilot.append(told.copy())
        return settled(*args, **more)

    monkeypatch.setattr("ntkrobust.workflows.verify.settled", settling)
    ntr.verify([PLAIN, trained], seeds=8, points=8, reached=lambda claim, label: told.append(claim))
    assert seen_by_the_pilot == [["own/plain"]]
