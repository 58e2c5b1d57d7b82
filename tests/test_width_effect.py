"""``width_effect``: what width does to trained networks of any depth, against networks trained here and against c_t."""

import functools
import math

import numpy as np
import pytest
from refusals import refused
from scipy.special import erf

import ntkrobust as ntr
from ntkrobust.workflows import width_effect as module

WIDTH = 32

X = np.random.default_rng(0).standard_normal((5, 3))
Y = np.array([[1.0], [-1.0], [1.0], [1.0]])


def ensemble(depth: int, width: int | None, **more) -> ntr.InfiniteEnsemble:
    net = ntr.MLP(depth=depth, width=width, activation="erf", initialization="lecun", parameterization="ntk")
    return ntr.InfiniteEnsemble(net, X[:4], Y, **more)


@functools.cache
def plain(time: float, networks: int = 5000, steps: int = 30) -> tuple[float, float]:
    """m(E‖∇f_t‖²/G_t − 1) at X[4] of three layers, and its standard error: networks trained in numpy, no control."""
    rng = np.random.default_rng(1)
    m, d = WIDTH, X.shape[1]
    w1, w2, a = (rng.standard_normal((networks, *shape)) for shape in ((m, d), (m, m), (m,)))
    x, root = X / math.sqrt(d), math.sqrt(m)
    slope = lambda z: 2 / math.sqrt(math.pi) * np.exp(-z * z)  # noqa: E731

    def field(w1: np.ndarray, w2: np.ndarray, a: np.ndarray) -> list[np.ndarray]:
        z1 = w1 @ x[:4].T
        h1 = erf(z1)
        z2 = w2 @ h1 / root
        h2 = erf(z2)
        r = np.einsum("bmn,bm->bn", h2, a) / root - Y[:, 0]
        back2 = slope(z2) * a[:, :, None] * r[:, None] / root
        back1 = slope(z1) * (w2.transpose(0, 2, 1) @ back2) / root
        return [-back1 @ x[:4], -back2 @ h1.transpose(0, 2, 1) / root, -np.einsum("bmn,bn->bm", h2, r) / root]

    state, h = [w1, w2, a], time / steps
    for _ in range(steps):  # Heun's method
        k1 = field(*state)
        k2 = field(*(s + h * k for s, k in zip(state, k1, strict=True)))
        state = [s + h / 2 * (p + q) for s, p, q in zip(state, k1, k2, strict=True)]
    w1, w2, a = state
    z1 = w1 @ x[4]
    back = slope(np.einsum("bij,bj->bi", w2, erf(z1)) / root) * a / root
    gradient = np.einsum("bj,bjd->bd", slope(z1) * np.einsum("bij,bi->bj", w2, back) / root, w1) / math.sqrt(d)
    size = ensemble(3, m).at(time).gradient_second_moment(X[4:])[0]
    values = m * (np.sum(gradient**2, axis=1) / size - 1)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(networks))


def gap_in_errors(time: float) -> tuple[float, module.WidthEffect]:
    found = ntr.width_effect(ensemble(3, WIDTH), X[4:], time, trained=160, untrained=3200)
    value, error = plain(time)
    return abs(found.value[0] - value) / math.hypot(found.error[0], error), found


def test_three_layers_do_what_networks_trained_without_controls_do(monkeypatch: pytest.MonkeyPatch) -> None:
    time = 1 / ensemble(3, WIDTH).conditioning.largest
    gap, found = gap_in_errors(time)
    assert gap < 4
    assert found.networks_saved[0] > 10
    right = module._given_features
    monkeypatch.setattr(module, "_given_features", lambda *args: 1.2 * right(*args))
    module._programs.clear_cache()
    fault, _ = gap_in_errors(time)
    module._programs.clear_cache()
    assert fault > 4


@pytest.mark.slow
def test_two_layers_have_the_coefficient_in_closed_form() -> None:
    rng = np.random.default_rng(0)
    net = ntr.MLP(depth=2, width=64, d_out=2, activation="gelu", initialization="lecun", parameterization="ntk",
                  bias_std=0.3)  # fmt: skip
    both = ntr.InfiniteEnsemble(net, X[:4], rng.standard_normal((4, 2)))
    time = 1 / both.conditioning.largest
    found = ntr.width_effect(both, X[4:], time, trained=640, untrained=10000)
    c = both.at(time).first_order_width(X[4:])
    assert abs(found.value[0] - c[0]) < 4 * found.error[0]
    assert found.error[0] < 0.2


@pytest.mark.parametrize(
    ("width", "time", "more", "message"),
    [
        (None, 0.5, {}, "needs a network with a width"),
        (8, math.inf, {}, "time must be a finite number"),
        (8, 0.5, {"ridge": 0.1}, "without a ridge"),
        (8, 0.5, {"learning_rate": 0.1}, "is for gradient flow"),
        (8, 0.5, {"frozen": [1]}, "all of whose layers are trained"),
    ],
)
def test_what_it_is_not_for_is_refused(width: int | None, time: float, more: dict, message: str) -> None:
    refused(lambda: ntr.width_effect(ensemble(3, width, **more), X[4:], time), message)
