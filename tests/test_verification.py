"""From claims to verdicts on real networks and real data."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ntkrobust as ntr
from ntkrobust.bounds.formulas.exact_law import exact_law
from ntkrobust.bounds.papers.catalogue import catalogue, select
from ntkrobust.networks.mlp import MLP

OPTIMIZED = True

GRID = {"initialization": ("he", "lecun"), "depth": (2, 4), "width": (32,)}


def stability(net: MLP, d_in: int) -> float:
    return exact_law(net, d_in).perturbation_stability()


def law_claim(factor: float, relation: type = ntr.Equals, **fields: object) -> ntr.Claim:
    return ntr.Claim(
        f"test/law-times-{factor:g}",
        "the exact law, times a constant",
        relation(lambda net, d_in: factor * stability(net, d_in)),
        "perturbation_stability",
        GRID,
        draws=64,
        **fields,
    )


@pytest.mark.fast
def test_the_law_is_supported_and_wrong_constants_are_refuted() -> None:
    true, wrong, too_low = ntr.verify([law_claim(1.0), law_claim(1.15), law_claim(0.85, ntr.AtMost)])
    assert true.label == "supported"
    assert wrong.label == "refuted"
    assert too_low.label == "refuted"
    assert too_low.counterexample is not None
    assert too_low.tightness[1] < 1


def test_a_trend_with_the_wrong_sign_is_refuted() -> None:
    def trend(relation: object) -> ntr.Claim:
        grid = {"initialization": ("lecun",), "depth": (2, 3, 4), "width": (32,)}
        return ntr.Claim(f"test/{relation}".replace(" ", "-"), "", relation, "perturbation_stability", grid, draws=8)

    right, wrong = ntr.verify([trend(ntr.DecreasesIn("depth")), trend(ntr.IncreasesIn("depth"))])
    assert (right.label, wrong.label) == ("supported", "refuted")
    # LeCun halves E‖J‖² per layer: P/ε falls by 2^{-(L-1)/2}, a little more at finite width.
    assert right.effect.low < 0.5 * (1 - 5 / (8 * 32)) ** 2 < right.effect.high


def test_training_makes_networks_less_robust_and_the_grid_runs_over_n() -> None:
    claim = ntr.Claim(
        "test/more-data",
        "after training to one loss, more data leaves larger gradients",
        ntr.IncreasesIn("n"),
        "perturbation_stability",
        {"depth": (2,), "width": (64,), "n": (8, 32, 128)},
        ntr.Reading("equal loss", 0.2),
        theory=stability,
        theory_label="before training",
    )
    found = ntr.verify(claim, seeds=16)
    assert found.label == "supported", found
    assert all(cell.values.mean() > cell.theory for cell in found.cells)


@pytest.mark.parametrize(("time", "value"), [("equal time", 3.0), ("equal scaled time", 3.0)])
def test_times_of_readings_are_met(time: str, value: float) -> None:
    claim = ntr.Claim(
        "test/times",
        "",
        ntr.IncreasesIn("width"),
        "perturbation_stability",
        {"depth": (2,), "width": (8, 16, 32), "n": (16,)},
        ntr.Reading(time, value),
    )
    measured = ntr.verify([claim], seeds=12).evidence["measured"].to_dataset()
    flow = measured.gradient_flow_time
    if time == "equal time":
        # one time for all, up to the rounding of ηk in float64
        np.testing.assert_allclose(flow, flow.values.flat[0], rtol=1e-12)
    else:
        # t = value/λ_max of each network; η = t/k ≤ 1/λ_max says the same of k ≥ value
        assert len(np.unique(flow)) == flow.size
        assert (measured.step >= value).all()


def test_the_counterexample_can_be_reproduced(tmp_path: Path) -> None:
    found = ntr.verify("zhu2022/depth-he/measured@initialization", seeds=2)
    assert found.command == (
        "ntkrobust verify zhu2022/depth-he/measured@initialization --preset quick --data digits --seeds 2"
    )
    from ntkrobust.cli import run

    assert run([*found.command.split()[1:], "--out", str(tmp_path)]) == 0
    (again,) = json.loads((tmp_path / "verdicts.json").read_text())["values"]["verdicts"]
    assert [cell["mean"] for cell in again["cells"]] == [pytest.approx(cell.values.mean()) for cell in found.cells]


def test_out_of_scope_says_which_assumption_fails() -> None:
    claim = ntr.Claim(
        "test/lazy",
        "",
        ntr.IncreasesIn("width"),
        "perturbation_stability",
        {"depth": (2,), "width": (4, 8, 16), "n": (32,)},
        ntr.Reading("equal scaled time", 30.0),
        assumptions=(ntr.Assumption("lazy", lambda lazy_ratio: lazy_ratio < 0.05, ("lazy_ratio",)),),
    )
    found = ntr.verify(claim, seeds=12)
    assert found.label == "out of scope"
    assert "lazy ratio" in found.reason


def test_evidence_opens_in_plain_xarray(tmp_path: Path) -> None:
    verdicts = ntr.verify([law_claim(1.0), law_claim(1.15)], out=tmp_path, seeds=2)
    with xr.open_datatree(tmp_path / "evidence" / "evidence.nc", engine="h5netcdf") as tree:
        assert set(tree.children) == {"measured", "theory", "bounds"}
        assert all(isinstance(value, str | int | float | np.integer) for value in tree.attrs.values())
        measured = tree["measured"].to_dataset()
        cube = measured.perturbation_stability.mean("seed").set_index(cell=["initialization", "depth", "width"])
        ratio = tree["bounds"].reference.sel(claim="test/law-times-1.15") / tree["bounds"].reference.sel(
            claim="test/law-times-1"
        )
        np.testing.assert_allclose(ratio, 1.15, rtol=1e-12)
        he = float(cube.sel(initialization="he", depth=4, width=32))
    (cell,) = [c for c in verdicts[0].cells if c.coordinates == {"initialization": "he", "depth": 4, "width": 32}]
    assert he == pytest.approx(cell.values.mean(), rel=1e-12)
    document = json.loads((tmp_path / "verdicts.json").read_text())
    assert document == json.loads(json.dumps(verdicts.document))
    assert (tmp_path / "report.html").stat().st_size > 10_000


def without_times(document: dict) -> dict:
    # Nor the identity of the run, which no other has.
    return {name: value for name, value in document.items() if name not in ("timing", "run")}


TRAINED = """
import json, sys, ntkrobust as ntr
positive = ntr.AtLeast(lambda: 0.001)
claim = ntr.Claim("test/trained", "", positive, "perturbation_stability",
                  {"depth": (2,), "width": (8, 96), "n": (64,)}, ntr.Reading("equal scaled time", 10.0))
