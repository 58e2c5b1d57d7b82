"""`compare`: finite ensembles against infinite width. The full acceptance runs are marked slow."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import ntkrobust as ntr
from ntkrobust.cli import run
from ntkrobust.errors import InputError
from ntkrobust.studies import width_samples
from ntkrobust.studies.width_predictions import Prediction, predict
from ntkrobust.studies.width_samples import Sample, draw_sample
from ntkrobust.workflows import compare as comparison
from ntkrobust.workflows.compare import compare

DIGITS = ntr.data.load("digits")
ERF = ntr.MLP(2, activation="erf", parameterization="ntk")
RELU = ntr.MLP(2, activation="relu", parameterization="ntk")


def at_step(found: ntr.Comparison, step: int) -> dict[str, Any]:
    return next(one for one in found.document["values"]["times"] if one["step"] == step)


def cell(one: dict[str, Any], width: int) -> dict[str, Any]:
    return next(cell for cell in one["cells"] if cell["width"] == width)


def half_width(estimate: dict[str, Any]) -> float:
    return (estimate["interval"][1] - estimate["interval"][0]) / 2


def check_erf(found: ntr.Comparison, step: int) -> None:
    """The gap is seen at m = 256 and falls like 1/m: by the fitted curve, and at the two largest widths without one."""
    one = at_step(found, step)
    assert found.document["values"]["predictions"][0]["condition_number"] < 1e3
    at_256 = cell(one, 256)
    assert at_256["gap"] > 5 * at_256["gap_se"]
    fit = one["fits"][0]
    assert fit["exponents"] == [1.0, 2.0]
    assert fit["p_value"] > 0.01
    assert -1.25 < fit["local_slope"]["value"] < -0.75
    assert half_width(fit["local_slope"]) <= 0.2
    assert one["label"] == "closes"


def check_relu(found: ntr.Comparison) -> None:
    """At every time the gap shrinks or is within 3 standard errors of zero."""
    for one in found.document["values"]["times"]:
        first, last = one["cells"][0], one["cells"][-1]
        smaller = abs(last["gap"]) < abs(first["gap"]) - 2 * np.hypot(first["gap_se"], last["gap_se"])
        assert smaller or abs(last["gap"]) <= 3 * last["gap_se"]
        assert one["label"] in ("closes", "no gap seen")


SMALL: dict[str, Any] = {"n": 8, "widths": (64, 128, 256, 512, 1024), "steps": (0, 300), "seeds": 64}


@pytest.fixture(scope="module")
def erf() -> Iterator[ntr.Comparison]:
    """Afterwards its networks stand in for those of any comparison of the same size: they don't know the target."""
    samples: dict[tuple, Sample] = {}

    def draw_once(net: ntr.MLP, data: Any, steps: Any, prediction: Prediction, seeds: range, *rest: Any) -> Any:
        asked = (net, data.name, tuple(steps), prediction.learning_rate, seeds)
        if asked not in samples:
            samples[asked] = draw_sample(net, data, steps, prediction, seeds, *rest)
        return samples[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "draw_sample", draw_once)
        yield compare(ERF, DIGITS, **SMALL)


def test_erf_closes_like_one_over_m(erf: ntr.Comparison) -> None:
    check_erf(erf, 300)
    assert at_step(erf, 0)["label"] == "no gap seen", "for two layers the law at initialization is exact"


def test_the_control_variate_pays(erf: ntr.Comparison) -> None:
    for step, gain in ((0, 5.0), (300, 1.2)):
        for one in at_step(erf, step)["cells"]:
            assert one["plain_gap_se"] > gain * one["gap_se"]
            spread = np.hypot(one["plain_gap_se"], one["gap_se"])
            assert abs(one["plain_gap"] - one["gap"]) < 4 * spread, "it must not move the mean"


def test_relu_shrinks_at_every_time() -> None:
    check_relu(compare(RELU, DIGITS, n=8, widths=(64, 128, 256, 512, 1024), steps=(0, 4, 15, 100), seeds=48))


def test_a_prediction_factorizes_the_kernel_of_its_targets_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ntkrobust.kernels.ensemble as ensemble

    factorized, data = [], DIGITS.subset(8, 4)
    eigh = ensemble.eigh
    monkeypatch.setattr(ensemble, "eigh", lambda theta: factorized.append(theta.shape) or eigh(theta))
    predict(dataclasses.replace(ERF, width=64), data, (0, 5), 1.0)
    assert factorized == 2 * [(8, 8)], "the other one is that of unit residuals, whose network has n outputs"


def with_factor(factor: float) -> Any:
    return lambda *arguments: dataclasses.replace(predict(*arguments), targets=factor * predict(*arguments).targets)


def with_wrong_layers(net: ntr.MLP, data: ntr.data.Dataset, steps: Any, rate: float) -> Prediction:
    """What networks would do whose first layer is not trained."""
    right = predict(net, data, steps, rate)
    eta = right.learning_rate
    wrong = ntr.InfiniteEnsemble(net, data.x_train, data.y_train, learning_rate=eta, frozen=(1,))
    targets = [wrong.at(eta * step).gradient_second_moment(data.x_test).mean() for step in steps]
    return dataclasses.replace(right, targets=np.array(targets))


