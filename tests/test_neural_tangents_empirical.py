"""Empirical kernels, linearization and sampling of neural-tangents through the adapter, against explicit Jacobians."""

import jax
import jax.numpy as jnp
import neural_tangents_reference as reference
import numpy as np
import pytest

from ntkrobust.kernels import neural_tangents as nt

stax = nt.stax
X1 = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)), jnp.float32)
X2 = jnp.asarray(np.random.default_rng(2).normal(size=(2, 4)), jnp.float32)
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}  # float32, sums of a few hundred terms


def full_ntk(f, x1, x2, parameters):
    """J(x1) J(x2)^T with axes (n1, outputs…, n2, outputs…)."""

    shapes = [jax.eval_shape(f, parameters, x).shape for x in (x1, x2)]

    def jacobian(x, shape):
        leaves = jax.tree.leaves(jax.jit(jax.jacobian(f))(parameters, x))
        return np.concatenate([np.reshape(leaf, (np.prod(shape), -1)) for leaf in leaves], 1)

    return (jacobian(x1, shapes[0]) @ jacobian(x2, shapes[1]).T).reshape(*shapes[0], *shapes[1])


def dense():
    return stax.serial(
        stax.Dense(6, 1.3, 0.2), stax.Gelu(), stax.Dense(5, parameterization="standard"), stax.Relu(), stax.Dense(2)
    )


def convolutional():
    return stax.serial(
        stax.Conv(4, (2, 2), padding="SAME", b_std=0.1),
        stax.Relu(),
        stax.AvgPool((2, 2)),
        stax.Flatten(),
        stax.Dense(2),
    )


def residual():
    block = stax.serial(stax.FanOut(2), stax.parallel(stax.serial(stax.Erf(), stax.Dense(5)), stax.Identity()))
    return stax.serial(stax.Dense(5), block, stax.FanInSum(), stax.LayerNorm(), stax.Dense(2))


@pytest.mark.parametrize("implementation", [1, 2, 3], ids=lambda i: nt.NtkImplementation(i).name)
@pytest.mark.parametrize("network", [dense, convolutional, residual], ids=lambda f: f.__name__)
def test_implementations_agree_with_jacobians(network, implementation):
    init_fn, f, _ = network()
    image = (lambda x: jnp.stack([x, x**2, -x, x + 1], 1)[..., None]) if network is convolutional else (lambda x: x)
    x1, x2 = image(X1), image(X2)
    parameters = init_fn(jax.random.key(0), x1.shape)[1]
    expected = full_ntk(f, x1, x2, parameters)  # (n1, o, n2, o)

    def found(**options):
        ntk = nt.empirical_ntk_fn(f, implementation=implementation, **options)
        return jax.jit(ntk)(x1, x2, parameters)

    np.testing.assert_allclose(found(trace_axes=()), expected.transpose(0, 2, 1, 3), **TOLERANCE)
    np.testing.assert_allclose(found(vmap_axes=0), np.einsum("ikjk->ij", expected) / 2, **TOLERANCE)
    diagonal = found(trace_axes=(), diagonal_axes=(-1,), vmap_axes=0)
    np.testing.assert_allclose(diagonal, np.einsum("ikjk->ijk", expected), **TOLERANCE)
    assert np.max(np.abs(expected)) > 0.1  # far above the tolerance


def test_auto_compares_all_implementations(capsys):
    init_fn, f, _ = dense()
    parameters = init_fn(jax.random.key(0), X1.shape)[1]
    found = nt.empirical_ntk_fn(f, implementation=nt.NtkImplementation.AUTO)(X1, X2, parameters)
    np.testing.assert_allclose(found, np.einsum("ikjk->ij", full_ntk(f, X1, X2, parameters)) / 2, **TOLERANCE)
    assert capsys.readouterr().out.count("flops=") == 3  # it prints what it found


def jitted_inside(p, x):
    return jax.jit(lambda w: jax.nn.relu(x @ w))(p["w"]) @ p["v"]


def called_twice(p, x):
    layer = jax.jit(lambda h, w: jnp.tanh(h @ w))
    return layer(layer(x @ p["w"] @ p["v"] @ p["w"][:2], p["v"]), p["v"][:2])


def with_scan(p, x):
    return jax.lax.scan(lambda h, _: (jnp.sin(h @ p["w"][:, :4]), None), x, length=3)[0]


def with_remat(p, x):
    return jax.checkpoint(lambda w: jax.nn.gelu(x @ w))(p["w"]) @ p["v"]


def one_output_constant(p, x):
    return jnp.concatenate([x @ p["w"] @ p["v"], jnp.ones_like(x[:, :1])], 1)


def parameters_as_output(p, x):
    return p["v"][:3] * x[:, :2] + p["v"][0]


