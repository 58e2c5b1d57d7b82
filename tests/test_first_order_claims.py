"""The first order in 1/m as theory in claims, and as what decides statements on width without networks."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from refusals import refused
from test_first_order_width import LINE, linear_network

import ntkrobust as ntr
from ntkrobust.bounds.claims.toml_file import claims_in_toml
from ntkrobust.bounds.verdicts import CellSample
from ntkrobust.kernels import first_order, kept_moments, width_order
from ntkrobust.studies.arithmetic import decide_arithmetic


@pytest.fixture(scope="module")
def few():
    """Four points in three dimensions, and two to look at."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((4, 3)), rng.standard_normal((4, 1)), rng.standard_normal((2, 3))


NET = ntr.MLP(depth=2, activation="erf", initialization="lecun", parameterization="ntk")


def test_expectations_over_neurons_are_made_once_for_all_times_and_targets(few, monkeypatch) -> None:
    x, y, others = few
    made = []
    right = width_order.neuron_moments
    monkeypatch.setattr(width_order, "neuron_moments", lambda *args: (made.append(1), right(*args))[1])
    asked = {"neurons": 64}
    first = ntr.InfiniteEnsemble(NET, x, y).at(0.5).first_order_width(others, **asked)
    kept = [
        ntr.InfiniteEnsemble(NET, x, s * y).at(t).first_order_width(others, **asked) for s, t in ((1, 2.0), (3, 0.5))
    ]
    assert len(made) == width_order.SETS
    kept_moments._kept.clear()
    for found, (s, t) in zip(kept, ((1, 2.0), (3, 0.5)), strict=True):
        fresh = ntr.InfiniteEnsemble(NET, x, s * y).at(t).first_order_width(others, **asked)
        assert (found == fresh).all()
        assert np.abs(found / first - 1).min() > 1e-2
    before = len(made)
    ntr.InfiniteEnsemble(NET, x, y).at(0.5).first_order_width(others, **asked, seed=1)
    ntr.InfiniteEnsemble(NET, x + 0.1, y).at(0.5).first_order_width(others, **asked)
    assert len(made) == before + 2 * width_order.SETS


def test_what_is_kept_stays_below_its_bound(few, monkeypatch) -> None:
    x, y, others = few
    monkeypatch.setattr(kept_moments, "KEPT_BYTES", 200_000)
    kept_moments._kept.clear()
    for seed in range(4):
        ntr.InfiniteEnsemble(NET, x, y).at(0.5).first_order_width(others, neurons=64, seed=seed)
        assert sum(map(kept_moments._size, kept_moments._kept.values())) <= 200_000
    assert len(kept_moments._kept) >= 1
    monkeypatch.setattr(kept_moments, "KEPT_BYTES", 100)
    kept_moments._kept.clear()
    ntr.InfiniteEnsemble(NET, x, y).at(0.5).first_order_width(others, neurons=64)
    assert not kept_moments._kept


def test_the_coefficient_by_sets_has_the_mean_and_error_of_the_coefficient(few) -> None:
    x, y, others = few
    now = ntr.InfiniteEnsemble(NET, x, y).at(0.5)
    c, error = now.first_order_width(others, neurons=64, return_error=True)
    sets = now.first_order_width_sets(others, neurons=64)
    assert sets.shape == (width_order.SETS, 2)
    np.testing.assert_allclose(sets.mean(axis=0), c, rtol=1e-12)
    np.testing.assert_allclose(sets.std(axis=0, ddof=1) / np.sqrt(width_order.SETS), error, rtol=1e-12)


# In claims, with linear networks in one dimension: their second moment at any width is a quadrature.

DATA = (*LINE, np.array([[1.0], [-2.0]]), np.array([[1.0], [1.0]]))
RATE = 2 * float(np.sum(LINE[0] ** 2))
"""λ_max of the limit kernel 2xx'."""
NETWORKS = {"activation": ("linear",), "initialization": ("lecun",), "parameterization": ("ntk",), "depth": (2,)}
THEORY = ntr.Quantity("jacobian_frobenius_sq", lambda first_order_width: first_order_width, "G_t(1 + c_t/m)")


def said(relation, time: float, widths: tuple, measure=THEORY, **more) -> ntr.Claim:
    grid = NETWORKS | {"width": widths} | more.pop("grid", {})
    reading = ntr.Reading("equal time", RATE * time)
    return ntr.Claim("mine/width", "", relation, measure, grid, **{"reading": reading, **more})


def decided(claim: ntr.Claim, data=DATA):
    (verdict,) = ntr.verify([claim], data=data)
    return verdict


def residuals(widths: tuple) -> np.ndarray:
    """Prediction − truth at each width, at t = 0.7."""
    cells = decided(said(ntr.DecreasesIn("width"), 0.7, widths)).cells
    return np.array([cell.values.mean() - linear_network(m, 0.7)[1] for m, cell in zip(widths, cells, strict=True)])


