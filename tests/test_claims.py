"""How a theorist states a theorem: functions, files, formulas, and what is said about mistakes."""

import json
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.claims.coordinates import evaluate, evaluate_number
from ntkrobust.bounds.claims.expressions import Expression
from ntkrobust.bounds.claims.toml_file import claims_in_toml
from ntkrobust.bounds.formulas import bubeck2021, huang2021, wu2021, zhu2022
from ntkrobust.bounds.formulas.exact_law import exact_law
from ntkrobust.bounds.papers.catalogue import catalogue, default_claims, select
from ntkrobust.cli import run
from ntkrobust.networks.mlp import MLP

OPTIMIZED = True

GRID = {"initialization": ("he",), "depth": (2, 3), "width": (8,)}
DOCS = (Path(__file__).parents[1] / "docs" / "claims.md").read_text(encoding="utf-8")


def documented(name: str) -> str:
    """The file of this name, as the documentation shows it."""
    (found,) = re.findall(rf"`{re.escape(name)}`:\n\n```\w+\n(.*?)```", DOCS, flags=re.DOTALL)
    return found


def largest_gradient(jacobian: jax.Array) -> jax.Array:
    r"""$\max_x \|J(x)\|_F$"""
    return jnp.max(jnp.linalg.norm(jacobian, axis=(-2, -1)))


# Formulas as text


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.6 ** (depth - 1)", 0.6**3),
        ("-depth + +2 * 3 / 4", -2.5),
        ("sqrt(exp(log(depth)))", 2.0),
        ("max(1, min(depth, 3, width))", 3.0),
        ("2 ** 0.5 * 1e-3", 2**0.5 * 1e-3),
    ],
)
def test_formulas_are_arithmetic(text: str, value: float) -> None:
    formula = Expression(text)
    assert evaluate_number(formula, {"depth": 4, "width": 8}, positive=False) == pytest.approx(value)


@pytest.mark.fast
@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "depth.real", "[1][0]", "(lambda: 1)()", "1 if depth else 2", "depth < 3", "f(1)",
        "sqrt(1, 2)", "max(1)", "'text'", "True", "1j", "sqrt(x=1)", "sqrt(*depth)", "", "(", "depth; depth",
        "x" * 1001, "-" * 999 + "1", "(y := 3)", "~3", "5 // 2", "5 % 2", "f'{depth}'",
    ],
)  # fmt: skip
def test_nothing_else_is_a_formula(text: str) -> None:
    with pytest.raises(ntr.InputError) as caught:
        Expression(text)
    assert "\n" not in str(caught.value)


@pytest.mark.fast
def test_conditions_compare() -> None:
    condition = Expression('width >= 2 * depth and not (1 < depth < 3 or initialization == "he")', condition=True)
    assert condition.names == ("depth", "initialization", "width")
    assert condition(width=8, depth=4, initialization="lecun") is True
    assert condition(width=8, depth=2, initialization="lecun") is False
    for text in ("width", "width + 1", 'width < "he"', "len(initialization) > 1"):
        with pytest.raises(ntr.InputError, match="cannot stand in the condition"):
            Expression(text, condition=True)


@pytest.mark.parametrize("text", ["10 ** 10 ** 10", "log(0)", "sqrt(-depth)", "(-8) ** 0.5", "1 / (depth - 4)"])
def test_formulas_without_a_value_say_so(text: str) -> None:
    with pytest.raises(ntr.InputError, match=r"has no value|must be a finite number"):
        evaluate_number(Expression(text), {"depth": 4}, positive=False)


# Claims as functions and files


