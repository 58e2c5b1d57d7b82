"""Optimizers, minibatches and losses: against plain optax loops on one network; what recompiles; what is refused."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntkrobust import MLP, InputError, Run, train
from ntkrobust.finite.training.losses import check_loss, total_loss, zero_loss
from ntkrobust.finite.training.segments import epoch_order
from ntkrobust.networks.parameters import Parameters, forward
from ntkrobust.runtime.seeds import order_keys, seed_keys, typed_keys

N, D, OUT = 10, 3, 2
RNG = np.random.default_rng(20261122)
X, Y = RNG.normal(size=(N, D)).astype(np.float32), RNG.normal(size=(N, OUT)).astype(np.float32)
ONE_HOT = np.eye(OUT, dtype=np.float32)[RNG.integers(OUT, size=N)]
SIGNS = np.sign(RNG.normal(size=(N, 1))).astype(np.float32)
NET = MLP(depth=3, width=8, d_out=OUT, activation="tanh", bias_std=0.3)
STEPS = 20
# float32: some dozen roundings of 6e-8 in each of 20 small steps, as programs add in another order
FLOAT32 = 1e-5


def squared(outputs, y):
    return 0.5 * jnp.sum((outputs - y) ** 2)


def softmax(outputs, y):
    return jnp.sum(optax.softmax_cross_entropy(outputs, y))


def logistic(outputs, y):
    return jnp.sum(optax.sigmoid_binary_cross_entropy(outputs, (y + 1) / 2))


def one(parameters: Parameters, seed: int) -> Parameters:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[seed]), parameters)


def plain(run: Run, seed: int, transformation, steps: int = STEPS, loss=squared, batches=None) -> Parameters:
    """Parameters of one network after a loop written with optax alone."""
    scales = run.net.layer_scales(D)
    x, y = jnp.asarray(run.x_train), jnp.asarray(run.y_train)
    parameters = one(run.initial_parameters(), seed)
    state = transformation.init(parameters)

    @jax.jit
    def step(parameters, state, rows):
        def objective(parameters):
            outputs = forward(run.net.phi, scales, parameters, x[rows])
            return len(x) / len(rows) * loss(outputs, y[rows])

        updates, state = transformation.update(jax.grad(objective)(parameters), state, parameters)
        return optax.apply_updates(parameters, updates), state

    for k in range(steps):
        parameters, state = step(parameters, state, jnp.arange(len(x)) if batches is None else batches(k))
    return parameters


def distance(run: Run, seed: int, expected: Parameters) -> float:
    """‖θ − θ'‖/‖θ_0‖."""
    pairs = zip(jax.tree.leaves(one(run.parameters, seed)), jax.tree.leaves(expected), strict=True)
    size = math.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(one(run.initial_parameters(), seed))))
    return math.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs)) / size


def go(net=NET, y=Y, **changes) -> Run:
    return train(net, X, y, **({"seeds": 2, "steps": STEPS, "record_steps": [0, STEPS]} | changes))


RATE = 0.01
COSINE = optax.cosine_decay_schedule(0.01, STEPS)
LION, DECAYED = optax.lion(1.0), optax.add_decayed_weights

# What is asked for, the same in optax, and the same with a wrong constant.
CASES = {
    "momentum": ({"optimizer": "momentum"}, optax.sgd(RATE, 0.9), optax.sgd(RATE, 0.89)),
    "adam": ({"optimizer": "adam"}, optax.adam(RATE), optax.adam(RATE, b2=0.998)),
    "adam-decay": (
        {"optimizer": "adam", "weight_decay": 0.1},
        optax.adamw(RATE, weight_decay=0.1),
        optax.adamw(RATE, weight_decay=0.101),
    ),
    "gd-decay": (
        {"optimizer": "gd", "weight_decay": 0.1},
        optax.chain(DECAYED(0.1), optax.sgd(RATE)),
        optax.chain(DECAYED(0.101), optax.sgd(RATE)),
    ),
    "momentum-decay": (
        {"optimizer": "momentum", "weight_decay": 0.1},
        optax.chain(DECAYED(0.1), optax.sgd(RATE, 0.9)),
        optax.chain(optax.sgd(RATE, 0.9), DECAYED(0.1)),
    ),
    "own": ({"optimizer": LION}, optax.lion(RATE), optax.lion(1.01 * RATE)),
    "gd-schedule": (
        {"optimizer": "gd", "learning_rate": COSINE},
        optax.sgd(COSINE),
        optax.sgd(lambda k: COSINE(k + 1)),
    ),
    "adam-schedule": ({"optimizer": "adam", "learning_rate": COSINE}, optax.adam(COSINE), optax.adam(RATE)),
}


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_optax(case):
    asked, right, wrong = CASES[case]
    run = go(**({"learning_rate": RATE} | asked))
    assert run.step[:, -1].tolist() == [STEPS, STEPS]
    assert distance(run, 1, plain(run, 1, right)) < FLOAT32
    assert distance(run, 1, plain(run, 1, wrong)) > 2 * FLOAT32


