"""The first order in 1/m with several outputs and with biases: exact linear dynamics, and all indices written out."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_first_order_width import chi_square_rule, planted

import ntkrobust as ntr
from ntkrobust.kernels import first_order, neuron_moments, width_order
from ntkrobust.kernels.time_integrals import time_integrals

X, Y = np.array([[1.0], [0.5]]), np.array([[1.5, 0.4], [-0.3, 0.8]])
"""Two inputs in one dimension, and two targets that no linear network fits."""

POINTS = [[1.0], [-2.0]]

BIAS = 0.6

TIMES = (0.3, 1.0)

NODES = 3
"""Per variable, exact to degree five: at order 1/m functions of β_0 are of degree four, what is small enters twice."""


def wishart_rule(m: int, size: int, extra: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gram matrices (N, size, size) of m normal rows, ``extra`` normals (N, extra), and weights: Bartlett's factors."""
    normal, normal_weights = np.polynomial.hermite_e.hermegauss(NODES)
    below = [(i, j) for i in range(size) for j in range(i)]
    chi = [chi_square_rule(m - i, NODES) for i in range(size)]
    rules = [*chi, *[(normal, normal_weights / normal_weights.sum())] * (len(below) + extra)]
    values = [grid.ravel() for grid in np.meshgrid(*(rule[0] for rule in rules), indexing="ij")]
    weights = functools.reduce(np.multiply.outer, [rule[1] for rule in rules]).ravel()
    factor = np.zeros((len(weights), size, size))
    for i in range(size):
        factor[:, i, i] = np.sqrt(values[i])
    for (i, j), value in zip(below, values[size:], strict=False):
        factor[:, i, j] = value
    others = np.stack(values[size + len(below) :], axis=1) if extra else np.zeros((len(weights), 0))
    return factor @ factor.transpose(0, 2, 1), others, weights