untrained = ntr.Claim("test/untrained", "", positive, "perturbation_stability",
                      {"initialization": ("lecun",), "depth": (2, 4), "width": (8,)}, draws=4)
print(json.dumps(ntr.verify([claim, untrained], seeds=13).document))
"""


def run_with_devices(devices: int) -> dict:
    flags = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, "-c", TRAINED],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"XLA_FLAGS": flags},
    )
    return json.loads(done.stdout)


def test_reruns_are_the_same_and_two_devices_agree() -> None:
    one, again, two = (run_with_devices(devices) for devices in (1, 1, 2))
    assert without_times(one) == without_times(again)
    assert two["environment"]["devices"].startswith("2 ")
    for mine, theirs in zip(one["values"]["verdicts"], two["values"]["verdicts"], strict=True):
        assert mine["label"] == theirs["label"]
        for left, right in zip(mine["cells"], theirs["cells"], strict=True):
            # float32 rounding in another order, over some tens of steps of training
            assert left["mean"] == pytest.approx(right["mean"], rel=1e-4)


def test_more_seeds_leave_earlier_networks_as_they_are() -> None:
    claim = law_claim(1.0)
    few, many = (ntr.verify([claim], seeds=seeds).evidence["measured"].perturbation_stability for seeds in (1, 2))
    np.testing.assert_allclose(few, many[:, : few.sizes["seed"]], rtol=1e-6)


def _as_measured(run: ntr.Verdicts, claim: str) -> list[np.ndarray]:
    """P/ε of the networks of each cell of a claim, as the evidence holds it."""
    (described,) = (one for one in run.document["values"]["verdicts"] if one["claim"] == claim)
    table = run.evidence["measured"].perturbation_stability.to_numpy()
    rows = [table[cell["evidence_cell"]] for cell in described["cells"]]
    return [row[np.isfinite(row)] for row in rows]


def test_looks_add_networks_only_to_what_is_open(tmp_path: Path) -> None:
    def trained(name: str, relation: object) -> ntr.Claim:
        grid = {"initialization": ("he",), "depth": (2,), "width": (8, 16, 64), "n": (32,)}
        reading = ntr.Reading("equal scaled time", 3.0)
        return ntr.Claim(f"test/{name}", "", relation, "perturbation_stability", grid, reading)

    # One is plainly false, the other on its border.
    plain = trained("plain", ntr.AtLeast(lambda exact_law: 3 * exact_law))
    open_one = law_claim(1.0, ntr.AtMost)
    progress: list[tuple[int, int]] = []
    fixed = ntr.verify([plain, open_one], seeds=36, looks=1)

    def note(_: str, done: int, total: int) -> None:
        progress.append((done, total))

    found = ntr.verify(
        [plain, open_one],
        seeds=36,
        looks=3,
        out=tmp_path,
        progress=note,
    )
    assert [one.label for one in found] == [one.label for one in fixed] == ["refuted", "inconclusive"]
    assert [one.seeds for one in found] == [12, 36 * 64]
    # All cells of the first look are counted from its start; a further look adds those of the claim that is open.
    assert progress == [
        *((k, 7) for k in range(8)),
        *((k, 11) for k in range(8, 12)),
        *((k, 15) for k in range(12, 16)),
    ]
    networks = found.document["values"]["networks"]
    assert networks["used"] == {"drawn": 3 * 12 + 4 * 36 * 64, "trained": 3 * 12}
    assert networks["planned"] == {"drawn": 3 * 36 + 4 * 36 * 64, "trained": 3 * 36}
    assert found.document["inputs"]["looks"] == [12, 24, 36]
    # The same networks as without looks, as they were measured.
    for name in ("plain", "law-times-1"):
        few, many = (_as_measured(run, f"test/{name}") for run in (found, fixed))
        for left, right in zip(few, many, strict=True):
            np.testing.assert_allclose(left, right[: len(left)], rtol=1e-4)
    # What is printed draws just those that the verdict rests on.
    assert "seeds=12" in found[0].command
    text = (tmp_path / "report.html").read_text()
    assert "in up to 3 looks" in text
    assert "12, 24, 36 networks per trained cell" in text


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ntr.verify(law_claim(1.0), looks=0), "looks must be an integer of at least 1"),
        (lambda: ntr.verify(["nonsense"]), "unknown claim 'nonsense'"),
        (lambda: ntr.verify([]), "no claims were given"),
        (lambda: ntr.verify(law_claim(1.0), seeds=0), "seeds must be an integer of at least 1"),
        (lambda: ntr.verify(law_claim(1.0), preset="huge"), "unknown preset 'huge'"),
        (
            lambda: ntr.verify([law_claim(1.0), dataclasses.replace(law_claim(1.1), id="test/law-times-1")]),
            "two claims have the id",
        ),
        (lambda: ntr.verify(law_claim(1.0), data="/no/such.npz"), "no such file|/no/such.npz"),
        (lambda: ntr.verify(law_claim(-1.0)), "must be a positive number"),
        (lambda: ntr.verify(law_claim(float("nan"))), "must be a positive number"),
        (
            lambda: ntr.verify(ntr.Claim("a", "", ntr.AtMost(lambda: 1.0), "nonsense", GRID)),
            "claim a: unknown measure 'nonsense'",
        ),
        (
            lambda: ntr.Claim("a", "", ntr.AtMost(lambda height: 1.0), "perturbation_stability", GRID),
            "claim a: its bound asks for 'height'",
        ),
        (
            lambda: ntr.claim("a", ntr.AtMost, grid=GRID)(lambda depth: 1.0),
            "claim a: its statement is a text, got <class",
        ),
        (
            lambda: ntr.Claim("a", "", ntr.AtMost(lambda: 1.0), "perturbation_stability", GRID, draws=0),
            "claim a: draws is an integer of at least 1",
        ),
        (
            lambda: ntr.Claim("a", "", ntr.IncreasesIn("depth"), "perturbation_stability", GRID),
            "at least three increasing values",
        ),
        (
            lambda: ntr.Claim("a", "", ntr.AtMost(lambda: 1.0), "perturbation_stability", {"height": (1,)}),
            "unknown grid axis 'height'",
        ),
        (
            lambda: ntr.verify(
                ntr.Claim("a", "", ntr.AtMost(stability), "perturbation_stability", GRID | {"activation": ("gelu",)})
            ),
            "claim a: .*positively homogeneous|claim a: .*gelu",
        ),
        (
            lambda: ntr.verify(ntr.Claim("a", "", ntr.AtMost(lambda: 1.0), "kernel_change", GRID)),
            "says nothing about untrained networks",
        ),
        (lambda: ntr.Reading("equal loss"), "needs a value"),
        (lambda: ntr.Reading("later"), "the time of a reading"),
    ],
)
def test_bad_input_gets_one_sentence_before_any_work(make: object, sentence: str) -> None:
    with pytest.raises(ntr.InputError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.fast
def test_the_catalogue() -> None:
    for preset in ("quick", "standard", "paper"):
        ids = [claim.id for claim in catalogue(preset)]
        assert len(set(ids)) == len(ids) >= 10
    assert ntr.claims.load("zhu2022/depth-lecun/measured").base_id == "zhu2022/depth-lecun/measured"
    assert len(select(["zhu2022/depth-he/measured"])) == 4
    assert {claim.paper for claim in select(["law", "wu2021"])} == {"law", "wu2021"}
    for claim in catalogue():
        json.dumps(claim.describe())


def test_single_claims_give_one_verdict_and_several_a_table() -> None:
    assert isinstance(ntr.verify(law_claim(1.0)), ntr.Verdict)
    several = ntr.verify([law_claim(1.0)])
    assert isinstance(several, ntr.Verdicts)
    frame = several.to_dataframe()
    assert list(frame.claim) == ["test/law-times-1"]
    assert frame.low[0] < frame.effect[0] < frame.high[0]
