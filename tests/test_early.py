"""Verdicts that are told before the others have their networks."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

import ntkrobust as ntr
from ntkrobust import data as datasets
from ntkrobust.bounds.claims import AtLeast, AtMost, Claim, Quantity, Reading
from ntkrobust.bounds.papers.catalogue import load
from ntkrobust.studies import early, pilot, predictions
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.demands import out_of_reach
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.records import Demand
from ntkrobust.studies.running import in_turn
from ntkrobust.studies.study import study_of

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


def test_closed_forms_of_ours_are_left_until_untrained_networks_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    computed = predictions.InfiniteWidth._computed

    def counted(self: Any, measure: str, cell: Any) -> float:
        happened.append("a closed form")
        return computed(self, measure, cell)

    monkeypatch.setattr(predictions.InfiniteWidth, "_computed", counted)
    ours = load("zhu2022/depth-he/infinite@converged")
    ours = dataclasses.replace(ours, grid={**ours.grid, "n": (16,)})
    own = dataclasses.replace(
        ours, id="own/infinite", measure=Quantity("infinite_stability", lambda infinite_width: infinite_width)
    )

    def run(*claims: Claim) -> list[str]:
        happened.clear()
        verdicts = ntr.verify([PLAIN, *claims], seeds=2, points=8, progress=lambda *_: happened.append("networks"))
        assert verdicts[1].label == "refuted"
        return happened.copy()

    found = run(ours)
    assert found.index("networks") < found.index("a closed form")
    # What users state is evaluated before anything is run, so that a mistake in it costs no time.
    found = run(own)
    assert found.index("networks") > found.index("a closed form")
    wrong = dataclasses.replace(own, measure=Quantity("infinite_stability", lambda infinite_width: -infinite_width))
    with pytest.raises(ntr.InputError, match="its quantity"):
        run(wrong)
    assert "networks" not in happened


def test_long_cells_are_begun_between_quick_ones() -> None:
    def cell(width: int, time: str = "equal scaled time") -> Cell:
        return Cell(ntr.MLP(depth=3, width=width), 8, time, 1.0, 100)

    trained = [cell(width) for width in (8, 16, 24, 32, 48, 64, 96, 128)]
    untrained = [cell(256, "initialization"), cell(512, "initialization")]
    demands = {one: Demand({}, 4) for one in [*reversed(trained), *reversed(untrained)]}
    order = in_turn(demands, 16, 8)
    assert order[:2] == untrained
    assert [one.net.width for one in order[2:]] == [8, 16, 24, 128, 32, 48, 64, 96]
    demands[trained[4]] = Demand({}, 4000)  # long is what has many networks, too
    assert [one.net.width for one in in_turn(demands, 16, 8)[2:]] == [8, 16, 24, 48, 32, 64, 96, 128]
    assert in_turn({}, 16, 8) == []


def test_first_networks_run_in_the_programs_of_the_others() -> None:
    claim = Claim(
        "own/loss", "", AtMost(lambda exact_law: exact_law), "perturbation_stability",
        {"initialization": ("he",), "depth": (2,), "width": (8, 16, 32)}, Reading("equal loss", 0.5), draws=3,
    )  # fmt: skip
    study = study_of(claim, Known.of(datasets.load("digits"), 8))
    asked: list[dict[Cell, Demand]] = []
    networks: Any = SimpleNamespace(records={}, extend=lambda demands, progress: asked.append(demands))
    assert not out_of_reach([study], {claim.id: 16}, networks, lambda *_: None)
    (ends, rest) = asked
    assert [cell.net.width for cell in ends] == [8, 32]
    assert {(one.networks, one.room) for one in ends.values()} == {(4, 48)}
    assert not rest
