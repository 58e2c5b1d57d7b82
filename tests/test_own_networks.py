"""Networks of one's own: from functions, stax, flax and equinox, and from a class of two methods."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.errors import InputError
from ntkrobust.kernels import neural_tangents
from ntkrobust.networks.parameters import Parameters

D, N, POINTS, SEEDS = 8, 24, 10, 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D))
Y = np.sign(X[:, 0])
X_TEST = RNG.standard_normal((POINTS, D))
Y_TEST = np.sign(X_TEST[:, 0])
WIDTH = 16


def init(key, x):
    first, last = jax.random.split(key)
    return {
        "w": jnp.sqrt(2 / x.shape[1]) * jax.random.normal(first, (WIDTH, x.shape[1])),
        "v": jax.random.normal(last, (1, WIDTH)) / jnp.sqrt(WIDTH),
    }


def apply(parameters, x):
    return jax.nn.relu(x @ parameters["w"].T) @ parameters["v"].T


NET = ntr.from_function(init, apply)


@pytest.fixture(scope="module")
def run():
    return ntr.train(NET, X, Y, seeds=SEEDS, steps=40, record_steps=[0, 40])


@pytest.fixture(scope="module")
def ours(run):
    """The same functions as networks of the package."""
    last = Parameters((run.parameters["w"], run.parameters["v"]), ())
    return ntr.Run.from_parameters(ntr.MLP(2, WIDTH), last, x_train=X, y_train=Y)


MEASURED = ["jacobian_frobenius", "jacobian_spectral", "perturbation_stability", "natural_accuracy", "output_rms"]


def test_a_function_is_measured_as_our_own_network_is(run, ours):
    theirs = ntr.measure(run, X_TEST, MEASURED, y_test=Y_TEST).isel(time=-1)
    same = ntr.measure(ours, X_TEST, MEASURED, y_test=Y_TEST).isel(time=0)
    for name in MEASURED:
        np.testing.assert_allclose(theirs[name], same[name], rtol=2e-5, atol=1e-6, err_msg=name)
    # The planted fault: other weights are noticed.
    weights = {**run.parameters, "v": 1.001 * run.parameters["v"]}
    other = ntr.Run.from_parameters(NET, weights, x_train=X, y_train=Y)
    found = ntr.measure(other, X_TEST, ["jacobian_frobenius"]).isel(time=0)
    assert not np.allclose(found.jacobian_frobenius, same.jacobian_frobenius, rtol=2e-5)


def test_it_is_attacked_as_our_own_network_is(run, ours):
    found = [
        ntr.attack(one, X_TEST, Y_TEST, epsilon=0.1, methods=["pgd"], steps=4).is_robust.to_numpy()
        for one in (run, ours)
    ]
    np.testing.assert_array_equal(*found)


def test_it_has_a_kernel(run, ours):
    theirs, same = (ntr.empirical_ntk(one, X_TEST).isel(time=-1).to_numpy() for one in (run, ours))
    np.testing.assert_allclose(theirs, same, rtol=1e-4, atol=1e-5)


def test_training_is_gradient_descent(run):
    """Two steps in float64, written out."""
    short = ntr.train(NET, X, Y, seeds=1, steps=2, learning_rate=0.01)
    parameters = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), short.initial_parameters())
    for _ in range(2):
        z = X @ parameters["w"].T
        residual = np.maximum(z, 0) @ parameters["v"].T - Y[:, None]
        down = residual @ parameters["v"] * (z > 0)
        parameters = {
            "w": parameters["w"] - 0.01 * down.T @ X,
            "v": parameters["v"] - 0.01 * residual.T @ np.maximum(z, 0),
        }
    for name, expected in parameters.items():
        np.testing.assert_allclose(short.parameters[name][0], expected, rtol=1e-5, atol=1e-6)


def test_saved_and_loaded(run, tmp_path):
    run.save(tmp_path / "run.npz")
    loaded = ntr.Run.load(tmp_path / "run.npz", NET)
    jax.tree.map(np.testing.assert_array_equal, loaded.parameters, run.parameters)
    with pytest.raises(ntr.InputError, match=r"give Run\.load"):
        ntr.Run.load(tmp_path / "run.npz")
    with pytest.raises(ntr.InputError, match="whose function is not that of"):
        ntr.Run.load(tmp_path / "run.npz", ntr.from_function(init, lambda p, x: 2 * apply(p, x)))


def test_checkpoints(tmp_path):
    def trained(**more):
        return ntr.train(NET, X, Y, seeds=2, steps=6, checkpoint=tmp_path / "c.npz", checkpoint_every=3, **more)

    first, again = trained(), trained()
    jax.tree.map(np.testing.assert_array_equal, first.parameters, again.parameters)


@dataclasses.dataclass(frozen=True)
class Cosines(ntr.Network):
    """Random Fourier features with a trained last layer and trained frequencies: two methods, no more."""

    width: int = 32
    d_out: int = 1

    def draw(self, key, d_in):
        frequencies, last = jax.random.split(key)
        return (
            jax.random.normal(frequencies, (self.width, d_in)),
            jax.random.normal(last, (self.d_out, self.width)) / jnp.sqrt(self.width),
        )

    def apply(self, parameters, x):
        frequencies, last = parameters
        return jnp.cos(x @ frequencies.T) @ last.T


def test_a_class_of_two_methods():
    run = ntr.train(Cosines(), X, Y, seeds=SEEDS, steps=10)
    measured = ntr.measure(run, X_TEST, ["jacobian_frobenius_sq", "kernel_change"]).isel(time=-1)
    w, v = (np.asarray(leaf, np.float64) for leaf in run.parameters)
    gradient = np.einsum("som,smd,snm->snd", v, w, -np.sin(np.einsum("nd,smd->snm", X_TEST, w)))
    np.testing.assert_allclose(measured.jacobian_frobenius_sq, (gradient**2).sum(-1), rtol=1e-4)
    assert (measured.kernel_change > 0).all()


def test_a_claim_of_a_family():
    claim = ntr.Claim(
        "me/cosines", r"$\mathbb E\|J\|^2$ is that of the frequencies", ntr.Equals(lambda d_in: d_in / 2),
        "jacobian_frobenius_sq", {"network": [Cosines()], "width": [8, 32]}, draws=1024,
    )  # fmt: skip
    # E‖J‖² = E sin² · E‖w‖²: x is far enough out for sin² to average to 1/2.
    data = ntr.data.Dataset(20 * X, Y[:, None], 20 * X_TEST, Y_TEST[:, None], name="far out", task="classification")
    verdict = ntr.verify(claim, data=data, out=None)
    assert verdict.label == "supported", verdict
    wrong = dataclasses.replace(claim, id="me/wrong", relation=ntr.Equals(lambda d_in: 1.1 * d_in / 2))
    assert ntr.verify(wrong, data=data, out=None).label == "refuted"
    family = dataclasses.replace(claim, grid={"network": [lambda width: Cosines(width)], "width": [8, 32]})
    assert ntr.verify(family, data=data, out=None).label == "supported"


# --- what is refused, in one sentence


@pytest.mark.fast
@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (lambda: ntr.from_function(init, lambda p, x: apply(p, x - x.mean(0))), "must treat each point by itself"),
        (lambda: ntr.from_function(init, lambda p, x: apply(p, x / x.std(0))), "gives nan at a point alone"),
        (lambda: ntr.from_function(init, lambda p, x: apply(p, x)[:, 0]), r"outputs \(n, 1\), got \(2,\)"),
        (lambda: ntr.from_function(init, lambda p, x: x @ jnp.ones((3, 3))), "apply of FunctionNetwork fails"),
        (lambda: ntr.from_function(lambda k, x: {"w": jnp.ones(3, int)}, apply), "must be float32 arrays"),
        (lambda: ntr.from_function(lambda k, x: (), apply), "must have parameters"),
        (lambda: ntr.from_function(init, apply, input_shape=(4, 4)), r"points of shape \(4, 4\), 16 numbers"),
        (lambda: ntr.from_function(init, apply, d_out=0), "d_out"),
        (lambda: ntr.from_function(1, apply), "init of a network must be a function"),
        (lambda: ntr.from_stax(lambda width: width, width=3), "three functions"),
        (lambda: ntr.from_stax(lambda width: 1 / 0, width=3), r"make\(3\) fails: ZeroDivisionError"),
    ],
)
def test_networks_that_are_none(net, sentence):
    with pytest.raises(ntr.InputError, match=sentence) as caught:
        ntr.train(net(), X, Y, seeds=2, steps=2)
    assert "\n" not in str(caught.value)


def test_what_a_network_does_not_offer_is_refused(run):
    with pytest.raises(ntr.InputError, match="function"):
        ntr.measure(run, X_TEST, ["layer_spectral_norms"])
    with pytest.raises(ntr.InputError, match=r"nothing is known of .* at infinite width"):
        ntr.compare(
            Cosines(), ntr.data.Dataset(X, Y[:, None], X_TEST, Y_TEST[:, None], name="mine", task="classification")
        )


def test_networks_trained_elsewhere(run, ours):
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], run.parameters) for i in range(SEEDS)]
    listed = ntr.Run.from_parameters(NET, each, x_train=X, y_train=Y)
    jax.tree.map(np.testing.assert_array_equal, listed.parameters, run.parameters)
    np.testing.assert_allclose(listed.loss[:, 0], run.loss[:, -1], rtol=1e-5)
    np.testing.assert_allclose(ours.loss[:, 0], run.loss[:, -1], rtol=1e-5)
    assert np.isnan(listed.time).all()
    with pytest.raises(ntr.InputError, match="trained elsewhere"):
        ntr.measure(listed, X_TEST, ["kernel_change"])
    for parameters, sentence in (
        ({"w": 1.0}, "structure"),
        ({**run.parameters, "v": run.parameters["v"][:2]}, "shape"),
        ([each[0], {"w": 1.0}], "network 1 must have the structure"),
        ([each[0], {**each[0], "v": each[0]["v"].T}], "network 1 must have the shapes"),
    ):
        with pytest.raises(ntr.InputError, match=sentence):
            ntr.Run.from_parameters(NET, parameters, x_train=X, y_train=Y)


def test_images_stay_images():
    seen = []

    def of_images(parameters, x):
        seen.append(x.shape[1:])
        return apply(parameters, x.reshape(len(x), -1))

    net = ntr.from_function(lambda key, x: init(key, x.reshape(1, -1)), of_images, input_shape=(4, 2, 1))
    run = ntr.train(net, X.reshape(N, 4, 2, 1), Y, seeds=2, steps=3)
    rows = ntr.train(NET, X, Y, seeds=2, steps=3)
    assert set(seen) == {(4, 2, 1)}
    np.testing.assert_allclose(run.loss, rows.loss, rtol=1e-5)
    images, flat = (
        ntr.measure(*one, ["jacobian_frobenius"]) for one in ((run, X_TEST.reshape(POINTS, 4, 2, 1)), (rows, X_TEST))
    )
    np.testing.assert_allclose(images.jacobian_frobenius, flat.jacobian_frobenius, rtol=1e-5)


# --- one network in three frameworks: LayerNorm, a residual branch, pooling over positions

SIDE = 4
SHAPE = (SIDE, SIDE, 3)
PIXELS = 3 * SIDE**2


def in_stax(width):
    stax = neural_tangents.stax
    block = stax.serial(stax.Relu(), stax.Dense(width, W_std=1.4, b_std=None))
    return stax.serial(
        stax.Dense(width, W_std=1.0, b_std=None), stax.LayerNorm(), stax.FanOut(2),
        stax.parallel(stax.Identity(), block), stax.FanInSum(), stax.Relu(), stax.GlobalAvgPool(),
        stax.Dense(1, W_std=1.0, b_std=None),
    )  # fmt: skip


STAX = ntr.from_stax(in_stax, width=12, input_shape=SHAPE)
IMAGES = RNG.standard_normal((N, PIXELS))


def weights(parameters):
    """W_1, W_2 and W_3 as they stand in the function, from parameters of the NTK parameterization."""
    (first, _), (second, _), (last, _) = [leaf for leaf in jax.tree.leaves(parameters, is_leaf=_is_dense) if leaf]
    return first / np.sqrt(3), 1.4 * second / np.sqrt(second.shape[-2]), last / np.sqrt(last.shape[-2])


def _is_dense(leaf):
    return isinstance(leaf, tuple) and len(leaf) == 2 and hasattr(leaf[0], "shape")


def in_linen(width):
    linen = pytest.importorskip("flax.linen")

    class Block(linen.Module):
        @linen.compact
        def __call__(self, x):
            h = linen.Dense(width, use_bias=False, name="first")(x)
            h = linen.LayerNorm(epsilon=1e-12, use_bias=False, use_scale=False)(h)
            h = h + linen.Dense(width, use_bias=False, name="second")(linen.relu(h))
            return linen.Dense(1, use_bias=False, name="last")(linen.relu(h).mean((1, 2)))

    return Block()


def in_nnx(width):
    nnx = pytest.importorskip("flax.nnx")

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, width, use_bias=False, rngs=rngs)
            self.norm = nnx.LayerNorm(width, epsilon=1e-12, use_bias=False, use_scale=False, rngs=rngs)
            self.second = nnx.Linear(width, width, use_bias=False, rngs=rngs)
            self.last = nnx.Linear(width, 1, use_bias=False, rngs=rngs)

        def __call__(self, x):
            h = self.norm(self.first(x))
            h = h + self.second(nnx.relu(h))
            return self.last(nnx.relu(h).mean((1, 2)))

    return lambda rngs: Block(rngs)


def in_equinox(width):
    eqx = pytest.importorskip("equinox")

    class Block(eqx.Module):
        first: jax.Array
        second: jax.Array
        last: jax.Array

        def __init__(self, key):
            keys = jax.random.split(key, 3)
            shapes = ((3, width), (width, width), (width, 1))
            drawn = (jax.random.normal(one, shape) for one, shape in zip(keys, shapes, strict=True))
            self.first, self.second, self.last = drawn

        def __call__(self, x):
            h = x @ self.first
            h = h - h.mean(-1, keepdims=True)
            h = h / jnp.sqrt((h**2).mean(-1, keepdims=True) + 1e-12)
            h = h + jax.nn.relu(h) @ self.second
            return jax.nn.relu(h).mean((0, 1)) @ self.last

    return lambda key: Block(key)


@pytest.fixture(scope="module")
def of_stax():
    return ntr.train(STAX, IMAGES, Y, seeds=SEEDS, steps=5)


def looked_at(run):
    """Norms of Jacobians, and what an attack leaves, at three images."""
    norms = ntr.measure(run, IMAGES[:3], ["jacobian_frobenius"]).isel(time=-1).jacobian_frobenius
    return norms, ntr.attack(run, IMAGES[:3], Y[:3], epsilon=0.1, methods=["pgd"], steps=4).is_robust.to_numpy()


@pytest.fixture(scope="module")
def stax_looked_at(of_stax):
    return looked_at(of_stax)


def transplanted(net, run):
    """The weights of a run of the stax network in a network of another framework."""
    first, second, last = weights(run.parameters)
    of = {(3, 12): first, (12, 12): second, (12, 1): last}
    like = net.parameter_shapes(PIXELS)
    return ntr.Run.from_parameters(
        net, jax.tree.map(lambda leaf: of[leaf.shape], like), x_train=IMAGES, y_train=Y
    )  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [(ntr.from_flax, in_linen), (ntr.from_flax, in_nnx), (ntr.from_equinox, in_equinox)],
    ids=["linen", "nnx", "eqx"],
)
def test_one_network_in_three_frameworks(of_stax, stax_looked_at, make):
    framework, build = make
    net = framework(build, width=12, input_shape=SHAPE)
    norms, is_robust = looked_at(transplanted(net, of_stax))
    np.testing.assert_allclose(norms, stax_looked_at[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(is_robust, stax_looked_at[1])
    # It trains as any other.
    assert ntr.train(net, IMAGES, Y, seeds=2, steps=2).status.tolist() == ["budget", "budget"]


def test_state_is_refused():
    linen = pytest.importorskip("flax.linen")

    class Normed(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(1)(linen.BatchNorm(use_running_average=True)(x))

    with pytest.raises(ntr.InputError, match=r"state beside its parameters \(batch_stats\)"):
        ntr.train(ntr.from_flax(lambda width: Normed(), width=3), X, Y, seeds=2, steps=2)


def test_a_kernel_without_a_network_of_ours(of_stax):
    """GeneralEnsemble takes the network itself; its prior is that of many drawn networks."""
    from ntkrobust.kernels import GeneralEnsemble

    wide = ntr.from_stax(in_stax, width=256, input_shape=SHAPE)
    ensemble = GeneralEnsemble(wide, IMAGES, Y)
    drawn = ntr.train(wide, IMAGES, Y, seeds=64, steps=0)
    x = np.random.default_rng(5).standard_normal((4, PIXELS))
    squares = ntr.measure(drawn, x, ["jacobian_frobenius_sq"]).jacobian_frobenius_sq.isel(time=0)
    predicted = ensemble.at(0.0).gradient_second_moment(x)
    error = squares.std("seed") / np.sqrt(64)
    assert (abs(squares.mean("seed") - predicted) < 4 * error + 0.05 * predicted).all()
    assert not (abs(squares.mean("seed") - 1.5 * predicted) < 4 * error + 0.05 * predicted).all()


@pytest.mark.slow
def test_finite_networks_meet_the_kernel_as_width_grows():
    data = ntr.data.Dataset(
        IMAGES, Y[:, None], RNG.standard_normal((8, PIXELS)), np.ones((8, 1)), name="noise", task="regression"
    )
    comparison = ntr.compare(STAX, data, widths=[32, 64, 128, 256], n=N, points=8, seeds=64, steps=[0, 5, 20])
    print(comparison, comparison.to_dataframe())
    for one in comparison.document["values"]["times"]:
        assert one["label"] != "refuted", one


# --- modules as they are, without a width


def test_modules_are_taken_as_they_are():
    linen, nnx, eqx = (pytest.importorskip(name) for name in ("flax.linen", "flax.nnx", "equinox"))
    data = ntr.data.gaussian(n_train=6, n_test=3, d=4)

    class Linear(nnx.Module):
        def __init__(self, rngs):
            self.last = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x):
            return self.last(x)

    plain = linen.Dense(2)
    made = [
        (ntr.from_flax(plain, d_out=2), lambda key: plain.init(key, jnp.zeros((1, 4))), lambda p, x: plain.apply(p, x)),
        (ntr.from_flax(Linear, d_out=2), lambda key: Linear(nnx.Rngs(key)), lambda module, x: module(x)),
        (
            ntr.from_equinox(lambda key: eqx.nn.Linear(4, 2, key=key), d_out=2),
            lambda key: eqx.nn.Linear(4, 2, key=key),
            lambda module, x: jax.vmap(module)(x),
        ),
    ]
    y = np.array([[1.0, 0.0], [0.0, 1.0]] * 3)
    for net, draw, outputs in made:
        assert net.width is None
        assert ntr.train(net, data.x_train, y, seeds=2, steps=2).seeds == (0, 1)
        # What the framework hands out is what the run holds: its outputs are those of the framework.
        each = [draw(jax.random.key(seed)) for seed in range(2)]
        run = ntr.Run.from_parameters(net, each, x_train=data.x_train, y_train=y)
        for seed, one in enumerate(each):
            loss = 0.5 * np.sum((np.asarray(outputs(one, jnp.asarray(data.x_train, jnp.float32))) - y) ** 2)
            np.testing.assert_allclose(run.loss[seed, 0], loss, rtol=1e-5)
        with pytest.raises(InputError, match="has no width that could be changed"):
            net.at_width(8)
    swapped = ntr.Run.from_parameters(made[1][0], each_of(Linear, nnx, (1, 0)), x_train=data.x_train, y_train=y)
    straight = ntr.Run.from_parameters(made[1][0], each_of(Linear, nnx, (0, 1)), x_train=data.x_train, y_train=y)
    assert swapped.loss[0, 0] == straight.loss[1, 0] != straight.loss[0, 0]


def each_of(module, nnx, seeds):
    return [module(nnx.Rngs(seed)) for seed in seeds]


def test_what_could_become_a_network_is_told_how():
    linen, eqx = (pytest.importorskip(name) for name in ("flax.linen", "equinox"))
    data = ntr.data.gaussian(n_train=6, n_test=3, d=4)
    for given, way in (
        (linen.Dense(1), r"from_flax\(module, d_out=...\)"),
        (eqx.nn.Linear(4, 1, key=jax.random.key(0)), r"from_equinox\(lambda key"),
        (lambda parameters, x: x, r"from_function\(init, apply"),
    ):
        with pytest.raises(InputError, match=f"net must be a network, .*{way}"):
            ntr.train(given, data)
    with pytest.raises(InputError, match=r"y_train has 3 output column.*make it with d_out=3"):
        ntr.train(ntr.from_flax(linen.Dense(3)), data.x_train, np.eye(3)[[0, 1, 2, 0, 1, 2]])