def cond_and_slices(p, x):
    return jax.lax.cond(True, lambda: x @ p["w"][:, 1:3], lambda: x @ p["w"][:, :2]) * jnp.exp(p["v"][0, 0])


FUNCTIONS = [
    jitted_inside, called_twice, with_scan, with_remat, one_output_constant, parameters_as_output, cond_and_slices
]  # fmt: skip


# The rules of neural-tangents cover what its own layers use; for other primitives it says so and differentiates.
@pytest.mark.filterwarnings("ignore:No Jacobian rule found:UserWarning")
@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_structured_derivatives_of_any_function(f):
    rng = np.random.default_rng(5)
    parameters = {
        "w": jnp.asarray(rng.normal(size=(4, 4)), jnp.float32),
        "v": jnp.asarray(rng.normal(size=(4, 2)), jnp.float32),
        "unused": jnp.ones(3),
    }
    expected = full_ntk(f, X1, X1, parameters)
    found = nt.empirical_ntk_fn(f, trace_axes=(), implementation=3)(X1, None, parameters)
    np.testing.assert_allclose(found, np.moveaxis(expected, 2, 1), **TOLERANCE)


def test_trees_of_inputs_and_outputs():
    init_fn, f, _ = stax.serial(
        stax.parallel(stax.Dense(4), stax.Dense(3)), stax.parallel(stax.Relu(), stax.Erf()),
        stax.parallel(stax.Dense(2), stax.Dense(2)),
    )  # fmt: skip
    x1, x2 = (X1, X1[:, :2]), (X2, X2[:, :2])
    parameters = init_fn(jax.random.key(0), tuple(x.shape for x in x1))[1]
    for implementation in (1, 3):
        found = nt.empirical_ntk_fn(f, implementation=implementation)(x1, x2, parameters)
        for branch in range(2):
            expected = full_ntk(lambda p, x, branch=branch: f(p, x)[branch], x1, x2, parameters)
            np.testing.assert_allclose(found[branch], np.einsum("ikjk->ij", expected) / 2, **TOLERANCE)


def test_nngp_and_kernel_vector_product():
    init_fn, f, _ = dense()
    parameters = init_fn(jax.random.key(0), X1.shape)[1]
    f1, f2 = f(parameters, X1), f(parameters, X2)
    np.testing.assert_allclose(nt.empirical_nngp_fn(f)(X1, X2, parameters), f1 @ f2.T / 2, **TOLERANCE)
    both = nt.empirical_kernel_fn(f)(X1, X2, ("nngp", "ntk"), parameters)
    ntk = full_ntk(f, X1, X2, parameters)
    np.testing.assert_allclose(both.nngp, f1 @ f2.T / 2, **TOLERANCE)
    np.testing.assert_allclose(both.ntk, np.einsum("ikjk->ij", ntk) / 2, **TOLERANCE)
    cotangent = jnp.asarray(np.random.default_rng(0).normal(size=f2.shape), jnp.float32)
    product = nt.empirical_ntk_vp_fn(f, X1, X2, parameters)
    np.testing.assert_allclose(jax.jit(product)(cotangent), np.einsum("ikjl,jl->ik", ntk, cotangent), **TOLERANCE)