# Deep networks are carried stacked, except by a transformation that looks at each layer by itself. Eleven layers make
# more of a rounding than three.
DEEP_FLOAT32 = 1e-4
BY_LAYER = optax.clip_by_block_rms(0.01)
DEEP_CASES = {
    "momentum-decay": CASES["momentum-decay"],
    "adam": ({"optimizer": "adam"}, optax.adam(RATE), optax.adam(RATE, b2=0.99)),
    "own": (
        {"optimizer": optax.chain(BY_LAYER, optax.sgd(1.0))},
        optax.chain(BY_LAYER, optax.sgd(RATE)),
        optax.chain(optax.clip_by_block_rms(0.011), optax.sgd(RATE)),
    ),
}


@pytest.mark.parametrize("case", DEEP_CASES)
@pytest.mark.parametrize("bias_std", [None, 0.3])
def test_steps_of_deep_networks_are_those_of_optax(case, bias_std):
    asked, right, wrong = DEEP_CASES[case]
    run = go(dataclasses.replace(NET, depth=11, bias_std=bias_std), **({"learning_rate": RATE} | asked))
    assert distance(run, 1, plain(run, 1, right)) < DEEP_FLOAT32
    assert distance(run, 1, plain(run, 1, wrong)) > 2 * DEEP_FLOAT32


def test_what_a_run_says_of_its_time():
    gd = go(learning_rate=COSINE)
    np.testing.assert_allclose(gd.time[:, -1], sum(float(COSINE(k)) for k in range(STEPS)), rtol=FLOAT32)
    assert np.all(np.isnan(gd.learning_rate))
    adam = go(optimizer="adam", learning_rate=RATE, batch_size=3)
    np.testing.assert_array_equal(adam.time, [[0.0, np.nan]] * 2)
    assert (adam.optimizer, adam.batch_size, gd.optimizer, gd.batch_size) == ("adam", 3, "gd", None)
    assert go(optimizer=LION, learning_rate=RATE).optimizer == "own"


# --- minibatches


def orders(run: Run, seed: int, epochs: int) -> np.ndarray:
    key = typed_keys(order_keys(seed_keys(run.key, run.seeds), run.net.layer_shapes(D)))[seed]
    return np.array([epoch_order(key, epoch, N) for epoch in range(epochs)])


