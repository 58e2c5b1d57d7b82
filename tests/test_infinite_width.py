import json
from pathlib import Path

import numpy as np
import pytest

from ntkrobust.bounds.formulas.exact_law import exact_law
from ntkrobust.bounds.formulas.infinite_width import relu_gradient_covariance, relu_squared_difference
from ntkrobust.errors import InputError
from ntkrobust.networks import MLP

VALUES = {
    entry["id"]: entry for entry in json.loads((Path(__file__).parent / "reference_infinite_width.json").read_text())
}


@pytest.mark.parametrize("name", ["trG_relu_L2", "trG_relu_L5"])
def test_gradient_covariance_meets_the_reference(name: str) -> None:
    entry = VALUES[name]
    given = entry["inputs"]

    def found(variances: list[float]) -> list[float]:
        k, gamma, a = relu_gradient_covariance(given["x2"], given["d"], variances, given["sb2"])
        return [k, gamma, a, 0.0, given["d"] * a]

    np.testing.assert_allclose(found(given["sw2"]), entry["value"], rtol=entry["rtol"], atol=1e-15)
    wrong = [*given["sw2"][:-1], 1.001 * given["sw2"][-1]]
    assert not np.allclose(found(wrong), entry["value"], rtol=entry["rtol"], atol=1e-15)


def test_squared_difference_meets_the_reference() -> None:
    entry = VALUES["fin_eps_he_L5"]
    rng = np.random.default_rng(entry["inputs"]["seed"])
    x = rng.standard_normal(entry["inputs"]["d"])
    moved = x + 0.3 * rng.standard_normal(entry["inputs"]["d"])
    np.testing.assert_allclose(relu_squared_difference(x, moved, [2.0] * 5), entry["value"], rtol=entry["rtol"])
    for wrong in ([2.0] * 4, [2.0] * 4 + [2.001]):
        assert abs(relu_squared_difference(x, moved, wrong) / entry["value"] - 1) > 1e-4


def test_it_is_the_limit_of_the_exact_law_and_of_small_steps() -> None:
    # E‖∇f‖² does not depend on the width: tr G = d·a.
    law = exact_law(MLP(5, 64, initialization="he"), 10).jacobian_frobenius_sq()
    a = relu_gradient_covariance(3.0, 10, [2.0] * 5).scale
    assert 10 * a == pytest.approx(law, rel=1e-12)
    x = np.random.default_rng(0).standard_normal(10)
    step = 1e-4 * np.eye(10)[0]
    # to first order E|f(x + δ) − f(x)|² = a‖δ‖²; the next order is relatively of size ‖δ‖/‖x‖
    assert relu_squared_difference(x, x + step, [2.0] * 5) == pytest.approx(a * 1e-8, rel=1e-3)
    assert relu_squared_difference(x, x, [2.0] * 5) == pytest.approx(0.0, abs=1e-12)


def test_points_of_different_dimension_are_refused() -> None:
    with pytest.raises(InputError, match="two points of one dimension"):
        relu_squared_difference(np.ones(3), np.ones(4), [2.0, 2.0])
