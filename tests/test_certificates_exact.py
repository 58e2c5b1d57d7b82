"""What is exact: gates enumerated against a mixed-integer program, and its column between attacks and certificates."""

import json

import numpy as np
import pytest
import scipy.optimize

import ntkrobust as ntr
from ntkrobust import InputError
from ntkrobust.cli import run as run_command
from ntkrobust.finite.certificates import enumeration
from ntkrobust.workflows import certified
from ntkrobust.workflows.certified import between


@pytest.fixture(scope="module")
def tiny() -> ntr.Run:
    """Trained networks of eight gates, on points of the cube."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, (10, 3)).astype(np.float32)
    y = np.where(x @ [1, -2, 0.5] > -0.2, 1.0, -1.0)[:, None]
    net = ntr.MLP(3, 4, 1, activation="leaky_relu(0.1)", bias_std=0.2)
    return ntr.train(net, x, y, seeds=2, steps=60, bounds=(0, 1))


def by_mixed_integers(run: ntr.Run, seed: int, x: np.ndarray, radius: float, norm: str) -> float:
    """min f over the ball and the cube, a binary variable for each gate (Tjeng et al., arXiv 1711.07356).

    h = max(z, s z) with z in [l, u] is h ≥ z, h ≥ s z, h ≤ s z + (1 − s) u a, h ≤ z − (1 − s) l (1 − a), a ∈ {0, 1}.
    """
    own = type(run.parameters)(*(tuple(one[seed] for one in group) for group in run.parameters))
    layers, s, d = enumeration.layers_of(run.net, own, len(x)), run.net.phi.negative_slope, len(x)
    hidden = sum(len(layer.matrix) for layer in layers[:-1])
    # x', then |x' − x|, then for each unit h and a.
    count = 2 * d + 2 * hidden
    low, high = np.maximum(x - radius, 0), np.minimum(x + radius, 1)
    ends = [np.full(count, -np.inf), np.full(count, np.inf)]
    ends[0][:d], ends[1][:d] = low, high
    rows, least, most = [], [], []

    def add(row: np.ndarray, below: float, above: float) -> None:
        rows.append(row)
        least.append(below)
        most.append(above)

    unit = np.eye(count)
    if norm == "l1":
        for i in range(d):
            add(unit[d + i] - unit[i], -x[i], np.inf)
            add(unit[d + i] + unit[i], x[i], np.inf)
        add(unit[d : 2 * d].sum(axis=0), -np.inf, radius)
    h, at = unit[:d], 2 * d
    for matrix, bias in layers[:-1]:
        z = matrix @ h
        middle, spread = matrix @ (low + high) / 2 + bias, np.abs(matrix) @ (high - low) / 2
        lower, upper = middle - spread, middle + spread
        after = []
        for j in range(len(matrix)):
            value, gate = unit[at], unit[at + 1]
            ends[0][at + 1], ends[1][at + 1] = 0, 1
            add(value - z[j], bias[j], np.inf)
            add(value - s * z[j], s * bias[j], np.inf)
            add(value - s * z[j] - (1 - s) * max(upper[j], 0) * gate, -np.inf, s * bias[j])
            add(value - z[j] - (1 - s) * min(lower[j], 0) * gate, -np.inf, bias[j] - (1 - s) * min(lower[j], 0))
            after.append(value)
            at += 2
        h = np.array(after)
        low, high = (np.where(end >= 0, end, s * end) for end in (lower, upper))
    is_whole = np.zeros(count)
    is_whole[2 * d + 1 :: 2] = 1
    found = scipy.optimize.milp(
        layers[-1].matrix[0] @ h, integrality=is_whole, bounds=scipy.optimize.Bounds(*ends),
        constraints=scipy.optimize.LinearConstraint(np.array(rows), least, most), options={"mip_rel_gap": 0},
    )  # fmt: skip
    assert found.status == 0
    return float(found.fun + layers[-1].bias[0])


@pytest.mark.parametrize("norm", ["linf", pytest.param("l1", marks=pytest.mark.slow)])
def test_enumeration_agrees_with_a_mixed_integer_program(tiny: ntr.Run, norm: str) -> None:
    x, radius = tiny.x_train[:3], 0.25
    exact = ntr.certify(tiny, x, epsilon=radius, norm=norm, method="exact").lower.values[..., 0]
    other = np.array([[by_mixed_integers(tiny, seed, np.float64(one), radius, norm) for one in x] for seed in (0, 1)])
    np.testing.assert_allclose(exact, other, atol=2e-5)
    # Gates change in these balls: linear bounds do not arrive there.
    bounded = ntr.certify(tiny, x, epsilon=radius, norm=norm, evaluation="real").lower.values[..., 0]
    assert (bounded <= other + 2e-5).all()
    assert (other - bounded).max() > 1e-3


def test_a_gate_that_is_forgotten_is_seen(tiny: ntr.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An enumeration that never enters where two gates change misses the least value that the program finds."""
    x, radius = tiny.x_train[:3], 0.25
    solved = enumeration._solved
    monkeypatch.setattr(
        enumeration, "_solved", lambda ball, slope, cuts: None if len(cuts) > 1 else solved(ball, slope, cuts)
    )
    planted = ntr.certify(tiny, x, epsilon=radius, method="exact").lower.values[0, :, 0]
    other = np.array([by_mixed_integers(tiny, 0, np.float64(one), radius, "linf") for one in x])
    assert (planted > other + 1e-4).any()


def test_the_exact_share_lies_between(tiny: ntr.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``certify`` counts it; and an attack or a certificate that crosses it is an error."""
    x, y = tiny.x_train[:5], tiny.y_train[:5]
    found = between(tiny, x, y, epsilon=0.1, exact=True)
    exact = ntr.certify(tiny, x, y, epsilon=0.1, method="exact")
    np.testing.assert_array_equal(found.exact, exact.certified_accuracy)
    np.testing.assert_array_equal(found.exact_stability, exact.certified_stability)
    assert (found.certified <= found.exact).all()
    assert (found.exact <= found.attacked).all()
    assert 0 < found.exact.mean() < 1
    certify = certified.certify

    def more(*given, **keywords):
        """A certificate for a ball of a tenth of the radius."""
        if keywords.get("method") == "exact":
            return certify(*given, **keywords)
        return certify(*given, **keywords | {"epsilon": 0.1 * keywords["epsilon"]})

    monkeypatch.setattr(certified, "certify", more)
    with pytest.raises(InputError, match="what is certified must not be more than what is exact"):
        between(tiny, x, y, epsilon=0.1, exact=True)


def test_command_shows_what_is_exact(tiny: ntr.Run, tmp_path, capsys) -> None:
    tiny.save(tmp_path / "run.npz")
    x, y = tiny.x_train[:5], tiny.y_train[:5]
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = ["certify", "--run", str(tmp_path / "run.npz"), "--data", str(tmp_path / "data.npz"), "--epsilon", "0.1",
             "--exact"]  # fmt: skip
    assert run_command([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["values"]["networks"]
    expected = between(tiny, x, y, epsilon=0.1, exact=True).rows()
    assert rows == expected
    assert run_command(words) == 0
    out = capsys.readouterr().out
    assert "certified ≤ exact ≤ attacked" in out
    assert f"{rows[1]['exact']:.4f}" in out
    assert run_command([*words, "--norm", "l2"]) == 2
    assert "'crown' gives bounds" in capsys.readouterr().err