def test_a_function_becomes_a_claim() -> None:
    @ntr.claim(id="mine/decay", measure="jacobian_frobenius_sq", grid=GRID, source="a paper")
    def decay(depth: int) -> float:
        r"""$E\\|J\\|^2 \\leq 0.6^{L-1}$"""
        return 0.6 ** (depth - 1)

    assert isinstance(decay, ntr.Claim)
    assert isinstance(decay.relation, ntr.AtMost)
    assert decay.statement.startswith("$E")
    assert decay.relation.bound(3) == 0.6**2

    @ntr.claim(id="mine/law", statement="the law", relation=ntr.Equals, margin=0.2, grid=GRID)
    def law(exact_law: float) -> float:
        return exact_law

    assert law.relation.margin == 0.2
    assert law.measure == "perturbation_stability"


@pytest.mark.fast
def test_a_toml_file_says_all_that_a_claim_can(tmp_path: Path) -> None:
    path = tmp_path / "many.toml"
    path.write_text(documented("many.toml"))
    claims = {claim.base_id.partition("/")[2]: claim for claim in claims_in_toml(path)}
    assert [type(claim.relation).__name__ for claim in claims.values()] == [
        "AtMost", "OrderAtMost", "ScalesAs", "Turns", "Trend",
    ]  # fmt: skip
    lazy = claims["lazy"]
    assert lazy.reading == ntr.Reading("equal scaled time", 4.0)
    assert [one.measures for one in lazy.assumptions] == [("lazy_ratio",), ()]
    for claim in claims.values():
        json.dumps(claim.describe())
    path.write_text(documented("trained_against.toml"))
    (attacked,) = claims_in_toml(path)
    assert attacked.points == 256
    assert attacked.reading.adversary == ntr.Adversary(0.03, objective="trades", steps=5)
    assert attacked.grid["strength"] == (32.0,)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "defines no claims"),
        ("[[claim]]\nid = ", "is not TOML"),
        ("id = 'a'", "claim a: it needs relation, measure, grid"),
        ("{base}bound = '1'\nbond = '2'", "claim a: unknown entry 'bond'"),
        ("{base}", "claim a: the relation 'at most' needs bound"),
        ("{base}bound = '1'\npower = 2", "claim a: the relation 'at most' takes no power"),
        ("{base}bound = 'height'", "claim a: its bound asks for 'height'"),
        ("{base}bound = 'exec(1)'", "cannot stand in the formula"),
        ("{base}bound = [3]", "must be a number, a text"),
        ("{base}bound = '1'\nreading = {{ tim = 'x' }}", "claim a: .*tim"),
        ("{base}bound = '1'\ndraws = 'many'", "claim a: draws must be an integer"),
    ],
)
def test_what_is_wrong_with_a_toml_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    base = "id = 'a'\nrelation = 'at most'\nmeasure = 'output_rms'\ngrid = { depth = 2, width = 8 }\n"
    path = tmp_path / "bad.toml"
    path.write_text(text.format(base=base))
    with pytest.raises(ntr.InputError, match=sentence) as caught:
        claims_in_toml(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("relation", "grid", "sentence"),
    [
        (ntr.ScalesAs("width", 1.0), {"width": (4, 8)}, "an exponent in width needs at least three"),
        (ntr.ScalesAs("activation", 1.0), {}, "an exponent runs along one of"),
        (ntr.RisesThenFalls("width"), {"width": (4, 8, 16, 32)}, "a turning point in width needs at least five"),
        (ntr.FallsThenRises("width"), {"width": (8, 4, 16, 32, 64)}, "five increasing values"),
        (ntr.OrderAtMost(lambda: 1.0), {}, "unspecified constant needs at least three"),
        (ntr.RisesThenFalls("width", at=lambda height: 1.0), {"width": (1, 2, 3, 4, 5)}, "turning point asks for"),
        (ntr.AtLeast(lambda *sizes: 1.0), {}, "must name its arguments one by one"),
        ("at most", {}, "a relation is one of"),
    ],
)
def test_relations_need_enough_of_an_axis(relation: object, grid: dict, sentence: str) -> None:
    with pytest.raises(ntr.InputError, match=f"claim a: .*{sentence}"):
        ntr.Claim("a", "", relation, "perturbation_stability", GRID | grid)


# Mistakes