def test_kernel_under_jit_vmap_and_grad():
    """Of an ensemble by vmap; and ∂Θ/∂θ, against a finite difference in float64."""
    with jax.enable_x64(True):
        init_fn, f, _ = stax.serial(stax.Dense(5), stax.Erf(), stax.Dense(1))
        x = X1.astype(jnp.float64)
        many = jax.vmap(lambda key: init_fn(key, x.shape)[1])(jax.random.split(jax.random.key(0), 3))
        second = jax.tree.map(lambda p: p[1], many)
        direction = jax.tree.map(jnp.sin, second)
        shifted = [jax.tree.map(lambda p, v, s=s: p + s * 1e-5 * v, second, direction) for s in (1, -1)]
        above, below = (full_ntk(f, x, x, p)[0, 0, 1, 0] for p in shifted)
        reference_kernel, reference_slope = full_ntk(f, x, x, second)[:, 0, :, 0], (above - below) / 2e-5
        for implementation in (1, 2, 3):
            ntk = nt.empirical_ntk_fn(f, implementation=implementation)
            kernels = jax.jit(jax.vmap(lambda p, ntk=ntk: ntk(x, None, p)))(many)
            np.testing.assert_allclose(kernels[1], reference_kernel, rtol=1e-10)
            gradient = jax.jit(jax.grad(lambda p, ntk=ntk: ntk(x, None, p)[0, 1]))(second)
            along = sum(jnp.vdot(g, v) for g, v in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
            np.testing.assert_allclose(along, reference_slope, rtol=1e-6)


def test_linearize_and_taylor_expand():
    """First and second order in the parameters; what is left over shrinks as the next power of the step."""
    with jax.enable_x64(True):
        init_fn, f, _ = stax.serial(stax.Dense(6), stax.Erf(), stax.Dense(2))
        x = X1.astype(jnp.float64)
        start = jax.tree.map(lambda p: p.astype(jnp.float64), init_fn(jax.random.key(0), x.shape)[1])
        direction = jax.tree.map(jnp.cos, start)

        def moved(step):
            return jax.tree.map(lambda p, v: p + step * v, start, direction)

        _, slope = jax.jvp(lambda p: f(p, x), (start,), (direction,))
        linear = jax.jit(nt.linearize(f, start))
        np.testing.assert_allclose(linear(moved(0.3), x), f(start, x) + 0.3 * slope, rtol=1e-10)
        for order in (1, 2, 3):
            expanded = nt.taylor_expand(f, start, order)
            gaps = [np.max(np.abs(expanded(moved(step), x) - f(moved(step), x))) for step in (0.02, 0.01)]
            np.testing.assert_allclose(np.log2(gaps[0] / gaps[1]), order + 1, atol=0.2)


@pytest.mark.parametrize("batch_size", [0, 2])
def test_monte_carlo_kernel_fn(batch_size):
    """Means over draws lie within their standard errors of the closed form, which one hidden layer meets exactly."""
    init_fn, f, kernel_fn = stax.serial(stax.Dense(32), stax.Relu(), stax.Dense(16))
    x1 = X1[:2]
    counts = np.arange(1, 21) * 30
    sample = nt.monte_carlo_kernel_fn(init_fn, f, jax.random.key(7), counts.tolist(), batch_size, device_count=0)
    running = list(sample(x1, X2, ("nngp", "ntk")))  # means over the first 30, 60, … networks
    assert len(running) == len(counts)
    for get in ("nngp", "ntk"):
        sums = counts[:, None, None] * np.stack([getattr(k, get) for k in running])
        blocks = np.diff(sums, axis=0, prepend=0) / 30
        expected = kernel_fn(x1, X2, get)
        assert np.max(np.abs(reference.z_scores(blocks, expected))) < 5
        assert np.max(np.abs(reference.z_scores(blocks, 1.3 * expected))) > 5


def test_batched_kernels_equal_unbatched_ones():
    init_fn, f, kernel_fn = stax.serial(stax.Dense(6), stax.Relu(), stax.Dense(2))
    x1, x2 = (jnp.asarray(np.random.default_rng(s).normal(size=(n, 4)), jnp.float32) for s, n in ((1, 8), (2, 4)))
    parameters = init_fn(jax.random.key(0), x1.shape)[1]
    for store_on_device in (True, False):
        batched = nt.batch(kernel_fn, batch_size=2, device_count=0, store_on_device=store_on_device)
        np.testing.assert_allclose(batched(x1, x2).ntk, kernel_fn(x1, x2).ntk, rtol=1e-5)
    np.testing.assert_allclose(batched(x1, None, "nngp"), kernel_fn(x1, None, "nngp"), rtol=1e-3, atol=1e-4)
    empirical = nt.empirical_ntk_fn(f, vmap_axes=0)
    batched = nt.batch(empirical, batch_size=2, device_count=0)
    np.testing.assert_allclose(batched(x1, x2, parameters), empirical(x1, x2, parameters), **TOLERANCE)


def test_batches_over_two_devices():
    code = """
import jax, numpy as np
from ntkrobust.kernels import neural_tangents as nt
assert jax.local_device_count() == 2
stax = nt.stax
init_fn, f, kernel_fn = stax.serial(stax.Dense(8), stax.Relu(), stax.Dense(2))
x1, x2 = (jax.random.normal(jax.random.key(s), (n, 5)) for s, n in ((1, 8), (2, 4)))
p = init_fn(jax.random.key(0), x1.shape)[1]
empirical = nt.empirical_ntk_fn(f)
closed, finite = kernel_fn(x1, x2, "ntk"), empirical(x1, x2, p)
one = nt.monte_carlo_kernel_fn(init_fn, f, jax.random.key(3), 4, device_count=0, vmap_axes=0)(x1, x2, "ntk")
for size in (0, 2):
    np.testing.assert_allclose(nt.batch(kernel_fn, size, device_count=-1)(x1, x2, "ntk"), closed, rtol=1e-4)
    np.testing.assert_allclose(nt.batch(empirical, size, device_count=2)(x1, x2, p), finite, rtol=1e-3, atol=1e-5)
    two = nt.monte_carlo_kernel_fn(init_fn, f, jax.random.key(3), 4, size, device_count=2, vmap_axes=0)
    np.testing.assert_allclose(two(x1, x2, "ntk"), one, rtol=1e-3, atol=1e-5)
print("equal")
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    assert reference.run_python(code, "-Werror", **flags).strip() == "equal"
