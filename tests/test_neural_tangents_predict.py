"""``neural_tangents.predict`` through the adapter, against linear algebra and ODE solvers in numpy and scipy."""

import jax
import jax.numpy as jnp
import neural_tangents_reference as reference
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from ntkrobust.kernels import neural_tangents as nt

N, N_TEST, OUTPUTS = 5, 3, 2
RNG = np.random.default_rng(0)
X_TRAIN, X_TEST = RNG.normal(size=(N, 4)), RNG.normal(size=(N_TEST, 4))
Y, F0, F0_TEST = (RNG.normal(size=(n, OUTPUTS)) for n in (N, N, N_TEST))
KERNEL_FN = nt.stax.serial(nt.stax.Dense(1, 1.5, 0.5), nt.stax.Erf(), nt.stax.Dense(1, 1.2))[2]
TIMES = np.array([0.0, 0.7, 30.0])
LEARNING_RATE = 0.3


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def kernels(get="ntk"):
    """Kernels of train and train, test and train, test and test points, as numpy arrays."""
    pairs = ((X_TRAIN, None), (X_TEST, X_TRAIN), (X_TEST, None))
    return [np.asarray(KERNEL_FN(jnp.asarray(a), b if b is None else jnp.asarray(b), get)) for a, b in pairs]


def flow(kernel, times, rate=LEARNING_RATE):
    """Gradient flow of neural-tangents' mean loss, which divides time by the number of outputs of all samples."""
    return reference.gradient_flow(kernel, rate * np.asarray(times) / Y.size)


def mse(fx, y):
    return 0.5 * jnp.mean((fx - y) ** 2)


def test_gradient_descent_mse():
    train, test, _ = kernels()
    predict = nt.predict.gradient_descent_mse(jnp.asarray(train), jnp.asarray(Y), LEARNING_RATE)
    grown, solved = flow(train, TIMES)
    found = predict(TIMES, F0, F0_TEST, test)
    np.testing.assert_allclose(found[0], F0 + grown @ (Y - F0), rtol=1e-9)
    np.testing.assert_allclose(found[1], F0_TEST + test @ solved @ (Y - F0), rtol=1e-9)
    at_infinity = predict(None, F0, F0_TEST, test)
    np.testing.assert_allclose(at_infinity[0], Y, rtol=1e-9)
    np.testing.assert_allclose(at_infinity[1], F0_TEST + test @ np.linalg.solve(train, Y - F0), rtol=1e-9)
    # It would notice time counted in steps of the summed loss, Y.size times faster.
    assert np.max(np.abs(found[1][1] - (F0_TEST + test @ flow(train, TIMES * Y.size)[1][1] @ (Y - F0)))) > 0.1


def test_gradient_descent_mse_regularized():
    train, test, _ = kernels()
    predict = nt.predict.gradient_descent_mse(jnp.asarray(train), jnp.asarray(Y), diag_reg=0.1)
    regularized = train + 0.1 * np.trace(train) / N * np.eye(N)
    expected = test @ np.linalg.solve(regularized, Y)
    np.testing.assert_allclose(predict(None, 0.0, 0.0, test)[1], expected, rtol=1e-9)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_gradient_descent(momentum):
    """With momentum m: f'' = −Θ ∇L + (m − 1)/√η f', in time √η t."""
    train, test, _ = kernels()
    predict = nt.predict.gradient_descent(mse, jnp.asarray(train), jnp.asarray(Y), LEARNING_RATE, momentum)
    found = predict(TIMES, F0, F0_TEST, test)
    if momentum is None:
        grown, solved = flow(train, TIMES)
        expected = F0 + grown @ (Y - F0), F0_TEST + test @ solved @ (Y - F0)
    else:
        root, zero, one = np.sqrt(LEARNING_RATE), np.zeros((N, N)), np.eye(N)
        system = np.block([[zero, one], [-train / Y.size, (momentum - 1) / root * one]])
        state = [scipy.linalg.expm(system * root * t) @ np.vstack([F0 - Y, np.zeros_like(Y)]) for t in TIMES]
        residual = np.stack([s[:N] for s in state])
        expected = Y + residual, F0_TEST + test @ np.linalg.solve(train, residual - (F0 - Y))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)  # the ODE solver's own tolerance