@pytest.mark.parametrize(
    ("wrong", "steps"),
    [(with_factor(1.03), (0, 300)), (with_factor(0.97), (0, 300)), (with_wrong_layers, (300,))],
    ids=["3 % above", "3 % below", "first layer frozen"],
)
def test_a_wrong_target_is_noticed(
    wrong: Any, steps: tuple[int, ...], erf: ntr.Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "predict", wrong)
    found = compare(ERF, DIGITS, **SMALL)
    for step in steps:
        assert at_step(found, step)["label"] == "stays"
        with pytest.raises(AssertionError):
            check_erf(found, step)


def test_a_wrong_propagator_costs_precision_but_moves_nothing() -> None:
    net = dataclasses.replace(ERF, width=256)
    data = DIGITS.subset(12, 32)
    right = predict(net, data, (27,), 1.0)
    wrong = dataclasses.replace(right, propagators=1.5 * right.propagators)
    clocks = dict.fromkeys(("networks", "control_variate"), 0.0)
    gaps = [
        draw_sample(net, data, (27,), one, range(48), jax.random.key(0), clocks).gaps(one.targets)[0][0]
        for one in (right, wrong)
    ]
    assert gaps[1].se > 1.2 * gaps[0].se
    assert abs(gaps[1].value - gaps[0].value) < 4 * gaps[1].se


def test_more_seeds_never_change_earlier_ones() -> None:
    net, data = dataclasses.replace(RELU, width=64), DIGITS.subset(8, 4)
    prediction = predict(net, data, (0, 5), 1.0)
    clocks = dict.fromkeys(("networks", "control_variate"), 0.0)
    few, many = (
        draw_sample(net, data, (0, 5), prediction, range(count), jax.random.key(3), clocks) for count in (12, 14)
    )
    np.testing.assert_allclose(few.squares, many.squares[:12], rtol=1e-5)
    np.testing.assert_allclose(few.excess, many.excess[:12], rtol=1e-4, atol=1e-5)


def invented(spread: float, diverging: int = 0) -> Any:
    """In the place of training: networks with a gap of 20/m and this relative spread."""

    def draw(net: ntr.MLP, data: Any, steps: Any, prediction: Prediction, seeds: range, *rest: Any) -> Sample:
        noise = np.random.default_rng([net.finite_width, seeds.start]).normal(size=(len(seeds), len(steps)))
        squares = prediction.targets * (1 + 20 / net.finite_width + spread * noise)
        return Sample(squares, np.zeros_like(squares), np.full(len(seeds), net.width == diverging))

    return draw


def test_as_many_networks_as_the_half_width_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "draw_sample", invented(0.1))
    asked: dict[str, Any] = {"n": 4, "points": 2, "widths": (32, 64, 128), "steps": (30,), "seeds": 64}
    plain = compare(ERF, DIGITS, **asked)
    found = compare(ERF, DIGITS, **asked, half_width=0.05, max_seeds=4096)
    networks = [one["networks"] for one in at_step(found, 30)["cells"]]
    assert networks[0] == 64
    assert networks[1] > 64
    assert half_width(at_step(plain, 30)["two_point_slope"]) > 0.1
    assert half_width(at_step(found, 30)["two_point_slope"]) == pytest.approx(0.05, rel=0.3)
    capped = compare(ERF, DIGITS, **asked, half_width=0.001, max_seeds=80)
    assert [one["networks"] for one in at_step(capped, 30)["cells"]] == [64, 80, 80]


def test_standard_parameterization_has_a_target_of_its_own_at_each_width() -> None:
    net = ntr.MLP(2, activation="erf")
    found = compare(net, DIGITS, n=8, points=8, widths=(64, 256, 1024), steps=(0, 10), seeds=32)
    theory = [one["theory"] for one in at_step(found, 10)["cells"]]
    assert len(set(theory)) == 3
    for one in at_step(found, 10)["cells"][:1]:
        data = DIGITS.subset(8, 8)
        eta = next(p for p in found.document["values"]["predictions"] if p["width"] == one["width"])["learning_rate"]
        at_width = dataclasses.replace(net, width=one["width"])
        ensemble = ntr.InfiniteEnsemble(at_width, data.x_train, data.y_train, learning_rate=eta)
        assert one["theory"] == pytest.approx(
            ensemble.at(10 * eta).gradient_second_moment(data.x_test).mean(), rel=1e-9
        )
    assert at_step(found, 0)["label"] == "no gap seen"


def test_several_outputs_and_deeper_networks() -> None:
    data = ntr.data.load("digits-classes")
    net = ntr.MLP(3, d_out=10, activation="erf", parameterization="ntk", bias_std=0.3)
    found = compare(net, data, n=4, points=2, widths=(64, 128, 256), steps=(5,), seeds=16)
    gaps = [abs(one["gap"]) for one in at_step(found, 5)["cells"]]
    assert gaps[-1] < gaps[0]


