"""The command line as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.formulas.exact_law import exact_law
from ntkrobust.cli import run
from ntkrobust.networks.mlp import MLP

OPTIMIZED = True

CLAIMS = """
import ntkrobust as ntr

small = ntr.Claim(
    "mine/lecun-falls",
    r"$P/\\varepsilon$ falls with depth",
    ntr.DecreasesIn("depth"),
    "perturbation_stability",
    {"initialization": ("lecun",), "depth": (2, 3, 4), "width": (8,)},
    draws=8,
)
"""


@pytest.fixture
def claims_file(tmp_path: Path) -> str:
    path = tmp_path / "my_claims.py"
    path.write_text(CLAIMS)
    return str(path)


def test_verify_leaves_a_report_verdicts_and_evidence(
    claims_file: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "results"
    assert run(["verify", claims_file, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "mine/lecun-falls" in printed.out
    assert "supported" in printed.out
    # Where stderr is no terminal, progress is silent: verdicts are told as they are reached.
    assert printed.err == "ntkrobust: supported: mine/lecun-falls\n"
    assert {path.name for path in out.iterdir()} == {"report.html", "verdicts.json", "evidence", "cells"}
    before = (out / "report.html").read_bytes()
    assert run(["report", str(out)]) == 0
    assert (out / "report.html").read_bytes() == before


@pytest.mark.fast
def test_law_prints_the_closed_form(capsys: pytest.CaptureFixture) -> None:
    asked = ["--depth", "5", "--width", "32", "--d-in", "20"]
    assert run(["law", *asked, "--d-out", "3", "--initialization", "lecun", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"schema_version", "inputs", "values"}
    law = exact_law(MLP(5, 32, d_out=3, initialization="lecun"), 20)
    values = document["values"]
    # E‖Ju‖² = o A² (m/2)^{L−1} with A² = (1/d)(1/m)^{L−1}
    assert values["second_moment"] == pytest.approx(3 / 20 * 0.5**4, rel=1e-12)
    assert values["perturbation_stability"] == law.perturbation_stability()
    assert {"fourth_moment", "abs_moment", "jacobian_frobenius_sq"} <= set(values)
    assert run(["law", *asked]) == 0
    assert "MLP(depth=5, width=32" in capsys.readouterr().out


@pytest.mark.fast
def test_claims_lists_ids(capsys: pytest.CaptureFixture) -> None:
    assert run(["claims", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["values"]["claims"]
    assert len(listed) >= 10
    assert run(["claims"]) == 0
    printed = capsys.readouterr().out
    assert all(claim["claim"] in printed for claim in listed)


def test_doctor_passes_on_this_machine(capsys: pytest.CaptureFixture) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "FAILED" not in out
    assert "0.6.5, imported by" in out


@pytest.mark.fast
def test_doctor_notices_a_wrong_law(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    import ntkrobust.workflows.doctor as doctor

    monkeypatch.setattr(
        doctor, "exact_law", lambda net, d_in: exact_law(MLP(net.depth, net.width, initialization="lecun"), d_in)
    )
    assert run(["doctor"]) == 1
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.fast
def test_doctor_says_why_neural_tangents_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import ntkrobust.workflows.doctor as doctor

    monkeypatch.setattr(doctor, "adapter_state", lambda: {"works": False, "problem": "frozendict can't be imported"})
    assert run(["doctor"]) == 1
    assert capsys.readouterr().out.count("frozendict can't be imported") == 2


def test_infinite_prints_the_closed_form(capsys: pytest.CaptureFixture) -> None:
    arguments = "infinite --depth 2 --activation erf --data gaussian --time 0.5 --points 5"
    assert run([*arguments.split(), "--json"]) == 0
    out = capsys.readouterr()
    assert "GiB at the peak" in out.err
    document = json.loads(out.out)
    assert document["schema_version"] == 1
    assert document["inputs"]["parameterization"] == "ntk"
    values = document["values"]
    data = ntr.data.load("gaussian")
    net = MLP(2, activation="erf", parameterization="ntk")
    now = ntr.InfiniteEnsemble(net, data.x_train, data.y_train).at(0.5)
    for name in ("gradient_mean_sq", "gradient_variance", "gradient_second_moment", "perturbation_stability"):
        expected = getattr(now, name)(data.x_test[:5])
        np.testing.assert_allclose(values["per_point"][name], expected, rtol=1e-9)
        assert values["average"][name] == pytest.approx(expected.mean(), rel=1e-9)
    assert run(arguments.split()) == 0
    out = capsys.readouterr().out
    assert "perturbation_stability" in out
    assert "first_order_width" not in out


def test_infinite_prints_what_width_does_to_first_order(capsys: pytest.CaptureFixture) -> None:
    arguments = "infinite --depth 2 --activation linear --data sphere:d=3,n=3 --time 0.5 --points 2 --order 1"
    assert run([*arguments.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["values"]["per_point"]
    data = ntr.data.load("sphere:d=3,n=3")
    net = MLP(2, activation="linear", parameterization="ntk")
    c = ntr.InfiniteEnsemble(net, data.x_train, data.y_train).at(0.5).first_order_width(data.x_test[:2])
    np.testing.assert_allclose(found["first_order_width"], c, rtol=1e-12)
    assert found["first_order_width_standard_error"] == [0.0, 0.0]
    assert run(arguments.split()) == 0
    assert "c > 0" in capsys.readouterr().out
    assert run([*arguments.replace("linear", "relu").split()]) == 2
    assert "needs a smooth activation" in capsys.readouterr().err


def nan_file(tmp_path: Path) -> str:
    x = np.ones((20, 3))
    x[7, 1] = np.nan
    np.savez(tmp_path / "bad.npz", x_train=x, y_train=np.arange(20.0))
    return str(tmp_path / "bad.npz")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("verify --seeds 0", "seeds must be an integer of at least 1, got 0"),
        ("verify --seeds many", "many"),
        ("verify nonsense", "unknown claim 'nonsense': `ntkrobust claims` lists them"),
        (
            "verify zhu2022/depth-hee/measured",
            "'zhu2022/depth-hee/measured' (did you mean 'zhu2022/depth-he/measured'?)",
        ),
        ("verify no_such_file.py", "no such file: no_such_file.py"),
        ("verify --data missing.npz", "missing.npz"),
        ("verify --data {nan}", "row 7"),
        ("verify --out {file}/below", "cannot write to"),
        ("verify --preset huge", "huge"),
        ("law --depth 1 --width 4 --d-in 3", "depth must be an integer of at least 2"),
        ("law --depth 3 --width 4 --d-in 3 --activation gelu", "gelu"),
        ("law --depth 3 --width 4", "--d-in"),
        ("report {file}", "{file}"),
        ("infinite --depth 3 --time -1", "time must be a number that is not negative"),
        ("infinite --depth 3 --parameterization standard", "needs a width"),
        ("infinite --depth 3 --initialization xavier", "give the network a width"),
        ("infinite --depth 3 --initialization mean_field --width 8", "depth 2 only, got depth 3"),
        ("infinite --depth 3 --activation swish", "unknown activation 'swish'"),
        ("infinite --depth 3 --data {nan}", "row 7"),
        ("infinite --depth 3 --points 0", "points must be an integer of at least 1"),
        ("nonsense", "nonsense"),
        ("claims --no-such-flag", "--no-such-flag"),
    ],
)
def test_bad_input_is_one_sentence_and_status_two(
    arguments: str,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("bad input must be noticed before any training")

    monkeypatch.setattr("ntkrobust.studies.running.Networks._run", no_training)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a_file"
    file.write_text("text")
    filled = {"nan": nan_file(tmp_path), "file": str(file)}
    assert run([part.format(**filled) for part in arguments.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert sentence.format(**filled) in printed.err


@pytest.mark.fast
def test_interrupting_exits_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ntkrobust.workflows.verify.examine", interrupt)
    assert run(["verify", "law/jensen", "--out", str(tmp_path)]) == 130


@pytest.mark.fast
def test_the_command_is_installed() -> None:
    done = subprocess.run([sys.executable, "-m", "ntkrobust", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"