def linear_networks(m: int, outputs: int, bias: float | None, steps: int = 100) -> list[tuple[np.ndarray, np.ndarray]]:
    """E f_t and E ‖∂f_t/∂x‖² of f(x) = B x̃ + c at x = 1, x̃ = (x, σ_b), at TIMES: exact at width m, by quadrature.

    B = A W/√m, N = AAᵀ/m and P = WᵀW/m are closed: with r = f − y, G = Σ r x̃ᵀ,

        B' = −(GP + NG),   N' = −(GBᵀ + BGᵀ)/m,   P' = −(GᵀB + BᵀG)/m,   c' = −σ_b² Σ r.
    """
    x = X if bias is None else np.column_stack([X, np.full(len(X), bias)])
    y, d = Y[:, :outputs], x.shape[1]
    gram, others, weights = wishart_rule(m, outputs + d, 0 if bias is None else outputs)
    gram = gram / m
    b, n, p = math.sqrt(m) * gram[:, :outputs, outputs:], gram[:, :outputs, :outputs], gram[:, outputs:, outputs:]
    share = 0.0 if bias is None else bias**2
    c = np.zeros((len(b), outputs)) if bias is None else bias * others
    product = functools.partial(np.einsum, optimize=True)

    def slope(b: np.ndarray, n: np.ndarray, p: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
        r = product("zod,kd->zko", b, x) + c[:, None] - y
        g = product("zko,kd->zod", r, x)
        across, inside = g @ b.transpose(0, 2, 1), g.transpose(0, 2, 1) @ b
        return (
            -(g @ p + n @ g),
            -(across + across.transpose(0, 2, 1)) / m,
            -(inside + inside.transpose(0, 2, 1)) / m,
            -share * r.sum(axis=1),
        )

    state, now, found = (b, n, p, c), 0.0, []
    for time in TIMES:
        h = (time - now) / steps
        for _ in range(steps):
            k1 = slope(*state)
            k2 = slope(*(s + h / 2 * k for s, k in zip(state, k1, strict=True)))
            k3 = slope(*(s + h / 2 * k for s, k in zip(state, k2, strict=True)))
            k4 = slope(*(s + h * k for s, k in zip(state, k3, strict=True)))
            state = tuple(
                s + h / 6 * (p + 2 * q + 2 * r + u) for s, p, q, r, u in zip(state, k1, k2, k3, k4, strict=True)
            )
        now = time
        at_one = state[0] @ np.array([1.0] if bias is None else [1.0, bias]) + state[3]
        found.append((weights @ at_one, weights @ np.sum(state[0][:, :, 0] ** 2, axis=1)))
    return found


def ensemble(outputs: int, bias: float | None) -> ntr.InfiniteEnsemble:
    net = ntr.MLP(depth=2, d_out=outputs, activation="linear", initialization="lecun", parameterization="ntk",
                  bias_std=bias)  # fmt: skip
    return ntr.InfiniteEnsemble(net, X, Y[:, :outputs])


CASES = [(2, None), (1, BIAS)]


@functools.cache
def truth(outputs: int, bias: float | None) -> list[tuple[np.ndarray, float]]:
    """Coefficients of E f_t(1) (o,) and of E‖∇f_t‖²/G_t, extrapolated from widths 100 to 3200 in powers of 1/m.

    The limit is that of width 10¹³, with the same steps, so that their error is not multiplied by m.
    """
    widths = 100 * 2 ** np.arange(6)
    runs, limits = [linear_networks(int(m), outputs, bias) for m in widths], linear_networks(10**13, outputs, bias)
    found = []
    for j, (mean, size) in enumerate(limits):
        means = [m * (run[j][0] - mean) for m, run in zip(widths, runs, strict=True)]
        squares = [m * (run[j][1] / size - 1) for m, run in zip(widths, runs, strict=True)]
        limit = lambda values: np.polynomial.polynomial.polyfit(100 / widths, np.array(values), 5)[0]  # noqa: E731
        found.append((limit(means), float(limit(squares))))
    return found


@pytest.mark.parametrize(("outputs", "bias"), CASES)
def test_linear_networks_have_their_exact_coefficients(outputs: int, bias: float | None) -> None:
    for time, (mean, square) in zip(TIMES, truth(outputs, bias), strict=True):
        now = ensemble(outputs, bias).at(time)
        c, error = now.first_order_width(POINTS, return_error=True)
        np.testing.assert_allclose(c, square, rtol=1e-6)
        e = now.first_order_mean([[1.0]])
        np.testing.assert_allclose(e[0], mean if outputs > 1 else mean[0], rtol=1e-6)
        assert e.shape == ((1, 2) if outputs > 1 else (1,))
        assert (error == 0).all()


def changed(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """One part of one moment, or one speed of biases, 1.1 times what it is."""
    where, name = fault.split(".")
    right = width_order.neuron_moments

    def moments(kind: object, neurons: neuron_moments.Neurons, *args: object) -> tuple:
        if where == "speed":
            neurons = neurons._replace(**{name: 1.1 * getattr(neurons, name)})
        train, test = right(kind, neurons, *args)
        if where != "speed":
            name_of, part = name[:-1], int(name[-1])
            found = {"train": train, "test": test}[where]
            array = getattr(found, name_of)
            array = array * np.where(np.arange(2) == part, 1.1, 1.0).reshape(-1, *[1] * (array.ndim - 1))
            found = found._replace(**{name_of: array})
            train, test = (found, test) if where == "train" else (train, found)
        return train, test

    monkeypatch.setattr(width_order, "neuron_moments", moments)


PARTS = [
    f"{where}.{name}{part}" for where in ("train", "test") for name in ("triple", "triple_number") for part in "01"
]


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        *((CASES[0], fault) for fault in (*PARTS, "train.third", "test.own_third", "test.own_squares", "test.chain")),
        *((CASES[1], f"speed.{name}") for name in ("shift_speed", "output_speed")),
    ],
)
def test_a_tenth_too_much_in_any_part_is_caught(
    monkeypatch: pytest.MonkeyPatch, case: tuple[int, float | None], fault: str
) -> None:
    (changed if fault in PARTS or fault.startswith("speed") else planted)(monkeypatch, fault)
    gaps = [
        abs(ensemble(*case).at(t).first_order_width(POINTS)[0] / c - 1)
        for t, (_, c) in zip(TIMES, truth(*case), strict=True)
    ]
    assert max(gaps) > 1e-4