def test_a_diverging_ensemble_is_labelled_and_not_averaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(comparison, "draw_sample", invented(0.01, diverging=16))
    found = compare(RELU, DIGITS, n=4, points=2, widths=(16, 32, 64, 128), steps=(20,), seeds=16, out=tmp_path)
    one = at_step(found, 20)
    assert [cell["diverged"] for cell in one["cells"]] == [16, 0, 0, 0]
    assert one["cells"][0]["gap"] is None
    assert one["cells"][1]["gap"] == pytest.approx(20 / 32, abs=0.02)
    assert one["fits"]
    assert all(16 not in fit["widths"] for fit in one["fits"])
    json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))


def test_command_leaves_json_and_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    asked = [
        "compare",
        "--activation",
        "erf",
        "--n",
        "8",
        "--points",
        "4",
        "--widths",
        "16",
        "32",
        "64",
        "--steps",
        "0",
        "10",
        "--seeds",
        "16",
    ]
    assert run([*asked, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "gap ± s.e." in printed.out
    assert "theory took" in printed.out
    assert printed.err == ""
    stored = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert set(stored) == {"schema_version", "run", "inputs", "values"}
    figure = (tmp_path / "comparison.svg").read_text(encoding="utf-8")
    assert figure.startswith("<svg")
    loaded = ntr.Comparison.load(tmp_path)
    for name, width, columns in (("neurips", 5.5, 2), ("icml", 3.25, 1)):
        with ntr.plots.style(name):
            drawn = loaded.figure()
            FigureCanvasAgg(drawn).draw()
        assert drawn.get_size_inches()[0] == width
        assert drawn.axes[0].get_gridspec().ncols == columns
        texts = [axes.texts[0] for axes in drawn.axes]
        ends = [text.get_window_extent().x1 / drawn.bbox.width for text in texts]
        assert max(ends) <= 1, "a text runs out of the page"
        texts[0].set_text("slope " * 40)
        assert texts[0].get_window_extent().x1 > drawn.bbox.width
    assert run([*asked, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["values"]["times"] == stored["values"]["times"], "the same key gives the same numbers"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--widths 64 128", "widths must be three or more, increasing, got 64, 128"),
        ("--widths 64 32 128", "widths must be three or more, increasing"),
        ("--widths 0 32 128", "every width must be an integer of at least 1, got 0"),
        ("--seeds 3", "seeds must be an integer of at least 12"),
        ("--rate 2", "rate must lie strictly between 0 and 2"),
        ("--half-width 0", "half_width must be positive"),
        ("--label-scale 0", "label_scale must be positive"),
        ("--steps 5 3", "record_steps must be increasing"),
        ("--steps -3 3", "record_steps must be increasing"),
        ("--n 1", "n must be an integer of at least 2, got 1"),
        ("--n 100000", "n_train must be at most 1438"),
        ("--data nonsense", "unknown data 'nonsense'"),
        ("--depth 1", "depth must be an integer of at least 2"),
        ("--depth 3 --initialization mean_field", "mean_field"),
        ("--out {file}/below", "cannot write to"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(
    arguments: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("bad input must be noticed before any training")

    monkeypatch.setattr(width_samples, "train", no_training)
    file = tmp_path / "a_file"
    file.write_text("text")
    assert run(["compare", *(part.format(file=file) for part in arguments.split())]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert sentence in printed.err


def test_outputs_that_do_not_match_the_data_are_refused() -> None:
    with pytest.raises(InputError, match="d_out=3 and the targets"):
        compare(ntr.MLP(2, d_out=3), DIGITS)


@pytest.mark.slow
def test_acceptance_erf() -> None:
    """`ntkrobust compare --activation erf --n 12 --widths 64 128 256 512 1024 --half-width 0.15`"""
    found = compare(ERF, DIGITS, n=12, widths=(64, 128, 256, 512, 1024), half_width=0.15)
    for step in found.document["inputs"]["steps"][-2:]:
        check_erf(found, step)
        # Without a model too, where the fitted curve can't be what makes it so.
        direct = at_step(found, step)["two_point_slope"]
        assert -1.25 < direct["value"] < -0.75
        assert half_width(direct) <= 0.2
        limit = at_step(found, step)["limit"]
        assert abs(limit["value"]) < 3 * limit["se"]


@pytest.mark.slow
def test_acceptance_relu() -> None:
    """`ntkrobust compare --n 8 --widths 64 128 256 512 1024 2048 4096 --half-width 0.1 --max-seeds 256`"""
    found = compare(RELU, DIGITS, n=8, widths=(64, 128, 256, 512, 1024, 2048, 4096), half_width=0.1, max_seeds=256)
    check_relu(found)
    late = found.document["values"]["times"][-1]
    half = next(fit for fit in late["fits"] if fit["exponents"] == [0.5])
    assert half["widths"][0] <= 1024, "m^{-1/2} describes the late gap from m = 1024 on at the latest"
    assert half["p_value"] > 0.05
    low, high = late["free_slope"]["interval"]
    assert -0.65 < low < high < -0.4
    smooth = next(fit for fit in late["fits"] if fit["exponents"] == [1.0, 2.0])
    assert smooth["p_value"] < 1e-3, "1/m does not"