@pytest.fixture
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a mistake must be noticed before any network is drawn")

    monkeypatch.setattr("ntkrobust.studies.running.Networks._run", refuse)


@pytest.mark.usefixtures("no_networks")
@pytest.mark.parametrize(
    ("bound", "sentence"),
    [
        (lambda: float("nan"), "got nan"),
        (lambda: -1.0, "must be a positive number, got -1.0"),
        (lambda: np.ones(3), r"got an array of shape \(3,\)"),
        (lambda: 1j, "got 1j"),
        (lambda: True, "got True"),
        (lambda: "one", "got 'one'"),
        (lambda: None, "got None"),
        (lambda depth: 1 / (depth - 2), "ZeroDivisionError"),
    ],
)
def test_a_bound_that_is_no_number_is_named_with_its_cell(bound: object, sentence: str) -> None:
    claim = ntr.Claim("mine/bad", "", ntr.AtMost(bound), "perturbation_stability", GRID)
    with pytest.raises(ntr.InputError, match=sentence) as caught:
        ntr.verify(claim)
    assert str(caught.value).startswith("claim mine/bad: its bound at initialization=he, depth=2, width=8 ")


def test_a_number_and_a_text_are_formulas() -> None:
    at = {"depth": 3, "width": 8}
    for relation, expected in (
        (ntr.AtMost(4), 4.0),
        (ntr.AtLeast(np.float32(0.5)), 0.5),
        (ntr.Equals(0.1), 0.1),
        (ntr.OrderAtMost("depth / width"), 0.375),
        (ntr.RisesThenFalls("width", at=8), 8.0),
    ):
        claim = ntr.Claim("mine/plain", "", relation, "perturbation_stability", GRID | {"width": (2, 4, 8, 16, 32)})
        assert evaluate(claim.formula, at) == expected
    assert ntr.AtMost(0.1) == ntr.AtMost(0.1) != ntr.AtMost(0.2)
    for wrong, sentence in (
        (True, "must be a number, a text .* or a function of named coordinates"),
        (None, "must be a number"),
        (float("nan"), "must be a finite number"),
        ("2 +", "is not a formula"),
    ):
        with pytest.raises(ntr.InputError, match=sentence):
            ntr.AtMost(wrong)


@pytest.mark.usefixtures("no_networks")
@pytest.mark.parametrize(
    ("measure", "sentence"),
    [
        (lambda outputs: outputs, r"one per test point \(shape \(64,\)\), got shape \(64, 1\)"),
        (lambda outputs: jnp.sum(outputs) + 1j, "must give real numbers"),
        (lambda outputs: float(outputs[0, 0]), "fails: ConcretizationTypeError"),
        (lambda outputs: "one", "fails: TypeError"),
        (lambda logits: logits, "asks for 'logits'"),
        (lambda y: jnp.mean(y), "says nothing about untrained networks"),
        (lambda epsilon, outputs: epsilon * outputs[0, 0], "needs a radius"),
        ("nonsense", "unknown measure 'nonsense'"),
        (3, "a measure is a name, a function or a Measure"),
    ],
)
def test_a_measure_that_is_no_number_is_named_with_its_cell(measure: object, sentence: str) -> None:
    claim = ntr.Claim("mine/bad", "", ntr.AtMost(lambda: 1.0), measure, GRID)
    with pytest.raises(ntr.InputError, match=sentence) as caught:
        ntr.verify(claim)
    assert str(caught.value).startswith("claim mine/bad: ")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_networks")
def test_different_measures_of_one_name_are_refused() -> None:
    def double(jacobian: jax.Array) -> jax.Array:
        return 2 * largest_gradient(jacobian)

    double.__name__ = "largest_gradient"
    claims = [
        ntr.Claim(name, "", ntr.AtMost(lambda: 1.0), measure, GRID)
        for name, measure in (("a", largest_gradient), ("b", double))
    ]
    with pytest.raises(ntr.InputError, match="rename one of them"):
        ntr.verify(claims)