def test_the_prediction_is_right_to_the_order_it_says(monkeypatch) -> None:
    widths = (100, 200, 400)
    first, second, third = residuals(widths)
    assert first / second == pytest.approx(4, rel=0.1)
    assert second / third == pytest.approx(4, rel=0.1)
    right = first_order.second_moment
    monkeypatch.setattr(first_order, "second_moment", lambda *args: 1.1 * right(*args))
    planted = residuals(widths)
    assert planted[1] / planted[2] == pytest.approx(2, rel=0.15), "a tenth too much of c leaves an error of order 1/m"


WIDTHS = (16, 64, 256)


@pytest.mark.parametrize("time", [0.2, 2.0])
@pytest.mark.parametrize("says", [ntr.DecreasesIn, ntr.IncreasesIn])
def test_verdicts_on_width_are_those_of_exact_networks(time: float, says, monkeypatch) -> None:
    truth = [linear_network(m, time)[1] for m in WIDTHS]
    assert max(truth) / min(truth) > 1.01
    holds = (truth[-1] > truth[0]) == (says is ntr.IncreasesIn)
    verdict = decided(said(says("width"), time, WIDTHS))
    assert verdict.label == ("supported" if holds else "refuted")
    assert verdict.seeds == verdict.points == 0
    assert verdict.effect.estimate == pytest.approx(truth[-1] / truth[0], rel=0.02)
    right = first_order.second_moment
    monkeypatch.setattr(first_order, "second_moment", lambda *args: -right(*args))
    assert decided(said(says("width"), time, WIDTHS)).label == ("refuted" if holds else "supported"), "a planted sign"


FALLS = 'relation = "decreases in"\naxis = "width"\n'
COMMON = """
measure = "jacobian_frobenius_sq"
reading = { time = "equal time", value = 5.0 }
grid.activation = ["linear"]
grid.initialization = ["lecun"]
grid.parameterization = ["ntk"]
grid.depth = 2
grid.width = [16, 64, 256]
"""


def test_the_documented_statement_on_width_is_one_by_theory_and_by_networks(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "claims.md").read_text(encoding="utf-8")
    (text,) = (block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "quantity" in block)
    path = tmp_path / "width.toml"
    path.write_text(text)
    theory, networks = claims_in_toml(path)
    assert (theory.relation, theory.reading, theory.grid) == (networks.relation, networks.reading, networks.grid)
    assert theory.measure.name == networks.measure
    assert not theory.is_timeless


def test_in_toml_in_bounds_and_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(
        f'[[claim]]\nid = "mine/theory"\nquantity = "first_order_width"\n{FALLS}{COMMON}'
        f'[[claim]]\nid = "mine/networks"\ntheory = "first_order_width"\n{FALLS}{COMMON}'
        f'[[claim]]\nid = "mine/bound"\nrelation = "at most"\nbound = "1.5 * first_order_width"\n{COMMON}'
    )
    theory, networks, bound = ntr.verify(str(path), data=DATA, seeds=24, out=tmp_path / "out")
    assert theory.label == decided(said(ntr.DecreasesIn("width"), 2.0, WIDTHS)).label
    assert [cell.theory for cell in networks.cells] == pytest.approx([cell.values.mean() for cell in theory.cells])
    assert bound.label == "supported"
    assert 1.2 < bound.tightness[0] <= bound.tightness[1] < 1.8
    assert bound.cells[0].reference == pytest.approx(1.5 * linear_network(16, 2.0)[1], rel=0.01)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 'id="claim:mine/theory"' in page
    assert theory.reason.split(" [")[0] in page


def test_in_the_standard_parameterization_it_is_that_of_the_networks_own_width() -> None:
    own = {"parameterization": ("standard",)}
    cells = decided(said(ntr.DecreasesIn("width"), 0.7, WIDTHS, grid=own)).cells
    ensembles = [
        ntr.InfiniteEnsemble(ntr.MLP(2, m, activation="linear", initialization="lecun"), *LINE) for m in WIDTHS
    ]
    time = RATE * 0.7 / ensembles[0].conditioning.largest
    for m, cell, ensemble in zip(WIDTHS, cells, ensembles, strict=True):
        now = ensemble.at(time)
        right = now.gradient_second_moment(DATA[2]) * (1 + now.first_order_width(DATA[2]) / m)
        assert cell.values.mean() == pytest.approx(right.mean(), rel=1e-10)
        first = ensembles[0].at(time)
        other = first.gradient_second_moment(DATA[2]) * (1 + first.first_order_width(DATA[2]) / m)
        assert m == WIDTHS[0] or abs(cell.values.mean() / other.mean() - 1) > 1e-2


