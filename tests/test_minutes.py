"""Verdicts in a given time: what networks cost, how many would settle a claim, and what a time is not enough for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.claims import AtMost, Claim, IncreasesIn, Reading
from ntkrobust.bounds.verdicts import LEVEL
from ntkrobust.bounds.verdicts.planning import networks_needed
from ntkrobust.cli import run
from ntkrobust.data import Dataset, load
from ntkrobust.errors import InputError
from ntkrobust.studies import timed
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.pilot import pilot_networks
from ntkrobust.studies.prospects import UNTRAINED, Prospect, prospect_of
from ntkrobust.studies.records import CellRecord, nothing, untrained
from ntkrobust.studies.running import Networks
from ntkrobust.studies.study import study_of
from ntkrobust.studies.timed import Outlook

CHEAP = Claim(
    "own/cheap", "grows", IncreasesIn("width"), "jacobian_frobenius",
    {"initialization": ("lecun",), "depth": (2,), "width": (8, 12, 16)},
    reading=Reading("fixed steps", 2, optimizer="gd"),
)  # fmt: skip
DEAR = Claim(
    "own/dear", "grows", IncreasesIn("width"), "jacobian_frobenius",
    {"initialization": ("he",), "depth": (4,), "width": (512, 1024, 2048)},
    reading=Reading("fixed steps", 3000, optimizer="gd"),
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load("digits")


def _piloted(change: float, cv: float, data: Dataset) -> Prospect:
    """Of a claim that a measure grows with width, after a pilot that shows just this change and this spread."""
    claim = Claim(
        "own/grows", "grows", IncreasesIn("width"), "jacobian_frobenius",
        {"initialization": ("he",), "depth": (2,), "width": (8, 16, 32)},
    )  # fmt: skip
    known = Known.of(data, 8)
    study = study_of(claim, known)
    values = np.exp(cv * np.random.default_rng(0).standard_normal(UNTRAINED))
    records = {
        cell: CellRecord(
            cell, np.arange(UNTRAINED), {"jacobian_frobenius": change**rank * values / values.mean()},
            **untrained(UNTRAINED), seconds=1.0, plan="",
        )
        for rank, (_, cell) in zip((0, 1), (study.cells[0], study.cells[-1]), strict=True)
    }  # fmt: skip
    return prospect_of(study, records, known, LEVEL)


@pytest.mark.parametrize(("change", "cv"), [(1.3, 0.3), (0.8, 0.2)])
def test_networks_foretold_are_those_that_the_tests_need(change: float, cv: float, data: Dataset) -> None:
    foretold = _piloted(change, cv, data)
    # By simulation of the tests, for the change as it is; a pilot looks one standard error on the bright side.
    outcome = "supported" if change > 1 else "refuted"
    effect = change if change > 1 else 1 / change
    bright = math.exp(abs(math.log(change)) + cv * math.sqrt(2 / UNTRAINED))
    needed = [
        networks_needed(IncreasesIn("width"), cv=cv, effect=one, outcome=outcome, cells=3) for one in (bright, effect)
    ]
    assert foretold.seeds is not None
    assert needed[0] is not None
    assert needed[1] is not None
    assert 0.6 * needed[0] < foretold.seeds < 1.5 * needed[1]
    # a spread that is half again as large needs more than twice as many
    more = _piloted(change, 1.5 * cv, data).seeds
    assert more is not None
    assert more > 1.6 * foretold.seeds


def test_what_does_not_change_takes_many_networks_to_be_called_flat(data: Dataset) -> None:
    seeds = _piloted(1.0, 0.3, data).seeds
    # A change below 5 %, each way, at a spread of 0.3: (z_0.95 + z_0.9) 0.3 √2 / log 1.05 squared, about 650.
    assert seeds is None or 400 < seeds < 1500


def test_without_networks_of_its_ends_a_claim_has_no_prospect(data: Dataset) -> None:
    known = Known.of(data, 8)
    study = study_of(CHEAP, known)
    records = {cell: nothing(cell) for _, cell in study.cells}
    found = prospect_of(study, records, known, LEVEL)
    assert found.seeds is None
    assert "no time" in found.in_words


def test_networks_of_a_pilot_never_judge(data: Dataset) -> None:
    key = jax.random.key(0)
    piloting, judging = pilot_networks(data, key, 8), Networks(data, key, 8)
    assert not np.array_equal(*(jax.random.key_data(one._work.key) for one in (piloting, judging)))


def test_what_a_time_is_not_enough_for_is_told_and_not_run(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "LARGEST", 24)  # so that it ends before its time, whatever else this machine does
    told: list[Outlook] = []
    verdicts = ntr.verify([CHEAP, DEAR], data=data, minutes=4, points=8, foretell=told.extend)
    (outlook,) = told
    assert [one.claim.id for one in outlook.within] == ["own/cheap"]
    assert [one.claim.id for one in outlook.beyond] == ["own/dear"]
    cheap, dear = verdicts
    assert cheap.seeds == 24
    assert f"--seeds {cheap.seeds}" in cheap.command or f"seeds={cheap.seeds}" in cheap.command
    assert dear.label == "inconclusive"
    assert dear.seeds == 0
    assert dear.reason.startswith("out of reach of 4 min, and not run: ")
    inputs = verdicts.document["inputs"]
    assert inputs["minutes"] == 4
    assert [one["claim"] for one in inputs["out_of_reach"]] == ["own/dear"]
    # the networks that judged are those that a run with so many seeds trains
    again = ntr.verify(CHEAP, data=data, seeds=cheap.seeds, points=8)
    for one, other in zip(cheap.cells, again.cells, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-4)


class _Clocked:
    """Claims of one cell each, whose networks take ``truth`` seconds on a clock that only they move."""

    def __init__(self, now: list[float], estimate: float, truth: float) -> None:
        self.seeds = {"a": 13, "b": 40}
        self._now, self._estimate, self._truth = now, estimate, truth
        self._drawn = {"a": 0, "b": 0}

    def seconds(self, seeds: Mapping[str, int]) -> float:
        return self._estimate * sum(max(0, seeds[claim] - drawn) for claim, drawn in self._drawn.items())

    def run(self, seeds: Mapping[str, int], progress: object, until: float) -> None:
        added = sum(seeds[claim] - drawn for claim, drawn in self._drawn.items())
        self._now[0] += self._truth * added
        self._drawn, self._estimate = dict(seeds), self._truth  # what it took tells what more will take


@pytest.mark.parametrize("error", [0.3, 1.0, 1.6])
@pytest.mark.parametrize("each", [0.02, 0.5])
def test_a_time_is_spent_and_not_more(error: float, each: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timed.time, "monotonic", lambda: now[0])
    clock = timed.Clock(120.0)
    now[0] = 30.0  # of pilots
    timed._spend([_Clocked(now, each, error * each)], clock, 6.0, lambda *_: None)  # type: ignore[list-item]
    assert 0.9 * 120 < now[0] + 6 < 1.05 * 120
    # All at once, the error of the estimate would be that of the end.
    monkeypatch.setattr(timed, "ROUND", 1.0)
    now[0] = 30.0
    timed._spend([_Clocked(now, each, 1.6 * each)], clock, 6.0, lambda *_: None)  # type: ignore[list-item]
    assert now[0] + 6 > 1.3 * 120


def test_a_command_tells_what_it_leaves_out_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timed, "LARGEST", 16)
    Path("own.toml").write_text(
        'id = "own/law"\nrelation = "at most"\nbound = "1.5 * exact_law"\nmeasure = "perturbation_stability"\n'
        'grid = { initialization = ["he"], depth = 2, width = [8] }\ndraws = 4\n'
    )
    assert run(["verify", "own.toml", "--minutes", "4", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "in 4 min: 1 of 1 claims about networks"
    assert any(line.startswith("own/law") and "supported" in line for line in lines)
    document = json.loads(Path("ntkrobust-results/verdicts.json").read_text())
    assert document["inputs"]["out_of_reach"] == []
    assert "per trained cell, as 4\u00a0min allowed" in Path("ntkrobust-results/report.html").read_text()
    assert run(["verify", "own.toml", "--minutes", "1", "--seeds", "16"]) == 2
    assert "give no seeds" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", [0, -1, math.inf, math.nan, "2"])
def test_a_time_is_a_positive_number(minutes: object, data: Dataset) -> None:
    with pytest.raises(InputError, match="minutes"):
        ntr.verify(CHEAP, data=data, minutes=minutes)  # type: ignore[arg-type]


def test_a_time_is_that_of_this_machine(data: Dataset) -> None:
    with pytest.raises(InputError, match="no client"):
        ntr.verify(CHEAP, data=data, minutes=1.0, client=object())


def test_a_bound_is_judged_within_a_time_too(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "LARGEST", 16)
    bound = Claim(
        "own/bound", "", AtMost(lambda exact_law: 1.5 * exact_law), "perturbation_stability",
        {"initialization": ("he",), "depth": (2,), "width": (8, 16)}, draws=8,
    )  # fmt: skip
    assert ntr.verify(bound, data=data, minutes=4, points=8).label == "supported"