def test_no_networks_are_drawn_where_coordinates_put_a_cell_out_of_scope(tmp_path: Path) -> None:
    never = ntr.Assumption("wide: m ≥ 10⁶", lambda width: width >= 1e6)
    claim = ntr.Claim(
        "mine/wide",
        "",
        ntr.AtMost(lambda: 1.0),
        "train_loss",
        GRID,
        ntr.Reading("equal loss", 0.1),
        assumptions=(never,),
    )
    found = ntr.verify([claim], out=tmp_path)
    assert found[0].label == "out of scope"
    assert "wide: m ≥ 10⁶" in found[0].reason
    assert found.document["values"]["networks"]["used"]["drawn"] == 0
    assert "out of scope" in (tmp_path / "report.html").read_text(encoding="utf-8")


# Measures and predictions


def test_own_measures_agree_with_ours() -> None:
    def through_apply(apply: object, parameters: object, x: jax.Array) -> jax.Array:
        gradient = jax.vmap(jax.jacrev(lambda one: apply(parameters, one[None])[0]))
        return jnp.sum(gradient(x) ** 2, axis=(-2, -1))

    own = ntr.Claim("mine/own", "", ntr.Equals(lambda exact_law: exact_law), "jacobian_frobenius_sq", GRID, draws=2)
    ours = ntr.Claim("mine/ours", "", ntr.AtMost(lambda: 1e9), through_apply, GRID, draws=2)
    measured = ntr.verify([own, ours], seeds=12).evidence["measured"]
    np.testing.assert_allclose(measured["through_apply"], measured["jacobian_frobenius_sq"], rtol=1e-5)


def test_predictions_are_coordinates() -> None:
    seen = {}

    def keep(exact_law: float, infinite_width: float, beta_first: float, d_in: int, time: float, net: MLP) -> float:
        seen[net.depth] = (exact_law, infinite_width, beta_first, d_in, time)
        return exact_law

    claim = ntr.Claim("mine/keep", "", ntr.AtMost(keep), "perturbation_stability", GRID | {"width": (4096,)})
    ntr.verify(claim, seeds=2)
    law, limit, beta_first, d_in, time = seen[3]
    assert law == exact_law(MLP(3, 4096, initialization="he"), 64).perturbation_stability()
    assert limit == pytest.approx(law, rel=1e-3)
    assert (beta_first, d_in, time) == (pytest.approx((2 / 64) ** 0.5), 64, 0.0)
    for measure, name in (("output_rms", "exact_law"), ("output_rms", "infinite_width")):
        claim = ntr.Claim("mine/none", "", ntr.AtMost(Expression(name)), measure, GRID)
        with pytest.raises(ntr.InputError, match=r"^claim mine/none: its bound at .* has no value: .* output_rms$"):
            ntr.verify(claim)


# What it is for


def test_an_own_claim_with_its_own_measure_gets_a_verdict_a_section_and_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    text = documented("my_claims.py")
    assert text.count("\n") < 15
    path = tmp_path / "my_claims.py"
    path.write_text(text)
    assert run(["verify", str(path), "--out", str(tmp_path / "out")]) == 0
    assert re.search(r"mine/largest-gradient +supported", capsys.readouterr().out)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    (section,) = re.findall(r'<article[^>]*id="claim:mine/largest-gradient">.*?</article>', page, flags=re.DOTALL)
    assert "<figure><svg" in section
    assert 'class="math"' in section, "its LaTeX is drawn"