def test_gradient_descent_with_cross_entropy():
    train, test, _ = kernels()
    targets = np.eye(OUTPUTS)[RNG.integers(OUTPUTS, size=N)]
    predict = nt.predict.gradient_descent(
        lambda fx, y: -jnp.mean(jax.nn.log_softmax(fx) * y), jnp.asarray(train), jnp.asarray(targets)
    )

    def velocity(t, state):
        f = state[: N * OUTPUTS].reshape(N, OUTPUTS)
        gradient = (np.exp(f) / np.exp(f).sum(1, keepdims=True) - targets) / Y.size
        return np.concatenate([(-train @ gradient).ravel(), (-test @ gradient).ravel()])

    start = np.concatenate([F0.ravel(), F0_TEST.ravel()])
    expected = scipy.integrate.solve_ivp(velocity, (0, 20.0), start, rtol=1e-10, atol=1e-10).y[:, -1]
    found = predict(20.0, F0, F0_TEST, test)
    np.testing.assert_allclose(np.concatenate([np.ravel(f) for f in found]), expected, atol=1e-5)


def test_gp_inference():
    """Posteriors: of the NNGP, of the trained ensemble (NTK, infinite time), of the GP with the NTK as covariance."""
    both = KERNEL_FN(jnp.asarray(X_TRAIN), None, ("nngp", "ntk"))
    to_test = KERNEL_FN(jnp.asarray(X_TEST), jnp.asarray(X_TRAIN), ("nngp", "ntk"))
    of_test = KERNEL_FN(jnp.asarray(X_TEST), None, ("nngp", "ntk"))
    found = nt.predict.gp_inference(both, jnp.asarray(Y))(("nngp", "ntk", "ntkgp"), to_test, of_test)
    (k, k_td, k_tt), (theta, theta_td, theta_tt) = kernels("nngp"), kernels("ntk")
    for name, (a, a_td, a_tt) in {"nngp": (k, k_td, k_tt), "ntkgp": (theta, theta_td, theta_tt)}.items():
        np.testing.assert_allclose(getattr(found, name).mean, a_td @ np.linalg.solve(a, Y), rtol=1e-8)
        covariance = a_tt - a_td @ np.linalg.solve(a, a_td.T)
        np.testing.assert_allclose(getattr(found, name).covariance, covariance, atol=1e-10)
    solved = np.linalg.solve(theta, theta_td.T)
    covariance = k_tt + solved.T @ k @ solved - solved.T @ k_td.T - k_td @ solved
    np.testing.assert_allclose(found.ntk.mean, theta_td @ np.linalg.solve(theta, Y), rtol=1e-8)
    np.testing.assert_allclose(found.ntk.covariance, covariance, atol=1e-10)


def ensemble():
    return nt.predict.gradient_descent_mse_ensemble(KERNEL_FN, jnp.asarray(X_TRAIN), jnp.asarray(Y), LEARNING_RATE)


def expected_ensemble(time):
    """Mean and covariance at the test points of networks trained for ``time`` steps (all weights: NTK)."""
    (k, k_td, k_tt), (theta, theta_td, _) = kernels("nngp"), kernels("ntk")
    trained = theta_td @ (np.linalg.inv(theta) if time is None else flow(theta, [time])[1][0])
    return trained @ Y, k_tt + trained @ k @ trained.T - trained @ k_td.T - k_td @ trained.T


@pytest.mark.parametrize("time", [0.0, 0.7, 30.0, None])
def test_gradient_descent_mse_ensemble(time):
    found = ensemble()(time, jnp.asarray(X_TEST), ("nngp", "ntk"), compute_cov=True)
    mean, covariance = expected_ensemble(time)
    np.testing.assert_allclose(found.ntk.mean, mean, atol=1e-9)
    np.testing.assert_allclose(found.ntk.covariance, covariance, atol=1e-9)
    k, k_td, k_tt = kernels("nngp")  # only the last layer is trained: the NNGP is the kernel of the flow
    solved = [np.linalg.inv(k)] * 2 if time is None else [flow(k, [factor * time])[1][0] for factor in (1, 2)]
    np.testing.assert_allclose(found.nngp.mean, k_td @ solved[0] @ Y, atol=1e-9)
    np.testing.assert_allclose(found.nngp.covariance, k_tt - k_td @ solved[1] @ k_td.T, atol=1e-9)


def test_max_learning_rate():
    train = kernels()[0]
    largest = np.linalg.eigvalsh(train)[-1]
    rate = nt.predict.max_learning_rate
    np.testing.assert_allclose(rate(jnp.asarray(train)), 2 * N / largest, rtol=1e-9)
    np.testing.assert_allclose(rate(train, Y.size, momentum=0.5), 3 * Y.size / largest, rtol=1e-9)
    np.testing.assert_allclose(jax.jit(rate)(train), 2 * N / largest, rtol=1e-9)