def all_brackets(phi, points, speed, shift, s, output_speed):
    """z = (a (o,), w, b) ↦ for all pairs (point, output): h, h̃, ∂_b h, {h, h}, {{h, h}, h} and its s_b ∂_b."""
    o = 2
    metric = jnp.concatenate([jnp.full(o, s), speed, jnp.array([shift])])

    def h(z):
        return jnp.ravel(phi(points[:, :-1] @ z[o:-1] + z[-1])[:, None] * z[:o])  # the last coordinate is that of b

    def two(z):
        slopes = jax.jacfwd(h)(z)
        return (slopes * metric) @ slopes.T + output_speed * jnp.kron(jnp.ones((len(points),) * 2), jnp.eye(o))

    def three(z):
        return jax.jacfwd(two)(z) @ (metric * jax.jacfwd(h)(z)).T

    def everything(z):
        slopes, inside = jax.jacfwd(h)(z), metric.at[-1].set(0.0)
        number = slopes @ (inside * z) - jnp.einsum("ijj,j->i", jax.jacfwd(jax.jacfwd(h))(z), inside)
        return h(z), number, slopes[:, -1], two(z), three(z), shift * jax.jacfwd(three)(z)[..., -1]

    return everything


def test_sums_over_outputs_are_those_of_all_indices_written_out() -> None:
    """Outputs are indices like any others: the formula for one output, with n·o modes and every bracket of them.

    Both sides take the same neurons w, few and of any weights, and a is integrated by three nodes for each output.
    Kernels are any numbers: nothing in the sums depends on what they are.
    """
    rng, n, o = np.random.default_rng(0), 2, 2
    with jax.enable_x64(True):
        phi = ntr.MLP(depth=2, activation="gelu").phi
        deviation, shift, s, output_speed = 0.5, 0.8, 0.7, 0.3
        x = np.pad(rng.standard_normal((n + 1, 2)), ((0, 0), (0, 1)), constant_values=deviation)
        w, sizes = rng.standard_normal((3, 3)), rng.random(3)
        ntk, nngp = rng.standard_normal((2, 1, 1, n))
        prior, y, values = np.eye(n) + 0.3, rng.standard_normal((n, o)), np.array([0.4, 1.7])
        speed = np.array([0.6, 0.6, 0.0])
        numbers = (np.float64(shift), np.float64(s), np.float64(output_speed), np.float64(o), np.float64(1.0))
        neurons = neuron_moments.Neurons(x[:n], x[n:], speed, *numbers, np.eye(n), values, ntk, np.ones(1))
        kind = neuron_moments.Kind(phi, False, True, True)
        times = time_integrals(values, 0.9)
        train, test = neuron_moments.neuron_moments(kind, neurons, w, sizes)
        f = first_order.Functionals(ntk, nngp, prior, y)
        found = first_order.second_moment(f, train, test, times), first_order.mean(f, train, test, times)

        nodes, node_weights = np.polynomial.hermite_e.hermegauss(3)
        a = np.array([[p, q] for p in nodes for q in nodes])
        a_weights = np.outer(node_weights, node_weights).ravel() / node_weights.sum() ** 2
        z = np.array([[*one, *v[:2], deviation * v[2]] for v in w for one in a])
        weights = np.outer(sizes, a_weights).ravel()
        parts = jax.jit(jax.vmap(all_brackets(phi, jnp.asarray(x), speed[:2], shift, s, output_speed)))(z)
        h, number, slope, two, three, along_b = (np.asarray(part) for part in parts)
        k = n * o
        both = np.kron(values, np.ones(o))
        to_test = np.kron(ntk[0, 0], np.eye(o))  # (o, k): the test point's outputs are components
        kappa, cross = two[:, :k, :k] - np.diag(both), two[:, k:, :k] - to_test
        total = functools.partial(np.einsum, "z,zpkl,zq->pklq", optimize=True)

        def inner(i: slice) -> np.ndarray:
            by_parts, by_b = (three, number), (along_b, slope)
            return sum(total(weights, one[:, i, :k, :k], other[:, :k]) for one, other in (by_parts, by_b))

        own, others = slice(k, None), slice(0, k)
        sums = functools.partial(np.einsum, optimize=True)
        all_train = neuron_moments.TrainMoments(
            sums("z,zpk,zql->pkql", weights, kappa, kappa),
            total(weights, three[:, others, :k, :k], h[:, :k])[None],
            inner(others)[None],
            sums("z,zpl,zq,zl->pql", weights, kappa, h[:, :k], h[:, :k]),
        )
        back = np.einsum("cp,zc->zp", to_test, h[:, k:])
        all_test = neuron_moments.TestMoments(
            sums("z,zcl,zcq->lq", weights, cross, cross)[None],
            sums("z,cp,zcl,zpq->plq", weights, to_test, cross, kappa)[None],
            sums("z,zck,zkl->ckl", weights, cross, kappa)[None],
            total(weights, three[:, own, :k, :k], h[:, :k])[None, None],
            inner(own)[None, None],
            sums("z,zckl,zc->kl", weights, three[:, own, :k, :k], h[:, k:])[None],
            sums("z,zpkl,zp->pkl", weights, three[:, others, :k, :k], back)[None],
            sums("z,zc,zcl,zl->l", weights, h[:, k:], cross, h[:, :k])[None],
            sums("z,zp,zpl,zl->pl", weights, back, kappa, h[:, :k])[None],
            sums("z,cq,zcl,zq,zl->ql", weights, to_test, cross, h[:, :k], h[:, :k])[None],
        )
        everywhere = first_order.Functionals(
            to_test[None], np.kron(nngp[0, 0], np.eye(o))[None], np.kron(prior, np.eye(o)), y.reshape(-1, 1)
        )
        all_times = time_integrals(both, 0.9)
        np.testing.assert_allclose(
            found[0], first_order.second_moment(everywhere, all_train, all_test, all_times), rtol=1e-9
        )
        for i in range(o):  # one component at a time: the mean of its own output
            one = everywhere._replace(ntk=everywhere.ntk[:, [i]], nngp=everywhere.nngp[:, [i]])
            kept = all_test._replace(
                chain=all_test.chain[:, [i]],
                triple=all_test.triple[:, :, [i]],
                triple_number=all_test.triple_number[:, :, [i]],
            )
            truth_of_one = first_order.mean(one, all_train, kept, all_times)
            np.testing.assert_allclose(found[1][:, i], truth_of_one[:, 0], rtol=1e-9)


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_the_kernel_of_neurons_is_on_average_that_of_the_ensemble(bias: float) -> None:
    """Speeds and scales of the standard parameterization, whose biases move also where they start at zero."""
    net = ntr.MLP(depth=2, width=32, d_out=2, activation="erf", initialization="lecun", bias_std=bias)
    x = np.random.default_rng(0).standard_normal((3, 2))
    now = ntr.InfiniteEnsemble(net, x, x).at(0.01)
    parts = net, now._model, now._layers, now._factors, 0.01, 0.0, None
    trained = width_order.Trained(*parts)
    neurons, _, _, others = width_order._embedded(trained, x[:1] + 0.5, gradients=True)
    kind = neuron_moments.Kind(net.phi, gradients=True, biases=True, several=True)
    with jax.enable_x64(True):
        points, weights = next(width_order._neuron_sets(trained, neurons.train.shape[1] - len(others), 2**15, 0))
        for fault, close in ((1.0, True), (1.1, False)):
            seen = neurons._replace(shift_speed=fault * neurons.shift_speed)
            at_point = neuron_moments._functions(kind, seen)
            batch = neuron_moments._train_batch(at_point, kind, seen, jnp.asarray(points), jnp.asarray(weights))
            deviation = np.abs(np.einsum("z,zpk->pk", weights, batch.kernel)).max() / now._factors.eigenvalues[-1]
            assert (deviation < 1e-3) == close
