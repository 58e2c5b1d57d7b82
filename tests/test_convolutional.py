"""Convolutional and wide residual networks: the finite ones, their kernels, and the interface of all networks."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
import ntkrobust.finite.training.prepared as training
from ntkrobust import ConvNet, Initialization, InputError, WideResNet
from ntkrobust.finite.measures import empirical_kernel
from ntkrobust.finite.measures.measuring import measure_untrained
from ntkrobust.finite.training.checkpoints import Checkpoint
from ntkrobust.kernels import GeneralEnsemble, stax, stax_parameters
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.seeds import seed_keys

IMAGE = (5, 3, 2)
D = math.prod(IMAGE)
RNG = np.random.default_rng(20261126)
X = RNG.standard_normal((4, D)).astype(np.float32)
GAINS = Initialization.from_gains(1.5, 2.5, 0.7).with_alpha_times(3.0)
NETWORKS = [
    ConvNet(3, 4, IMAGE, d_out=2),
    ConvNet(3, 4, IMAGE, d_out=2, activation="erf", initialization=GAINS, parameterization="ntk", bias_std=0.4,
            pooling="flatten", kernel_size=5),
    WideResNet(6, 3, IMAGE, d_out=2, groups=2, bias_std=0.3, initialization=GAINS),
    WideResNet(4, 3, IMAGE, d_out=2, parameterization="ntk", pooling="flatten", activation="gelu"),
]  # fmt: skip
NAMES = ["convolutional", "convolutional, all fields", "two groups", "residual"]
NET = ConvNet(3, 4, IMAGE, activation="erf", bias_std=0.1)
Y = RNG.standard_normal((4, 1)).astype(np.float32)


def one_network(net, seed=0):
    """Parameters of one network, its function of points, and of its parameters and points."""
    parameters = jax.tree.map(lambda p: p[0], net.initialize(D, seed_keys(jax.random.key(seed), (0,))))
    model, scales = net.model(), net.layer_scales(D)
    return parameters, lambda x: model.outputs(scales, parameters, x), model, scales


# --- the same function, derivatives and law as in neural-tangents' terms


@pytest.mark.parametrize("net", NETWORKS, ids=NAMES)
def test_same_function_and_kernel_as_neural_tangents(net):
    parameters, f, model, scales = one_network(net)
    described = stax(net, D)
    theirs = stax_parameters(net, parameters)
    images = X.reshape(-1, *IMAGE)
    drawn = jax.eval_shape(lambda key: described.init_fn(key, images.shape)[1], jax.random.key(0))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, theirs)

    @jax.jit
    def all_of_it(theirs):
        jacobian = jax.jacrev(described.apply_fn)(theirs, images)
        rows = jnp.concatenate([leaf.reshape(len(X) * net.d_out, -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
        kernel = (rows @ rows.T).reshape(len(X), net.d_out, len(X), net.d_out)
        return described.apply_fn(theirs, images), kernel, f(X), model.kernel(scales, parameters, X)

    outputs, kernel, our_outputs, our_kernel = all_of_it(theirs)
    np.testing.assert_allclose(our_outputs, outputs, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(our_kernel, kernel, rtol=1e-4, atol=1e-4 * np.abs(kernel).max())
    # Images whose rows and columns are swapped are other images: the comparison sees an order that is wrong.
    swapped = X.reshape(-1, *IMAGE).swapaxes(1, 2).reshape(-1, D)
    assert not np.allclose(f(swapped), outputs, rtol=0.01)


@pytest.mark.parametrize("net", [NETWORKS[1], NETWORKS[3]], ids=NAMES[1::2])
def test_jacobian_is_the_slope(net):
    with jax.enable_x64(True):
        parameters, _, model, scales = one_network(net)
        parameters = jax.tree.map(lambda p: p.astype(np.float64), parameters)
        x, step = X[:2].astype(np.float64), 1e-4
        outputs = jax.jit(lambda x: model.outputs(scales, parameters, x))
        found = np.asarray(jax.jit(lambda x: model.jacobian(scales, parameters, x))(x))
        moved = x[:, None] + step * np.array([1.0, -1.0])[:, None, None, None] * np.eye(D)
        sides = np.asarray(outputs(moved.reshape(-1, D))).reshape(2, 2, D, -1)
        slopes = (sides[0] - sides[1]).swapaxes(1, 2) / (2 * step)
    np.testing.assert_allclose(found, slopes, rtol=1e-6, atol=1e-8)
    assert not np.allclose(found, 1.001 * slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("net", [NETWORKS[0], NETWORKS[2]], ids=NAMES[::2])
def test_untrained_networks_have_the_variance_of_the_kernel(net):
    # Exactly, at any width: given the layers before, z is Gaussian and E relu(z)² = Var(z)/2, which is linear in what
    # those layers give. Global averages also take products of two positions, which isn't.
    net, seeds = dataclasses.replace(net, pooling="flatten"), 2000
    squares = measure_untrained(net, X[:1], ["output_rms"], seeds=seeds).output_rms.to_numpy().astype(float) ** 2
    images = X[:1].reshape(-1, *IMAGE)
    expected = net.d_out * float(stax(net, D).kernel_fn(images, images, "nngp")[0, 0])
    error = squares.std(ddof=1) / seeds**0.5
    assert abs(squares.mean() - expected) < 4 * error
    assert abs(squares.mean() - 1.5 * expected) > 4 * error


# --- infinite width


def test_trained_ensembles_have_the_mean_of_the_closed_form():
    net = ConvNet(3, 64, IMAGE, activation="erf", initialization="lecun", parameterization="ntk")
    infinite = GeneralEnsemble(net, X, Y)
    time = 20 / infinite.conditioning.largest
    tests = RNG.standard_normal((6, D)).astype(np.float32)
    run = ntr.train(net, X, Y, seeds=64, steps=400, record_times=[time])
    model, scales = net.model(), net.layer_scales(D)
    outputs = np.array(
        jax.jit(jax.vmap(lambda p: model.outputs(scales, p, tests)))(run.parameters)[..., 0], dtype=np.float64
    )
    mean, error = outputs.mean(axis=0), outputs.std(axis=0, ddof=1) / len(outputs) ** 0.5
    predicted = infinite.at(time).mean(tests)[:, 0]
    other = dataclasses.replace(net, initialization=Initialization.from_gains(4.0, 4.0, 4.0))
    wrong = GeneralEnsemble(other, X, Y).at(time).mean(tests)[:, 0]
    print(mean, error, predicted, wrong)
    gap = 0.05 * np.abs(predicted).max()
    assert np.all(np.abs(mean - predicted) < 4 * error + gap)
    assert np.any(np.abs(mean - wrong) > 4 * error + gap)


def test_ensembles_of_networks_take_rows():
    net = ConvNet(2, 3, IMAGE, activation="erf", parameterization="ntk")
    of_rows = GeneralEnsemble(net, X, Y).at(np.inf)
    of_images = GeneralEnsemble(stax(net, D).kernel_fn, X.reshape(-1, *IMAGE), Y).at(np.inf)
    tests = RNG.standard_normal((2, D))
    np.testing.assert_allclose(of_rows.mean(tests), of_images.mean(tests.reshape(-1, *IMAGE)))
    gradient = of_rows.gradient_mean(tests)
    assert gradient.shape == (2, 1, D)
    step = 1e-5 * np.eye(D)[3]
    slope = (of_rows.mean(tests + step) - of_rows.mean(tests - step)) / 2e-5
    np.testing.assert_allclose(gradient[..., 3], slope, rtol=1e-6)
    with pytest.raises(InputError, match=r"must have shape \(30,\), got \(5, 3, 2\)"):
        of_rows.mean(tests.reshape(-1, *IMAGE))
    with pytest.raises(InputError, match=r"must have shape \(n, d\)"):
        GeneralEnsemble(net, X.reshape(-1, *IMAGE), Y)


# --- the interface of all networks


@pytest.fixture(scope="module")
def run():
    return ntr.train(NET, X, Y, seeds=5, steps=30, record_steps=[0, 30])


def test_training_lowers_the_loss(run):
    assert np.all(run.loss[:, 1] < 0.7 * run.loss[:, 0])
    assert len(run.parameters.weights) == 3


@pytest.mark.parametrize("plan", [Plan(2, 4), Plan(1, 2, streams=2)], ids=str)
def test_the_outcome_does_not_depend_on_the_plan(plan, run, monkeypatch):
    monkeypatch.setattr(training, "choose_plan", lambda *_: plan)
    other = ntr.train(NET, X, Y, seeds=[3, 1, 4], steps=30, record_steps=[0, 30])
    np.testing.assert_allclose(other.loss, run.loss[[3, 1, 4]], rtol=1e-5)
    assert not np.allclose(other.loss, run.loss[[1, 3, 4]], rtol=1e-2)
    for one, some in zip(jax.tree.leaves(run.parameters), jax.tree.leaves(other.parameters), strict=True):
        np.testing.assert_allclose(some, one[[3, 1, 4]], rtol=1e-4, atol=1e-5)


def test_large_images_are_worked_on_one_network_at_a_time():
    # Where patches are many, a product of one network keeps a core busy, and batched products are slower.
    assert choose_plan(ConvNet(3, 16, (8, 8, 1)), 64, 128).group == 1
    assert choose_plan(ConvNet(3, 2, (2, 2, 1)), 4, 8).group > 1


def test_measures(run):
    found = ntr.measure(run, X, ["perturbation_stability", "kernel_change", "lazy_ratio_per_layer"], y_test=Y)
    assert found.lazy_ratio_per_layer.shape == (5, 2, 3)
    assert np.all(found.kernel_change[:, 0] < 1e-5)
    assert np.all(found.kernel_change[:, 1] > 1e-3)
    assert found.perturbation_stability.dims == ("seed", "time", "point")
    kernels = ntr.empirical_ntk(run, X)
    relative = np.linalg.norm(kernels[:, 1] - kernels[:, 0], axis=(1, 3)) / np.linalg.norm(kernels[:, 0], axis=(1, 3))
    np.testing.assert_allclose(relative.ravel(), found.kernel_change[:, 1], rtol=1e-3)


def test_saved_and_loaded(run, tmp_path):
    nets = [NETWORKS[1], NETWORKS[2], NET]
    for net in nets:
        drawn = run if net is NET else ntr.train(net, X, np.repeat(Y, 2, 1), seeds=1, steps=0)
        drawn.save(tmp_path / "run.npz")
        loaded = ntr.Run.load(tmp_path / "run.npz")
        assert dataclasses.replace(loaded.net, initialization="he") == dataclasses.replace(net, initialization="he")
        assert loaded.net.layer_scales(D).weight_std.tolist() == net.layer_scales(D).weight_std.tolist()
        assert loaded.net.layer_scales(D).weight_gain.tolist() == net.layer_scales(D).weight_gain.tolist()
        for one, other in zip(jax.tree.leaves(drawn.snapshots), jax.tree.leaves(loaded.snapshots), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(loaded.initial_parameters().weights[0], drawn.snapshots[0].weights[0])


def test_ended_and_resumed(run, tmp_path, monkeypatch):
    class Ended(Exception):
        pass

    write = Checkpoint.write

    def ends(self, progress, held):
        write(self, progress, held)
        raise Ended

    def go(**changes):
        asked = {"seeds": 5, "steps": 30, "record_steps": [0, 30]} | changes
        return ntr.train(asked.pop("net", NET), X, Y, checkpoint=tmp_path / "run.npz", checkpoint_every=10, **asked)

    monkeypatch.setattr(Checkpoint, "write", ends)
    with pytest.raises(Ended):
        go()
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"a checkpoint of other arguments \(network\)"):
        go(net=dataclasses.replace(NET, image_shape=(3, 5, 2)))
    np.testing.assert_array_equal(go().loss, run.loss)


@pytest.mark.fast
def test_networks_print_as_the_code_that_makes_them():
    for net in NETWORKS[:1] + NETWORKS[3:]:
        assert eval(repr(net), {"ConvNet": ConvNet, "WideResNet": WideResNet}) == net
    assert repr(ConvNet(2, 3, (4, 4, 1))) == (
        "ConvNet(depth=2, width=3, image_shape=(4, 4, 1), activation='relu', initialization='he')"
    )


@pytest.mark.fast
def test_shapes_of_layers():
    net = WideResNet(10, 4, (7, 7, 3), groups=2)
    assert net.blocks == 2
    assert net.layer_shapes(147) == (
        (4, 27), *[(4, 36)] * 4, (8, 36), (8, 72), (8, 36), (8, 72), (8, 72), (1, 8)
    )  # fmt: skip
    assert net.count_parameters(147) == sum(a * b for a, b in net.layer_shapes(147))
    stds = np.array(net.weight_stds(147))
    fan_in = np.array([27, *[36] * 4, 36, 72, 36, 72, 72, 8])
    np.testing.assert_allclose(stds**2 * fan_in, 2.0)
    assert ConvNet(2, 3, (4, 5, 1), pooling="flatten").layer_shapes(20)[-1] == (1, 60)


# --- bounds


def test_lipschitz_upper_is_above_every_slope_and_needs_the_overlap_of_patches():
    found = measure_untrained(
        ConvNet(2, 3, IMAGE, activation="linear"), X[:1], ["lipschitz_upper", "jacobian_spectral"], seeds=20
    )
    assert np.all(found.jacobian_spectral.to_numpy()[:, 0] <= found.lipschitz_upper)
    net = WideResNet(6, 2, IMAGE, activation="linear", groups=2)
    for seed in range(5):
        parameters, _, model, scales = one_network(net, seed)
        norms = jnp.array([np.linalg.norm(weight, 2) for weight in parameters.weights], jnp.float32)
        slope = np.linalg.norm(model.jacobian(scales, parameters, X[:1]))
        upper = model.lipschitz_upper(scales.weight_gain, norms)
        assert slope <= upper < 1e4 * slope
    # Equal weights on a large image: every entry is in nine patches, and the norm of the convolution is nearly three
    # times that of its matrix.
    net = ConvNet(2, 1, (40, 40, 1), activation="linear", pooling="flatten")
    model, scales = net.model(), net.layer_scales(1600)
    ones = jax.tree.map(
        np.ones_like, jax.tree.map(lambda p: p[0], net.initialize(1600, seed_keys(jax.random.key(0), (0,))))
    )
    norms = jnp.array([np.linalg.norm(weight) for weight in ones.weights], jnp.float32)
    slope = np.linalg.norm(model.jacobian(scales, ones, np.ones((1, 1600), np.float32)))
    upper = float(model.lipschitz_upper(scales.weight_gain, norms))
    assert slope <= upper < 1.1 * slope
    assert slope > float(jnp.prod(norms))


@pytest.mark.parametrize("name", ["layer_spectral_norms", "norm_product_tightness"])
def test_measures_of_fully_connected_networks_are_refused(name):
    with pytest.raises(InputError, match=f"'{name}' is for fully connected networks"):
        measure_untrained(NET, X, [name], seeds=2)


def test_closed_forms_of_fully_connected_networks_are_refused():
    with pytest.raises(InputError, match="the network must be an MLP"):
        ntr.InfiniteEnsemble(NET, X, Y)
    with pytest.raises(InputError, match="the exact law is about fully connected networks"):
        ntr.exact_law(ConvNet(3, 4, IMAGE), D)


# --- what is refused


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"training 5 × ConvNet\(.*\) needs about .* GiB .* would not fit"):
        ntr.train(NET, X, Y, seeds=5, steps=3, memory_limit=1000)


def test_kernels_that_do_not_fit_are_refused(run, monkeypatch):
    derivatives = 4 * len(X) * NET.count_parameters(D)
    monkeypatch.setattr(empirical_kernel, "available_bytes", lambda: 2 * derivatives)
    assert ntr.empirical_ntk(run, X).shape == (5, 2, 4, 1, 4, 1)
    monkeypatch.setattr(empirical_kernel, "available_bytes", lambda: derivatives)
    with pytest.raises(InputError, match=r"kernels of shape \(5, 2, 4, 1, 4, 1\) need"):
        ntr.empirical_ntk(run, X)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ConvNet(3, 0, IMAGE), "width must be an integer of at least 1, got 0"),
        (lambda: ConvNet(3, None, IMAGE), "a convolutional network needs a width"),
        (lambda: ConvNet(1, 4, IMAGE), "depth must be an integer of at least 2"),
        (lambda: ConvNet(3, 4, IMAGE, kernel_size=4), "kernel_size must be odd.*got 4"),
        (lambda: ConvNet(3, 4, IMAGE, kernel_size=0), "kernel_size must be an integer of at least 1"),
        (lambda: ConvNet(3, 4, (5, 3)), r"image_shape must be \(height, width, channels\), got \(5, 3\)"),
        (lambda: ConvNet(3, 4, 8), "image_shape must be"),
        (lambda: ConvNet(3, 4, (5, 0, 1)), "each entry of image_shape must be an integer of at least 1, got 0"),
        (lambda: ConvNet(3, 4, IMAGE, pooling="max"), "pooling must be 'global_average' or 'flatten', got 'max'"),
        (lambda: ConvNet(3, 4, IMAGE, initialization="xavier"), "the initialization must be he, lecun or"),
        (lambda: ConvNet(3, 4, IMAGE, bias_std=-1), "bias_std must be None or a number that is not negative"),
        (lambda: WideResNet(5, 4, IMAGE), r"groups=1 has depth 2 \+ 2·groups·blocks, 4, 6, 8, …, got 5"),
        (lambda: WideResNet(2, 4, IMAGE), "got 2"),
        (lambda: WideResNet(6, 4, IMAGE, groups=0), "groups must be an integer of at least 1"),
        (lambda: ntr.train(NET, X[:, :29], Y), r"images of shape \(5, 3, 2\), flattened to 30 numbers.*have 29"),
        (lambda: measure_untrained(NET, X[:, :29], seeds=2), "flattened to 30 numbers, and the inputs have 29"),
        (lambda: ntr.train(NET, X, np.repeat(Y, 2, 1)), "d_out=1"),
        (lambda: GeneralEnsemble(NET, X[:, :29], Y), "flattened to 30 numbers, and the inputs have 29"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)
