"""Regimes and other bounds: the output scale as an axis, phase diagram, bounds that say nothing, bounds from below."""

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.formulas import bubeck2021_two_layers, luo2021
from ntkrobust.bounds.papers.catalogue import catalogue
from ntkrobust.bounds.papers.shared import LAZY, NOT_LAZY, is_lazy
from ntkrobust.bounds.verdicts import CellSample, Verdict, decide
from ntkrobust.finite.measures.lazy import ROUNDING
from ntkrobust.finite.measures.measuring import measure_untrained
from ntkrobust.networks.initializations import as_initialization
from ntkrobust.reports import words
from ntkrobust.studies.cells import cells_of

RNG = np.random.default_rng(0)
DATA = ntr.data.sphere(16, 8, 4, target="sign")
FROZEN = ntr.Initialization(100.0, 1.0, 1e-4)
GRID = {"initialization": ("he",), "depth": (2,), "width": (8,)}


def phase_diagram() -> Any:
    path = Path(__file__).parents[1] / "docs" / "phase_diagram.py"
    spec = importlib.util.spec_from_file_location("phase_diagram", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["phase_diagram"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The axis α


@pytest.mark.parametrize("name", ["he", "lecun", "xavier", "mean_field"])
def test_a_factor_on_alpha_divides_the_output_and_nothing_else(name: str) -> None:
    plain = as_initialization(name)
    scaled = plain.with_alpha_times(4.0)
    before, after = plain.scales(3, 8, 2), scaled.scales(3, 8, 2)
    assert after == before._replace(alpha=4 * before.alpha)
    assert scaled == plain.with_alpha_times(4.0)
    assert scaled != plain.with_alpha_times(3.0)
    assert plain.with_alpha_times(1.0) is plain
    assert scaled.name == name
    assert scaled.known_as is None
    with pytest.raises(ntr.InputError, match="a factor on alpha"):
        plain.with_alpha_times(0.0)


def test_alpha_is_an_axis_of_the_grid() -> None:
    reading = ntr.Reading("equal time", 1.0)
    relation = ntr.IncreasesIn("alpha")
    claim = ntr.Claim("a", "", relation, "lazy_ratio", GRID | {"alpha": (0.5, 1.0, 2.0)}, reading)
    found = list(cells_of(claim, DATA))
    assert [shown["alpha"] for shown, _ in found] == [0.5, 1.0, 2.0]
    assert [cell.net.scales(4).alpha for _, cell in found] == [0.5, 1.0, 2.0]
    # one unit of time for the whole trend: that of its first cell
    assert {cell.unit.net for _, cell in found} == {found[0][1].net}
    bad = ntr.Claim("a", "", ntr.AtMost(lambda: 1.0), "output_rms", GRID | {"alpha": (-1.0,)})
    with pytest.raises(ntr.InputError, match=r"^claim a: at .*alpha=-1.0, a factor on alpha must be positive"):
        list(cells_of(bad, DATA))


# Linearisation


def test_networks_linear_in_their_parameters_have_no_linearisation_error() -> None:
    # With β_L tiny against β_1 the first layer all but stands still, and f is linear in the second: random features.
    errors = {}
    for name, net in {"frozen": ntr.MLP(2, 16, initialization=FROZEN), "he": ntr.MLP(2, 16)}.items():
        run = ntr.train(net, DATA.x_train, DATA.y_train, seeds=8, steps=20)
        errors[name] = ntr.measure(run, DATA.x_test, ["linearisation_error"]).linearisation_error
    assert np.all(errors["frozen"][:, -1] < 1e-4)
    assert np.all(errors["he"][:, -1] > 1e-3)


def test_a_wrong_expansion_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = jax.jvp

    def doubled(*arguments: Any) -> Any:
        value, tangent = real(*arguments)
        return value, 2 * tangent

    net = ntr.MLP(2, 17, initialization=FROZEN)
    run = ntr.train(net, DATA.x_train, DATA.y_train, seeds=2, steps=20)
    monkeypatch.setattr(jax, "jvp", doubled)
    found = ntr.measure(run, DATA.x_test, ["linearisation_error"]).linearisation_error[:, -1]
    np.testing.assert_allclose(found, 1.0, atol=1e-3)


def test_no_change_has_no_linearisation_error() -> None:
    run = ntr.train(ntr.MLP(2, 16), DATA.x_train, DATA.y_train, seeds=8, steps=0)
    assert np.all(ntr.measure(run, DATA.x_test, ["linearisation_error"]).linearisation_error == 0)
    assert np.finfo(np.float32).eps < ROUNDING


def test_one_predicate_draws_the_line() -> None:
    for kappa, change in ((0.01, 0.01), (0.05, 0.01), (0.01, 0.1), (1.0, 1.0)):
        lazy = kappa < 0.05 and change < 0.1
        assert is_lazy(kappa, change) == lazy == LAZY.holds(kappa, change)
        assert NOT_LAZY.holds(kappa, change) != lazy


# Phase diagram


def test_exponents_of_known_initializations() -> None:
    for m in (64, 4096):
        for name, gamma in (("mean_field", 1.0), ("xavier", 1.0)):
            scales = as_initialization(name).scales(1, m, 1)
            found = luo2021.exponents(m, scales.beta_first, scales.beta_last, scales.alpha)
            # Xavier's √(2/(1+m)) twice: 2/(1+m), off m^{−1} by a factor
            assert found[0] == pytest.approx(gamma, abs=1.1 * math.log(2) / math.log(m))
            assert found[1] == pytest.approx(0.0, abs=1e-3)
    assert luo2021.exponents(100, 1.0, 0.1, 10.0) == pytest.approx((1.0, 0.5))
    assert luo2021.regime(1.0, 0.0) == "critical"
    assert luo2021.regime(0.9, 0.0) == luo2021.regime(1.4, 0.5) == "linear"
    assert luo2021.regime(1.1, 0.0) == luo2021.regime(1.6, 0.5) == luo2021.regime(1.1, -3.0) == "condensed"


def test_the_derived_exponent_changes_sign_at_the_known_boundary_and_nowhere_jumps() -> None:
    signs = {"linear": -1, "condensed": 1, "critical": 0}
    for gamma in np.linspace(0.3, 2.5, 45):
        for gamma_prime in np.linspace(-1, 1, 41):
            here = luo2021.moved_exponent(gamma, gamma_prime)
            assert np.sign(np.round(here, 9)) == signs[luo2021.regime(gamma, gamma_prime)]
            for shift in ((1e-4, 0.0), (0.0, 1e-4)):
                assert abs(luo2021.moved_exponent(gamma + shift[0], gamma_prime + shift[1]) - here) < 3e-4


def test_the_measured_phases_and_their_boundary() -> None:
    phase = phase_diagram()
    data = ntr.data.sphere(8, 8, 4, target="sign")
    row = [phase.measured(gamma, 0.0, data, widths=(32, 128), seeds=16) for gamma in (0.5, 1.0, 1.5)]
    assert [one.sign for one in (row[0], row[-1])] == [-1, 1]
    for one in row:
        # ± 0.15 for widths this small, besides chance
        assert abs(one.slope - luo2021.moved_exponent(one.gamma, 0.0)) < 0.15 + 4 * one.se
    assert abs(row[0].slope - luo2021.moved_exponent(1.0, 0.0)) > 0.15 + 4 * row[0].se
    at, se = phase.crossing(row)
    assert 0 < se < 0.1
    assert abs(at - luo2021.boundary_gamma(0.0)) < 0.15 + 4 * se
    assert np.isnan(phase.crossing(row[:1] * 2)[0])


def test_a_crossing_of_straight_lines_is_found_with_its_error() -> None:
    phase = phase_diagram()
    noise = RNG.normal(0, 0.1, 400)
    row = [phase.Measured(gamma, 0.0, gamma - 1.1 + noise) for gamma in (0.5, 1.0, 1.5)]
    at, se = phase.crossing(row)
    # the noise is one number per seed, shared along the row
    assert se == pytest.approx(0.1 / 20, rel=0.1)
    assert abs(at - 1.1) < 4 * se
    assert abs(at - 1.15) > 4 * se


# Bounds that say nothing


def cells(means: list[float], references: list[float]) -> tuple[CellSample, ...]:
    return tuple(
        CellSample({"depth": 2, "width": 2**k}, mean * RNG.lognormal(0, 0.1, 64), reference=reference)
        for k, (mean, reference) in enumerate(zip(means, references, strict=True))
    )


def verdict(relation: Any, means: list[float], references: list[float]) -> Verdict:
    grid = {"depth": (2,), "width": tuple(2**k for k in range(len(means)))}
    return decide([(ntr.Claim("a", "", relation, "output_rms", grid), cells(means, references), "exact")], 10)[0]


AT_MOST, AT_LEAST = ntr.AtMost(lambda: 1.0), ntr.AtLeast(lambda: 1.0)


@pytest.mark.parametrize(
    ("relation", "means", "references", "label", "vacuous"),
    [
        (AT_MOST, [0.5, 0.9], [1.0, 1.0], "supported", False),
        (AT_MOST, [1e-3, 2e-3], [1.0, 1.0], "supported", True),
        (AT_MOST, [1e-3, 0.5], [1.0, 1.0], "supported", False),
        (AT_MOST, [1.5, 1e-3], [1.0, 1.0], "refuted", False),
        (AT_MOST, [1.0, 2.0], [math.inf, math.inf], "supported", True),
        (AT_MOST, [0.5, 2.0], [1.0, math.inf], "supported", False),
        (AT_MOST, [1.5, 2.0], [1.0, math.inf], "refuted", False),
        (AT_LEAST, [2.0, 3.0], [1.0, 1.0], "supported", False),
        (AT_LEAST, [500.0, 200.0], [1.0, 1.0], "supported", True),
        (AT_LEAST, [1.0, 2.0], [0.0, -1.0], "supported", True),
        (AT_LEAST, [0.5, 2.0], [1.0, -1.0], "refuted", False),
        (ntr.Equals(lambda: 1.0), [1.0, 1.0], [1.0, 1.0], "supported", None),
    ],
)
def test_a_bound_that_says_nothing_is_called_vacuous(
    relation: Any, means: list[float], references: list[float], label: str, vacuous: bool | None
) -> None:
    found = verdict(relation, means, references)
    assert (found.label, found.vacuous) == (label, vacuous)
    assert (", vacuous." in repr(found)) == bool(vacuous)


def test_vacuous_is_stored_and_shown(tmp_path: Path) -> None:
    claims = [
        ntr.Claim(f"mine/{name}", "", ntr.AtMost(bound), "output_rms", GRID)
        for name, bound in (("infinite", lambda: math.inf), ("far", lambda: 1e6), ("near", lambda: 3.0))
    ]
    found = ntr.verify(claims, data=DATA, seeds=16, out=tmp_path)
    stored = {one["claim"]: one for one in found.document["values"]["verdicts"]}
    assert [stored[claim.id]["vacuous"] for claim in claims] == [True, True, False]
    assert words.label(stored["mine/far"]) == "supported, vacuous"
    assert words.label(stored["mine/near"]) == "supported"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<b>vacuous</b>, it says nothing here") == 2
    # what was stored before there was such a flag can still be shown
    assert words.label({"label": "supported"}) == "supported"
    with pytest.raises(ntr.InputError, match=r"its bound at .* must be a positive number, got inf"):
        ntr.verify(ntr.Claim("mine/no", "", ntr.AtLeast(lambda: math.inf), "output_rms", GRID), data=DATA)


# Lower bounds up to a constant


@pytest.mark.parametrize(
    ("means", "label"),
    [([5.0, 5.0, 5.0, 5.0], "supported"), ([1.0, 2.0, 4.0, 8.0], "supported"), ([2.0, 1.6, 1.3, 1.0], "refuted")],
)
def test_lower_bounds_up_to_a_constant(means: list[float], label: str) -> None:
    found = verdict(ntr.OrderAtLeast(lambda: 1.0), means, [1.0] * 4)
    assert found.label == label
    assert found.vacuous is None
    assert found.constant is not None
    assert found.constant.low < min(means) * np.exp(0.005) < found.constant.high
    mirrored = verdict(ntr.OrderAtMost(lambda: 1.0), [1 / mean for mean in means], [1.0] * 4)
    assert mirrored.label == label


# Other bounds


def test_the_tightness_of_the_product_of_norms_is_one_where_it_is_exact() -> None:
    def spread(measured: Any) -> tuple[float, float]:
        values = measured.norm_product_tightness.to_numpy()
        return values.min(), values.max()

    # One linear neuron per layer: J = w_2 w_1, and so is the product of norms.

    low, high = spread(
        measure_untrained(ntr.MLP(2, 1, activation="linear"), DATA.x_test, ["norm_product_tightness"], seeds=8)
    )
    assert low == pytest.approx(1, abs=2e-3)
    assert high == pytest.approx(1, abs=2e-3)
    low, high = spread(measure_untrained(ntr.MLP(2, 16), DATA.x_test, ["norm_product_tightness"], seeds=8))
    assert low > 0
    assert high < 0.99


def test_two_layer_laws() -> None:
    assert bubeck2021_two_layers.conjectured(400, 100) == 2.0
    assert bubeck2021_two_layers.upper(2.0, 3.0, slope=0.5) == 3.0


def test_the_catalogue_names_them_with_their_provenance() -> None:
    for preset in ("quick", "standard"):
        known = {claim.id: claim for claim in catalogue(preset)}
        assert len(known) == len(catalogue(preset))
        assert known["zhu2022/leaving-lazy/bound@equal-loss"].provenance == "recollection"
        assert known["norms/deep-product/bound@initialization"].relation.bound() == 1.0