@pytest.mark.parametrize("time", [0.7, None])
def test_first_call_under_jit_leaks_nothing(time):
    """What ``predict`` keeps from a first call inside ``jit`` serves later calls inside and outside it."""
    train, test, _ = (jnp.asarray(k) for k in kernels())
    mean, covariance = expected_ensemble(time)
    x_test = jnp.asarray(X_TEST)
    with jax.checking_leaks():
        predict = nt.predict.gradient_descent_mse(train, jnp.asarray(Y), LEARNING_RATE)
        for call in (jax.jit(predict), predict, jax.jit(predict)):
            np.testing.assert_allclose(call(time, 0.0, 0.0, test)[1], mean, atol=1e-9)
        predict = ensemble()
        inside = jax.jit(lambda x: predict(time, x, "ntk", True))
        for call in (inside, lambda x: predict(time, x, "ntk", True), inside):
            found = call(x_test)
            np.testing.assert_allclose(found.mean, mean, atol=1e-9)
            np.testing.assert_allclose(found.covariance, covariance, atol=1e-9)
        infer = nt.predict.gp_inference(train, jnp.asarray(Y))
        for call in (jax.jit(lambda k: infer("ntk", k)), lambda k: infer("ntk", k)):
            np.testing.assert_allclose(call(test), expected_ensemble(None)[0], atol=1e-9)


@pytest.mark.parametrize("time", [0.7, None])
def test_everything_traced(time):
    """The whole prediction as a traced function of data, with its derivative in the labels: a linear map of them."""
    train, test, _ = kernels()
    trained = test @ (np.linalg.inv(train) if time is None else flow(train, [time])[1][0])

    def predict_mean(x, y, x_test):
        predict = nt.predict.gradient_descent_mse_ensemble(KERNEL_FN, x, y, LEARNING_RATE)
        return predict(time, x_test, "ntk")

    data = jnp.asarray(X_TRAIN), jnp.asarray(Y), jnp.asarray(X_TEST)
    np.testing.assert_allclose(jax.jit(predict_mean)(*data), trained @ Y, atol=1e-9)
    jacobian = jax.jacobian(predict_mean, argnums=1)(*data)
    np.testing.assert_allclose(jacobian, np.einsum("ij,kl->ikjl", trained, np.eye(OUTPUTS)), atol=1e-9)

    def mean_at(k_train, k_test):
        return nt.predict.gradient_descent_mse(k_train, data[1], LEARNING_RATE)(time, 0.0, 0.0, k_test)[1]

    many = jax.vmap(mean_at)(jnp.stack([train, 2 * train]), jnp.stack([test, 2 * test]))
    np.testing.assert_allclose(many[0], trained @ Y, atol=1e-9)
    later = test @ (np.linalg.inv(train) if time is None else flow(train, [2 * time])[1][0])
    np.testing.assert_allclose(many[1], later @ Y, atol=1e-9)


def test_loop_inside_jit_leaks_nothing():
    """A prediction made from traced kernels, used in two loops and outside of them."""
    train, test, _ = (jnp.asarray(k) for k in kernels())

    @jax.jit
    def run(k_train, k_test):
        predict = nt.predict.gradient_descent_mse(k_train, jnp.asarray(Y))
        loops = [jax.lax.map(lambda row: predict(None, 0.0, 0.0, row[None])[1][0], k_test) for _ in range(2)]
        return [*loops, predict(None, 0.0, 0.0, k_test)[1]]

    for found in run(train, test):
        np.testing.assert_allclose(found, expected_ensemble(None)[0], atol=1e-9)


def test_parameter_space_matches_function_space():
    """Gradient descent on a linearized network follows ``predict`` with its empirical kernel, here over 400 steps."""
    init_fn, apply_fn, _ = nt.stax.serial(nt.stax.Dense(16), nt.stax.Erf(), nt.stax.Dense(OUTPUTS))
    x, y, x_test = jnp.asarray(X_TRAIN), jnp.asarray(Y), jnp.asarray(X_TEST)
    start = init_fn(jax.random.key(0), x.shape)[1]
    linear = nt.linearize(apply_fn, start)
    rate, steps = 0.05, 400
    step = jax.jit(lambda p: jax.tree.map(lambda a, g: a - rate * g, p, jax.grad(lambda q: mse(linear(q, x), y))(p)))
    parameters = start
    for _ in range(steps):
        parameters = step(parameters)
    ntk = nt.empirical_ntk_fn(apply_fn, trace_axes=())
    predict = nt.predict.gradient_descent_mse(ntk(x, None, start), y, rate, trace_axes=())
    _, expected = predict(steps, apply_fn(start, x), apply_fn(start, x_test), ntk(x_test, x, start))
    np.testing.assert_allclose(linear(parameters, x_test), expected, atol=2e-3)  # steps of finite size
    assert np.max(np.abs(expected - apply_fn(start, x_test))) > 0.2
