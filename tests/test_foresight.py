"""What a number of networks will show, told before they are trained."""

import math
import re
from typing import Any

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.verdicts import planning
from ntkrobust.cli import run

GRID = {"initialization": ("he",), "depth": (2, 4, 8), "width": (32, 64)}
WIDTHS = {"depth": (2,), "width": (8, 16, 32, 64, 128)}


def about(relation: Any, name: str = "a", **fields: Any) -> ntr.Claim:
    return ntr.Claim(f"test/{name}", "", relation, "perturbation_stability", fields.pop("grid", GRID), **fields)


def test_the_spread_is_that_of_the_exact_law() -> None:
    # At one point: averages over several differ less from network to network.
    (found,) = ntr.power(about(ntr.Equals(lambda exact_law: exact_law), draws=64), seeds=16, points=1)
    assert found.networks == 16 * 64
    # Deepest and widest, or shallowest and narrowest: the first and the last cell of the grid.
    spreads = []
    for depth, width in ((2, 32), (8, 64)):
        law = ntr.exact_law(ntr.MLP(depth=depth, width=width, initialization="he"), d_in=64)
        spreads.append(math.sqrt(law.gradient_norm_moment(2) / law.gradient_norm_moment(1) ** 2 - 1))
    assert found.cv == pytest.approx(max(spreads), rel=4 / math.sqrt(2 * 12 * 64))


@pytest.mark.parametrize(
    ("relation", "supported", "refuted"),
    [
        (ntr.Equals(lambda: 1.0, margin=0.1), r"equality to within .+% \(asked: 10.0%\)", r"a deviation of [\d.]+%"),
        (ntr.AtMost(lambda: 1.0), r"means ×0\.\d+ the bound", r"a mean ×1\.\d+ the bound"),
        (ntr.AtLeast(lambda: 1.0), r"means ×1\.\d+ the bound", r"a mean ×0\.\d+ the bound"),
        (ntr.OrderAtMost(lambda: 1.0), r"measured/bound ×[01]\.?\d* per .*", r"measured/bound ×1\.\d+ per doubling"),
        (ntr.ScalesAs("depth", -0.5), r"an exponent to within 0\.\d+ \(asked: 0.1\)", r"an exponent 0\.\d+ off"),
        (ntr.IncreasesIn("depth"), r"×1\.\d+ over depth 2 → 8 \(slope \+0\.\d+\)", r"×0\.\d+ .*\(slope -0\.\d+\)"),
        (ntr.RisesThenFalls("width"), r"legs of ×1\.\d+", r"legs of ×1\.\d+, turned the other way"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_every_relation_has_its_words(relation: Any, supported: str, refuted: str) -> None:
    claim = about(relation, grid=WIDTHS if relation == ntr.RisesThenFalls("width") else GRID)
    (few,) = ntr.power(claim, seeds=24, cv=0.1)
    (many,) = ntr.power(claim, seeds=400, cv=0.1)
    assert re.fullmatch(supported, few.supported)
    assert re.fullmatch(refuted, few.refuted)
    assert many.supports < few.supports
    assert many.refutes < few.refutes
    assert few.supported in repr(few)


def test_the_promise_holds_in_all_facets() -> None:
    # Two widths, so a trend in depth has to be seen twice.
    (found,) = ntr.power(about(ntr.IncreasesIn("depth")), seeds=24, cv=0.2)
    real, means = planning.ground_truth(ntr.IncreasesIn("depth"), found.supports, "supported", 3)
    claim = planning.simulated_claim(real, 3, 2)
    sample = planning.simulated_cells(means, planning.lognormal(0.2), (4000, 24), np.random.default_rng(1), 2)
    assert np.mean(planning.p_values(claim, sample, "supported") <= 0.05) > 0.9 - 0.015
    alone = planning.detectable_effect(ntr.IncreasesIn("depth"), cv=0.2, n=24, cells=3)
    assert alone < found.supports, "one facet is easier"


def test_many_networks_show_effects_that_shrink_like_the_root_of_their_number() -> None:
    at = {n: planning.detectable_effect(ntr.AtMost(lambda: 1.0), cv=0.2, n=n) for n in (128, 512)}
    assert math.log(at[128]) / math.log(at[512]) == pytest.approx(2.0)
    assert planning.power(ntr.AtMost(lambda: 1.0), cv=0.2, effect=at[512], n=512) > 0.88


def test_the_command_and_its_mistakes(capsys: pytest.CaptureFixture) -> None:
    assert run(["power", "law/jensen", "zhu2022/depth-he/bound", "--seeds", "16", "--cv", "0.3"]) == 0
    printed = capsys.readouterr().out
    assert "law/jensen" in printed
    assert "depth-he/bound" not in printed, "arithmetic needs no networks"
    for arguments, sentence in (
        (["law/jensen", "--seeds", "3"], "seeds must be an integer of at least 12"),
        (["law/jensen", "--cv", "-1"], "cv"),
        (["zhu2022/depth-he/bound"], "claims about formulas need no networks"),
        (["nonsense"], "unknown claim 'nonsense'"),
    ):
        assert run(["power", *arguments]) == 2
        assert sentence in capsys.readouterr().err


def test_a_wished_effect_has_its_number_of_networks(capsys: pytest.CaptureFixture) -> None:
    claim = about(ntr.IncreasesIn("depth"), grid={"initialization": ("he",), "depth": (2, 4, 8), "width": (16,)})
    (found,) = ntr.power(claim, cv=0.2, effect=1.3)
    assert found.seeds_needed == planning.networks_needed(ntr.IncreasesIn("depth"), cv=0.2, effect=1.3, cells=3)
    # so many do show it, and half as many don't
    assert found.seeds_needed is not None
    shown, half = (
        planning.power(ntr.IncreasesIn("depth"), cv=0.2, effect=1.3, n=n, cells=3)
        for n in (found.seeds_needed, found.seeds_needed // 2)
    )
    assert half < 0.85 < shown
    assert found.seconds is None, "no network was drawn"
    with pytest.raises(ntr.InputError, match="above 1"):
        ntr.power(claim, cv=0.2, effect=0.9)
    assert run(["power", "zhu2022/width-over/measured@equal-loss", "--effect", "1.2", "--cv", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert "seeds for ×1.2" in printed
    assert "design: interpolation threshold" in printed


def test_a_pilot_tells_how_long_networks_take() -> None:
    claim = about(ntr.AtMost(lambda: 9.0), grid={"initialization": ("he",), "depth": (2,), "width": (8,)}, draws=4)
    (few,) = ntr.power(claim, seeds=12, points=2)
    (many,) = ntr.power(claim, seeds=12_000, points=2)
    assert few.seconds is not None
    assert many.seconds is not None
    assert many.seconds > few.seconds > 0