def test_what_it_does_not_cover_is_refused_in_a_sentence(monkeypatch) -> None:
    falls = ntr.DecreasesIn("width")

    def asked(**more) -> None:
        more = {"relation": falls, "time": 0.7, "widths": WIDTHS, **more}
        decided(said(**more), more.pop("data", DATA))

    for grid, words in (
        ({"activation": ("relu",)}, "needs a smooth activation, got relu"),
        ({"depth": (3,)}, "is for depth=2, got depth=3"),
    ):
        refused(lambda grid=grid: asked(grid=grid), "mine/width: its quantity at ", "the first order in 1/m", words)
    another = ntr.Quantity("perturbation_stability", THEORY.formula)
    refused(lambda: asked(measure=another), "known of jacobian_frobenius_sq, not of perturbation_stability")
    refused(lambda: asked(reading=ntr.Reading("equal scaled time", 1.0)), "no closed form at equal scaled time")
    refused(lambda: asked(reading=ntr.Reading("equal loss", 0.5)), "no closed form at equal loss")
    refused(lambda: asked(relation=ntr.RisesThenFalls("width"), widths=(8, 16, 32, 64, 128)), "has an error")
    monkeypatch.setattr(width_order, "available_bytes", lambda: 2**10)
    refused(lambda: asked(), "GiB", "memory grows like n⁴")


def test_widths_that_are_small_against_the_coefficient_are_out_of_scope() -> None:
    large = (LINE[0], 20 * LINE[1], *DATA[2:])
    verdict = decided(said(ntr.DecreasesIn("width"), 0.7, WIDTHS), large)
    assert verdict.label == "out of scope"
    assert "at width 16, where the first order in 1/m is no approximation: take widths of at least" in verdict.reason


# The error


def judged(values: np.ndarray) -> str:
    """The label of a trend whose cells have values (cells, sets)."""
    widths = (64, 128, 256)
    cells = tuple(CellSample({"width": m}, sets) for m, sets in zip(widths, values, strict=True))
    return decide_arithmetic(said(ntr.DecreasesIn("width"), 1.0, widths), cells).label


def test_the_sign_is_said_where_its_error_allows_it_and_not_elsewhere() -> None:
    rng = np.random.default_rng(0)
    widths = np.array([64, 128, 256])

    def labels(c: float, count: int = 300) -> list[str]:
        """Of G(1 + c/m), with c by eight sets whose error is 0.1 each."""
        sets = c + 0.1 * np.sqrt(8) * rng.standard_normal((count, 8))
        return [judged(1 + one / widths[:, None]) for one in sets]

    assert set(labels(1.0, 50)) == {"supported"}
    assert set(labels(-1.0, 50)) == {"refuted"}
    nothing = labels(0.0)
    assert nothing.count("supported") <= 0.05 * 300 + 3 * np.sqrt(0.05 * 0.95 * 300)
    assert nothing.count("refuted") <= 0.05 * 300
    assert nothing.count("inconclusive") > 200


# The picture


@pytest.fixture(scope="module")
def picture():
    path = Path(__file__).parents[1] / "docs" / "width_sign.py"
    spec = importlib.util.spec_from_file_location("width_sign", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_three_sizes_of_the_labels_give_all_others() -> None:
    net = ntr.MLP(activation="linear", **{name: NETWORKS[name][0] for name in ("depth", "initialization")})

    def of_size(s: float) -> tuple[float, float]:
        now = ntr.InfiniteEnsemble(net, LINE[0], s * LINE[1]).at(0.7)
        limit = now.gradient_second_moment([[1.0]])[0]
        return limit, limit * now.first_order_width([[1.0]])[0]

    found = np.array([of_size(s) for s in (0.0, 1.0, 2.0, 3.0)])
    powers = np.vander([0.0, 1.0, 4.0], 3, increasing=True)
    np.testing.assert_allclose([1, 9, 81] @ np.linalg.solve(powers, found[:3]), found[3], rtol=1e-9)
    assert abs(np.linalg.solve(powers, found[:3])[2, 0]) < 1e-12, "G has no fourth power of the labels"


def test_the_picture_is_drawn_again_from_what_is_stored(picture) -> None:
    document = json.loads(picture.STORED.read_text(encoding="utf-8"))
    with picture.drawing():
        drawn = picture.inline_svg(picture.draw(document), "Sign of the first order of width over time and label size")
    assert drawn == picture.FIGURE.read_text(encoding="utf-8")
    times = np.array(document["times"])
    turns = {(one["data"], one["activation"]): picture.turns(one, times, 0.1) for one in document["parts"]}
    assert [round(turns[of][0], 2) for of in (("digits", "erf"), ("MNIST", "gelu"))] == [46.3, 0.47]
    one = document["parts"][0]
    c, error = picture.coefficients(one, np.array([0.1]))
    assert c[0] + 3 * error[0] < 0
    assert c[-1] - 3 * error[-1] > 0
    wrong = {**one, "coefficient": (-np.array(one["coefficient"])).tolist()}
    assert picture.coefficients(wrong, np.array([0.1]))[0][0] > 0