@pytest.mark.parametrize(("size", "depth"), [(3, 3), (5, 3), (N, 3), (3, 11)])
def test_minibatches(size, depth):
    net = dataclasses.replace(NET, depth=depth)
    run = go(net, optimizer="momentum", learning_rate=0.003, batch_size=size)
    per_epoch = N // size
    order = orders(run, 1, STEPS // per_epoch + 1)

    def rows(k, order=order):
        epoch, batch = divmod(k, per_epoch)
        return order[epoch][batch * size : (batch + 1) * size]

    momentum = optax.sgd(0.003, 0.9)
    assert distance(run, 1, plain(run, 1, momentum, batches=rows)) < FLOAT32
    if size < N:
        others = orders(run, 0, STEPS // per_epoch + 1)
        assert distance(run, 1, plain(run, 1, momentum, batches=lambda k: rows(k, others))) > 100 * FLOAT32
    # the loss is that of all samples
    outputs = forward(net.phi, net.layer_scales(D), one(run.parameters, 1), X)
    assert run.loss[1, -1] == pytest.approx(float(squared(outputs, Y)), rel=FLOAT32)


def test_an_epoch_sees_each_sample_once_in_an_order_of_its_own():
    run = go(steps=0, record_steps=None)
    order = np.array([orders(run, seed, 6) for seed in range(2)])
    np.testing.assert_array_equal(np.sort(order), np.tile(np.arange(N), (2, 6, 1)))
    assert len({tuple(row) for row in order.reshape(-1, N)}) == 12
    # other widths draw other orders
    keys = seed_keys(run.key, run.seeds)
    wider = typed_keys(order_keys(keys, dataclasses.replace(NET, width=9).layer_shapes(D)))
    assert not np.array_equal(epoch_order(wider[0], 0, N), order[0, 0])


def test_records_within_an_epoch_change_nothing():
    asked = {"optimizer": "adam", "learning_rate": RATE, "batch_size": 3}
    few, many = go(**asked), go(**asked, record_steps=range(STEPS + 1))
    for a, b in zip(jax.tree.leaves(few.parameters), jax.tree.leaves(many.parameters), strict=True):
        np.testing.assert_array_equal(a, b)


def test_loss_levels_are_looked_at_once_per_epoch():
    asked = {"learning_rate": 0.01, "batch_size": 3, "steps": 600}
    curve = go(**asked, record_steps=range(601))
    run = go(**asked, record_steps=None, record_losses=[0.4])
    for seed in range(2):
        epochs = np.flatnonzero(curve.loss[seed, ::3] <= np.float32(0.4 * zero_loss("squared", Y)))
        assert run.step[seed, 0] == 3 * epochs[0]
        assert run.step[seed, 0] > 0
        assert run.loss[seed, 0] == curve.loss[seed, run.step[seed, 0]]
    assert set(run.status) == {"converged"}


# --- cross entropy

LOSSES = {"squared": ("squared", Y, squared), "softmax": ("cross_entropy", ONE_HOT, softmax)}
LOSSES |= {"logistic": ("cross_entropy", SIGNS, logistic)}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients(name):
    loss, y, reference = LOSSES[name]
    outputs = jnp.asarray(RNG.normal(size=y.shape), jnp.float32)
    ours, theirs = (
        jax.value_and_grad(function)(outputs)
        for function in (lambda f: total_loss(loss, f, y), lambda f: reference(f, y))
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)
    assert not np.allclose(ours[1], np.array(theirs[1]) * 2, atol=1e-6)
    assert zero_loss(loss, y) == pytest.approx(float(reference(jnp.zeros_like(outputs), y)), rel=1e-6)


@pytest.mark.parametrize("name", ["softmax", "logistic"])
def test_training_by_cross_entropy(name):
    loss, y, reference = LOSSES[name]
    net = dataclasses.replace(NET, d_out=y.shape[1])
    run = go(net, y, loss=loss, learning_rate=0.05)
    assert run.objective == "cross_entropy"
    assert distance(run, 1, plain(run, 1, optax.sgd(0.05), loss=reference)) < FLOAT32
    assert distance(run, 1, plain(run, 1, optax.sgd(0.05 * 1.01), loss=reference)) > 2 * FLOAT32
    # levels are fractions of n log 2, the loss of f = 0 for two classes
    stopped = go(net, y, loss=loss, learning_rate=0.05, steps=2000, record_steps=None, record_losses=[0.5])
    assert set(stopped.status) == {"converged"}
    assert np.all(stopped.loss <= 0.5 * N * np.log(2))
    assert np.all(stopped.loss > 0.45 * N * np.log(2))


# --- programs


def compilations(action) -> int:
    count = []

    def listen(event: str, *_, **__) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            count.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        action()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return len(count)


@pytest.mark.parametrize("changes", [{}, {"batch_size": 3}], ids=["full", "batches"])
def test_rates_steps_and_decay_never_recompile(changes):
    asked = {"optimizer": "adam", "learning_rate": RATE, "weight_decay": 0.1} | changes
    go(**asked)
    others = {"learning_rate": 0.003, "weight_decay": 0.0, "steps": 7, "record_steps": [2, 7]}
    assert compilations(lambda: go(**(asked | others))) == 0
    # the order of three epochs that no test asked for is another program, and is counted
    assert compilations(lambda: go(**(asked | {"batch_size": 4 if changes else 7}))) > 0


def test_the_tolerance_never_recompiles():
    asked = {"optimizer": "gradient_flow", "record_steps": None, "record_times": [0.1, 0.2]}
    go(**asked)
    assert compilations(lambda: go(**(asked | {"tolerance": 0.01, "steps": 300, "record_times": [0.3]}))) == 0


def test_the_double_precision_flag_changes_nothing():
    asked = {"optimizer": "adam", "learning_rate": COSINE, "batch_size": 3}
    before = go(**asked)
    with jax.enable_x64(True):
        after = go(**asked)
    for a, b in zip(jax.tree.leaves(before.parameters), jax.tree.leaves(after.parameters), strict=True):
        assert b.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=FLOAT32)


# --- files


def test_runs_keep_what_training_was(tmp_path):
    path = tmp_path / "run.npz"
    run = go(y=ONE_HOT, optimizer="adam", learning_rate=RATE, batch_size=3, weight_decay=0.1, loss="cross_entropy")
    run.save(path)
    loaded = Run.load(path)
    for name in ("optimizer", "objective", "batch_size", "weight_decay", "tolerance", "flow_time"):
        assert getattr(loaded, name) == getattr(run, name)
    scheduled = go(learning_rate=COSINE)
    scheduled.save(path)
    np.testing.assert_array_equal(Run.load(path).time, scheduled.time)
    # a file from before there was anything but gradient descent
    go(learning_rate=RATE).save(path)
    with np.load(path) as file:
        stored = {name: file[name] for name in file.files}
    described = json.loads(str(stored["description"]))
    for name in ("optimizer", "objective", "batch_size", "weight_decay", "tolerance"):
        del described[name]
    np.savez(path, **(stored | {"description": np.array(json.dumps(described))}))
    old = Run.load(path)
    assert (old.optimizer, old.objective, old.batch_size) == ("gd", "squared", None)
    np.testing.assert_allclose(old.time[:, -1], STEPS * RATE)


# --- bad input


def broken():
    def update(updates, state, params=None):
        raise RuntimeError("no such thing")

    return optax.GradientTransformation(lambda params: (), update)


BAD = {
    "optimizer": ({"optimizer": "sgd"}, "optimizer must be one of 'gd', .* got 'sgd'"),
    "class": ({"optimizer": optax.adam}, "optimizer must be one of"),
    "auto": ({"optimizer": "adam", "learning_rate": "auto"}, "'auto' is for gradient descent and gradient flow"),
    "auto-own": ({"optimizer": LION, "learning_rate": "auto"}, "give an optax transformation a number or a schedule"),
    "broken": ({"optimizer": broken()}, "the optax transformation fails: RuntimeError: no such thing"),
    "schedule": ({"learning_rate": lambda k: -1.0 * k}, "finite rates that are not negative, got -1.0 at 1"),
    "schedule-shape": ({"learning_rate": lambda k: jnp.ones(2)}, r"one learning rate per step, got shape \(2,\)"),
    "schedule-fails": ({"learning_rate": lambda k: 1 / 0}, "the schedule of learning rates fails: ZeroDivisionError"),
    "schedule-times": ({"learning_rate": COSINE, "record_times": [1.0]}, "record_times asks for gradient-flow times"),
    "adam-times": ({"optimizer": "adam", "record_kernel_times": [1.0]}, "record_kernel_times asks for gradient-flow"),
    "flow-schedule": ({"optimizer": "gradient_flow", "learning_rate": COSINE}, "no steps of its own to schedule"),
    "flow-steps": ({"optimizer": "gradient_flow"}, "recorded by record_times, record_kernel_times or record_losses"),
    "flow-batches": ({"optimizer": "gradient_flow", "batch_size": 2}, "full loss: batch_size must be None"),
    "flow-decay": ({"optimizer": "gradient_flow", "weight_decay": 0.1}, "weight_decay must be 0"),
    "own-decay": ({"optimizer": LION, "weight_decay": 0.1}, "put weight decay into the transformation"),
    "decay": ({"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
    "tolerance": ({"tolerance": 0}, "tolerance must lie strictly between 0 and 1, got 0"),
    "batch-zero": ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    "batch-large": ({"batch_size": 11}, "batch_size must be at most the 10 training points, got 11"),
    "loss": ({"loss": "hinge"}, "loss must be one of 'squared', 'cross_entropy', got 'hinge'"),
    "targets": ({"loss": "cross_entropy"}, "takes rows of class probabilities, but row 0 of y_train"),
}


@pytest.mark.fast
@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    changes, sentence = BAD[name]
    with pytest.raises(InputError, match=sentence):
        train(NET, X, Y, **({"seeds": 2, "steps": 20, "learning_rate": RATE} | changes))


@pytest.mark.fast
def test_targets_of_cross_entropy():
    with pytest.raises(InputError, match=r"takes targets ±1, got 0\.5"):
        check_loss("cross_entropy", np.array([[1.0], [0.5]]))
    with pytest.raises(InputError, match="row 1"):
        check_loss("cross_entropy", np.array([[1.0, 0.0], [1.5, -0.5]]))
    assert check_loss("cross_entropy", np.array([[0.25, 0.75]])) == "cross_entropy"