def test_nine_tenths_of_the_law_are_caught_and_the_printed_command_reproduces_it(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_claims.toml").write_text(documented("my_claims.toml"))
    assert run(["verify", "my_claims.toml", "--seeds", "12", "--key", "3", "--points", "32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("counterexample to mine/law-times-0.9"))
    command = shlex.split(lines[at + 1])
    assert command[:3] == ["ntkrobust", "verify", "my_claims.toml"]
    assert run(command[1:]) == 0
    again = capsys.readouterr().out.splitlines()
    assert lines[at] in again
    assert re.search(r"mine/law-times-0.9 +refuted", "\n".join(again))


def test_verdicts_show_themselves_in_notebooks() -> None:
    claim = ntr.Claim("mine/$x$", "said of $x^2$", ntr.AtMost(lambda: 9.0), largest_gradient, GRID)
    both = ntr.verify([claim, "zhu2022/depth-lecun/bound"], seeds=12)
    for html in (both[0]._repr_html_(), both._repr_html_()):
        assert "<table" in html
        assert "<svg" in html
        assert "supported" in html
        assert "http" not in html.replace("http://www.w3.org", "")


# The catalogue


def test_what_is_recollected_is_asked_for_by_name_and_never_refuted() -> None:
    assert {claim.provenance for claim in default_claims()} <= {"abstract", "derived here", "paper text seen"}
    assert {claim.paper for claim in default_claims()} >= {"law", "limit", "zhu2022", "wu2021", "bubeck2021"}
    assert {claim.id for claim in default_claims()} < {claim.id for claim in catalogue()}
    recollected = [claim for claim in catalogue() if claim.provenance == "recollection"]
    assert all("/bound" in claim.id for claim in recollected)
    assert len(select(["zhu2022"], everything=True)) > len(select(["zhu2022"]))
    wrong = ntr.Claim(
        "mine/wrong",
        "",
        ntr.IncreasesIn("depth"),
        ntr.claims.load("zhu2022/depth-lecun/bound").measure,
        {"depth": (2, 3, 4), "width": (16384,)},
        provenance="recollection",
    )
    found = ntr.verify(wrong)
    assert found.label == "inconclusive"
    assert found.reason.startswith("recollected form contradicted: ")


@pytest.mark.fast
def test_bounds_of_papers_are_examined_by_arithmetic() -> None:
    names = [claim.id for claim in catalogue() if claim.is_timeless]
    found = ntr.verify([*names, "bubeck2021"])
    assert {verdict.label for verdict in found[:-1]} == {"supported"}
    assert found[-1].label == "out of scope"
    assert found.document["values"]["networks"]["used"]["drawn"] == 0


def test_recollected_forms() -> None:
    # With β₁ of order one the general form is that of the named initializations, up to 1/√2 per layer for LeCun.
    for name, form in (("lecun", zhu2022.lecun), ("he", zhu2022.he)):
        beta = MLP(5, 300, initialization=name).scales(1)._replace(beta_first=1.0)
        general = zhu2022.general(5, 300, beta.beta_first, beta.beta, beta.beta_last)
        gain = {"lecun": 1.0, "he": 2**0.5}[name]
        assert general == pytest.approx(gain * form(5, 300))
    assert zhu2022.ntk(2, 10**6) == pytest.approx(1.0)
    widths = np.arange(1, 400)
    turn = widths[np.argmax([zhu2022.he(6, int(m)) for m in widths])]
    assert turn == pytest.approx(zhu2022.turning_width(6), rel=0.02)
    assert wu2021.lipschitz(2, 1) == pytest.approx(2**0.5)
    assert huang2021.amplification(3, 4) == 8.0


def test_the_universal_law_needs_more_samples_than_there_are() -> None:
    assert bubeck2021.smallest_n(1.0) == pytest.approx(20788, abs=1)
    lower = bubeck2021.lipschitz_lower(0.5, 10**6, 784, 10**5, log_wj=30.0)
    # more parameters allow smoother functions, more samples don't
    assert bubeck2021.lipschitz_lower(0.5, 10**6, 784, 10**6, 30.0) < lower
    assert bubeck2021.lipschitz_lower(0.5, 10**7, 784, 10**5, 30.0) == pytest.approx(10**0.5 * lower)
    assert bubeck2021.lipschitz_in_parameters(1.0, 1.0, 10, 100, 2) == 10**6
    assert bubeck2021.lipschitz_in_parameters(1.0, 1.0, 10**4, 10**8, 100) == float("inf")
