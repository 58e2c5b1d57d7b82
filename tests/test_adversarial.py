"""Adversarial training: objectives against closed forms and direct formulas; digits; what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_optimizers import compilations

import ntkrobust as ntr
import ntkrobust.finite.training.prepared as training
import ntkrobust.runtime.seeds as random_keys
from ntkrobust import MLP, Adversary, InputError, Run
from ntkrobust.domain import Domain
from ntkrobust.finite.attacks import balls
from ntkrobust.finite.training import width_adjusted
from ntkrobust.finite.training.checkpoints import Checkpoint
from ntkrobust.finite.training.held_out import EVALUATION
from ntkrobust.finite.training.memory import TrainingArrays, training_memory
from ntkrobust.finite.training.objectives import Objective, Regularizer, divergence
from ntkrobust.finite.training.width_adjusted import next_guess
from ntkrobust.networks.parameters import forward, outputs_in_columns
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.seeds import attack_keys, seed_keys, typed_keys

OPTIMIZED = True

N, D, OUT = 10, 3, 2
RNG = np.random.default_rng(20261126)
X = RNG.normal(size=(N, D)).astype(np.float32)
ONE_HOT = np.eye(OUT, dtype=np.float32)[RNG.integers(OUT, size=N)]
NET = MLP(depth=2, width=8, d_out=OUT, activation="tanh", bias_std=0.3)
STEPS = 20
# float32: some dozen roundings of 6e-8 in each of 20 small steps, as programs add in another order
FLOAT32 = 1e-5
PGD = Adversary(0.2)
HOW = {"seeds": 2, "steps": STEPS, "record_steps": [0, STEPS], "learning_rate": 0.05, "loss": "cross_entropy"}


def go(net=NET, y=ONE_HOT, **changes) -> Run:
    return ntr.train(net, X, y, **(HOW | changes))


def apart(a: Run, b: Run) -> float:
    """Largest difference between parameters at the last record."""
    pairs = zip(jax.tree.leaves(a.parameters), jax.tree.leaves(b.parameters), strict=True)
    return max(float(np.max(np.abs(one - other))) for one, other in pairs)


# --- the objective


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 3}], ids=str)
def test_no_strength_is_natural_training(changes):
    natural = go(**changes)
    for adversary in (dataclasses.replace(PGD, strength=0.0), Adversary(0.2, 0.0, objective="trades")):
        none = go(adversary=adversary, **changes)
        assert apart(none, natural) == 0
        np.testing.assert_array_equal(none.loss, natural.loss)
        assert none.adversary == adversary
    # the program that attacks, where the attack does not count
    assert apart(go(adversary=dataclasses.replace(PGD, strength=1e-9), **changes), natural) < FLOAT32
    assert apart(go(adversary=dataclasses.replace(PGD, strength=0.1), **changes), natural) > 100 * FLOAT32


DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("norm", DUAL)
def test_the_worst_loss_of_a_linear_network(norm, loss):
    """f = w·x: the worst of softplus(−yf) is softplus(−yf + ε‖w‖*), that of ½(f − y)² is ½(|f − y| + ε‖w‖*)²."""
    epsilon = 0.3
    y = np.where(X[:, :1] > 0, 1.0, -1.0) if loss == "cross_entropy" else np.full((N, 1), 9.0)
    run = ntr.train(MLP(2, 8, 1, "linear"), X, y, seeds=3, steps=0, loss=loss)
    found = ntr.objective_parts(run, X, y, adversary=Adversary(epsilon, norm=norm, steps=12, step_size=epsilon))
    scales = run.net.layer_scales(D)
    w = np.einsum("sm,smd->sd", run.parameters.weights[1][:, 0], run.parameters.weights[0]) * scales.weight_gain[-1]
    f = (w @ X.T)[..., None]

    def parts(dual: float) -> tuple[np.ndarray, np.ndarray]:
        rise = epsilon * np.linalg.norm(w, dual, axis=1)[:, None, None]
        if loss == "squared":
            natural, worst = 0.5 * (f - y) ** 2, 0.5 * (np.abs(f - y) + rise) ** 2
        else:
            natural, worst = np.logaddexp(0, -y * f), np.logaddexp(0, -y * f + rise)
        return natural.mean(axis=(1, 2)), (worst - natural).mean(axis=(1, 2))

    natural, regularization = parts(DUAL[norm])
    np.testing.assert_allclose(found.natural[:, 0], natural, rtol=1e-5)
    np.testing.assert_allclose(found.regularization[:, 0], regularization, rtol=1e-3)
    for other in set(DUAL.values()) - {DUAL[norm]}:
        assert np.all(np.abs(found.regularization[:, 0] / parts(other)[1] - 1) > 0.03)


def pieces(adversary: Adversary, net: MLP = NET, loss: str = "cross_entropy", y: np.ndarray = ONE_HOT):
    """Objective, what all networks share and what is one's own, for the first network."""
    run = go(net, y, steps=0, record_steps=None, loss=loss)
    shared = {"scales": net.layer_scales(D), "x": X, "y": y, "adversary": adversary.numbers(Domain(D))}
    key = typed_keys(attack_keys(seed_keys(run.key, run.seeds), net.layer_shapes(D)))[0]
    parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), run.parameters)
    objective = Objective(net.model(), loss, Regularizer.of(adversary))
    return objective, shared, {"parameters": parameters, "attack": key}


def tanh_network(parameters, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f(x) (n, o) and J(x) (n, o, d) of one two-layer network in standard parameterization, in numpy."""
    (first, last), (b_first, b_last) = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tuple(parameters))
    hidden = np.tanh(x @ first.T + b_first)
    return hidden @ last.T + b_last, np.einsum("om,nm,md->nod", last, 1 - hidden**2, first)


def log_softmax(f: np.ndarray) -> np.ndarray:
    return f - np.log(np.exp(f).sum(axis=1, keepdims=True))


def directly(kind: str, parameters, attacked: np.ndarray, swapped: bool = False) -> tuple[float, float]:
    """Both parts, sums over samples, in float64; ``swapped``: another regularization, that has to be told apart."""
    (f, jacobian), (g, _) = tanh_network(parameters, X.astype(np.float64)), tanh_network(parameters, attacked)
    natural = -np.sum(ONE_HOT * log_softmax(f))
    if kind == "generalized":
        return natural, -np.sum(ONE_HOT * log_softmax(g)) - (0 if swapped else natural)
    if kind == "jacobian":
        return natural, np.sum(jacobian**2) if not swapped else np.sum(np.sqrt(np.sum(jacobian**2, axis=(1, 2))))
    p, q = (log_softmax(g), log_softmax(f)) if swapped else (log_softmax(f), log_softmax(g))
    return natural, np.sum(np.exp(p) * (p - q))


@pytest.mark.parametrize("kind", ["generalized", "trades", "jacobian"])
def test_objectives_and_their_gradients(kind):
    """Parts by numpy; gradients by central differences with the attack held fixed."""
    adversary = Adversary(0.3, 0.7, objective=kind, norm="l2", steps=3)
    objective, shared, one = pieces(adversary)
    step = jnp.int32(5)
    parameters = one["parameters"]
    key = jax.random.fold_in(one["attack"], step)
    attacked = X.T if kind == "jacobian" else jax.jit(objective.attacked)(shared, parameters, X, ONE_HOT, key)
    attacked = np.asarray(attacked, np.float64).T
    if kind != "jacobian":
        assert np.all(np.linalg.norm(attacked - X, axis=1) <= 0.3 * (1 + 1e-5))
    parts = jax.jit(objective.parts)(shared, parameters, X, ONE_HOT, key)
    np.testing.assert_allclose(parts, directly(kind, parameters, attacked), rtol=1e-4, atol=1e-5)
    assert abs(parts[1] - directly(kind, parameters, attacked, swapped=True)[1]) > 1e-3 * abs(parts[1])

    value, gradient = jax.jit(jax.value_and_grad(functools.partial(objective.at_step, shared, one)))(parameters, step)
    assert float(value) == pytest.approx(float(parts[0] + 0.7 * parts[1]), rel=1e-5)
    generator = np.random.default_rng(0)
    direction = jax.tree.map(lambda leaf: generator.normal(size=leaf.shape), parameters)

    def along(h: float, strength: float) -> float:
        moved = jax.tree.map(lambda leaf, way: np.asarray(leaf, np.float64) + h * way, parameters, direction)
        natural, regularization = directly(kind, moved, attacked)
        return natural + strength * regularization

    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, way: float(np.sum(g * way)), gradient, direction)))
    # float32 gradients: 1e-4 of their size; differences of step 1e-5 in float64 are exact to 1e-8
    size = float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient))))
    assert abs(slope - (along(1e-5, 0.7) - along(-1e-5, 0.7)) / 2e-5) < 1e-4 * size
    assert abs(slope - (along(1e-5, 0.6) - along(-1e-5, 0.6)) / 2e-5) > 1e-3 * size


@pytest.mark.fast
def test_divergences():
    f, g = RNG.normal(size=(2, N, 1)).astype(np.float32)
    p, q = 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-g))
    coins = np.sum(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert float(divergence("cross_entropy", f, g)) == pytest.approx(coins, rel=1e-4)
    assert float(divergence("cross_entropy", g, f)) != pytest.approx(coins, rel=1e-2)
    assert float(divergence("squared", f, g)) == pytest.approx(0.5 * np.sum((f - g) ** 2), rel=1e-5)


def test_steps_are_those_of_a_plain_loop():
    """The whole of a training step by step, with attacks written here, from the same keys."""
    adversary = Adversary(0.2, 0.5, steps=3, step_size=0.1, bounds=(-3.0, 3.0))
    run = go(adversary=adversary)
    scales = NET.layer_scales(D)
    key = typed_keys(attack_keys(seed_keys(run.key, run.seeds), NET.layer_shapes(D)))[1]
    ball = balls.Ball.around(jnp.asarray(X), jnp.float32(0.2), jnp.float32(-3), jnp.float32(3))

    def loss(parameters, x):
        return -jnp.sum(ONE_HOT * jax.nn.log_softmax(forward(NET.phi, scales, parameters, x)))

    @jax.jit
    def step(parameters, k, strength):
        x = balls.random_point("linf", ball, jax.random.fold_in(key, k))
        for _ in range(3):
            x = balls.project("linf", ball, x + 0.1 * jnp.sign(jax.grad(loss, 1)(parameters, x.T)).T)
        gradient = jax.grad(lambda p: (1 - strength) * loss(p, X) + strength * loss(p, x.T))(parameters)
        return jax.tree.map(lambda p, g: p - 0.05 * g, parameters, gradient)

    def distance(strength: float) -> float:
        parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), run.initial_parameters())
        for k in range(STEPS):
            parameters = step(parameters, k, strength)
        pairs = zip(jax.tree.leaves(parameters), jax.tree.leaves(run.parameters), strict=True)
        return max(float(np.max(np.abs(ours - theirs[1]))) for ours, theirs in pairs)

    assert distance(0.5) < FLOAT32
    assert distance(0.51) > 10 * FLOAT32


# --- segments, checkpoints, plans, programs

BATCHES = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 3}


class Ended(Exception):
    pass


@pytest.mark.parametrize("changes", [{}, BATCHES], ids=["full", "batches"])
def test_how_training_is_cut_changes_nothing(changes, tmp_path, monkeypatch):
    asked = {"adversary": PGD, **changes}
    whole, path = go(**asked), tmp_path / "run.npz"
    assert apart(go(**asked, record_steps=[0, 7, STEPS]), whole) == 0
    write = Checkpoint.write

    def writes_and_ends(self, progress, held):
        write(self, progress, held)
        raise Ended

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "write", writes_and_ends)
        with pytest.raises(Ended):
            go(**asked, checkpoint=path, checkpoint_every=6)
    resumed = go(**asked, checkpoint=path, checkpoint_every=4)
    assert apart(resumed, whole) == 0
    np.testing.assert_array_equal(resumed.loss, whole.loss)
    with pytest.raises(InputError, match=r"other arguments \(adversary\)"):
        go(**(asked | {"adversary": dataclasses.replace(PGD, epsilon=0.21)}), checkpoint=path)
    with pytest.raises(InputError, match=r"other arguments \(adversary\)"):
        go(**(asked | {"adversary": None}), checkpoint=path)
    # one seed after the other, and a network alone
    monkeypatch.setattr(training, "choose_plan", lambda *_: Plan(1, 1))
    assert apart(go(**asked), whole) < FLOAT32
    alone = go(**asked, seeds=[1])
    np.testing.assert_allclose(alone.parameters.weights[0][0], whole.parameters.weights[0][1], atol=FLOAT32)
    # networks differ, and so do attacks from other keys
    assert np.max(np.abs(whole.parameters.weights[0][0] - whole.parameters.weights[0][1])) > 100 * FLOAT32
    monkeypatch.setattr(random_keys, "ATTACK_INDEX", random_keys.ATTACK_INDEX + 1)
    assert apart(go(**asked), whole) > 10 * FLOAT32


def test_batches_of_all_samples_are_full_batches():
    # the order of the samples differs, and with it their random starts, if there are any
    certain = Adversary(0.2, 0.5, random_start=False)
    full, batches = (go(adversary=certain, batch_size=size, weight_decay=0.1) for size in (None, N))
    assert apart(full, batches) < FLOAT32
    np.testing.assert_allclose(batches.loss, full.loss, rtol=1e-5)
    other = go(adversary=dataclasses.replace(certain, strength=0.51), weight_decay=0.1)
    assert apart(full, other) > 10 * FLOAT32


def test_strength_radius_and_step_never_recompile():
    go(adversary=PGD)
    other = Adversary(0.1, 3.0, step_size=0.03, bounds=(-4.0, 4.0))
    assert compilations(lambda: go(adversary=other)) == 0
    assert compilations(lambda: go(adversary=dataclasses.replace(other, steps=6))) > 0


def test_an_automatic_rate_levels_and_divergence():
    automatic = go(adversary=PGD, learning_rate="auto")
    assert np.all(automatic.loss[:, -1] < automatic.loss[:, 0])
    levels = go(adversary=PGD, record_steps=None, record_losses=[0.9, 0.8], steps=500)
    assert set(levels.status) == {"converged"}
    assert np.all(levels.loss <= np.float32([0.9, 0.8]) * N * np.log(2))
    lost = go(adversary=PGD, learning_rate=1e9, batch_size=5, optimizer="momentum")
    assert set(lost.status) == {"diverged"}


@pytest.mark.fast
def test_memory_counts_what_is_attacked():
    net, plan = MLP(2, 8), Plan(1, 1)
    once, twice, jacobian = (
        training_memory(net, 100, 5000, 1, 1, plan, TrainingArrays(repeats=repeats))
        for repeats in (1, Regularizer.of(PGD).repeats(1), Regularizer("jacobian").repeats(3))
    )
    points = 4 * 5000 * 100
    assert twice.group - once.group > points
    assert jacobian.group - twice.group > points
    assert once.kept == twice.kept


# --- digits


@functools.cache
def digits():
    data = ntr.data.load("digits-classes:pixel")
    return data.x_train[:300], data.y_train[:300], data.x_test[:200], data.y_test[:200]


RADII = {"linf": 0.1, "l2": 0.5}
SEEDS = 8


@functools.cache
def trained(adversary: Adversary | None, width: int = 32) -> Run:
    x, y, x_test, y_test = digits()
    return ntr.train(
        MLP(2, width, 10), x, y, seeds=SEEDS, steps=200, record_steps=(0, 20, 200), loss="cross_entropy",
        optimizer="adam", learning_rate=3e-3, adversary=adversary, validation=(x_test, y_test),
    )  # fmt: skip


def attacked_shares(run: Run, norm: str, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares (seed,) of test points that are right, and whose class stays, under projected ascent."""
    _, _, x, y = digits()
    scales, x = run.net.layer_scales(x.shape[1]), jnp.asarray(x, jnp.float32)
    ball = balls.Ball.around(x, jnp.float32(epsilon), jnp.float32(0), jnp.float32(1))

    def of_one(parameters):
        def outputs(x):
            return outputs_in_columns(run.net.phi, scales, parameters, x)

        predicted = jnp.argmax(outputs(x.T), axis=0)

        def changed(target):
            def loss(points):
                return -jnp.sum(jax.nn.one_hot(target, 10, axis=0) * jax.nn.log_softmax(outputs(points), axis=0))

            def ascend(_, points):
                step = 0.25 * epsilon * balls.steepest(norm, jax.grad(loss)(points))
                return balls.project(norm, ball, points + step)

            return jnp.argmax(outputs(jax.lax.fori_loop(0, 10, ascend, x.T)), axis=0) != target

        label = jnp.argmax(y, axis=1)
        return jnp.mean((predicted == label) & ~changed(label)), jnp.mean(~changed(predicted))

    return tuple(np.asarray(share) for share in jax.jit(jax.vmap(of_one))(run.parameters))


def standard_errors(difference: np.ndarray) -> float:
    """Mean over standard error, for differences paired by seed."""
    return float(difference.mean() / (difference.std(ddof=1) / np.sqrt(len(difference))))


@pytest.mark.parametrize("norm", RADII)
def test_adversarial_training_makes_digits_robust(norm):
    epsilon = RADII[norm]
    natural = trained(None)
    robust = trained(Adversary(epsilon, norm=norm, bounds=(0.0, 1.0)))
    before, after = (attacked_shares(run, norm, epsilon)[0] for run in (natural, robust))
    assert standard_errors(after - before) > 5
    assert (after - before).mean() > 0.15
    # an attack within a thousandth of the radius in training gives no such thing
    feeble = trained(Adversary(epsilon / 1000, norm=norm, bounds=(0.0, 1.0)))
    assert (attacked_shares(feeble, norm, epsilon)[0] - before).mean() < 0.05


def test_more_strength_makes_predictions_more_stable():
    weak, strong = (trained(Adversary(0.1, strength, bounds=(0.0, 1.0))) for strength in (0.25, 1.0))
    stable = [attacked_shares(run, "linf", 0.1)[1] for run in (weak, strong)]
    assert standard_errors(stable[1] - stable[0]) > 3
    # hardly more strength cannot be told from so many networks
    hardly = trained(Adversary(0.1, 0.2501, bounds=(0.0, 1.0)))
    assert abs(standard_errors(attacked_shares(hardly, "linf", 0.1)[1] - stable[0])) < 3


# --- held-out losses


def test_held_out_losses_and_the_best_record(tmp_path):
    _, _, x, y = digits()
    run = trained(Adversary(0.1, bounds=(0.0, 1.0)))
    parts = ntr.objective_parts(run, x, y)
    assert parts.natural.shape == run.validation_loss.shape == (SEEDS, 3)
    np.testing.assert_allclose(run.validation_loss, len(x) * (parts.natural + parts.regularization), rtol=1e-5)
    natural = trained(None)
    parts = ntr.objective_parts(natural, x, y, adversary=Adversary(0.1, bounds=(0.0, 1.0)))
    np.testing.assert_allclose(natural.validation_loss, len(x) * parts.natural, rtol=1e-5)
    assert np.all(parts.regularization > 0)
    planted = dataclasses.replace(run, validation_loss=run.validation_loss.copy())
    planted.validation_loss[0] = [3.0, 1.0, 2.0]
    planted.validation_loss[1] = [3.0, 2.0, np.nan]
    planted.validation_loss[2:] = [3.0, 2.0, 1.0]
    assert planted.best.tolist() == [1, 1] + [2] * (SEEDS - 2)
    best = planted.at_best()
    assert best.step[:, 0].tolist() == [20, 20] + [200] * (SEEDS - 2)
    np.testing.assert_array_equal(best.parameters.weights[0][0], run.snapshots[1].weights[0][0])
    np.testing.assert_array_equal(best.parameters.weights[0][2], run.snapshots[2].weights[0][2])
    assert best.validation_loss[:, 0].tolist() == [1.0, 2.0] + [1.0] * (SEEDS - 2)
    assert ntr.measure(best, x, ["natural_accuracy"], y_test=y).natural_accuracy.shape == (SEEDS, 1)
    path = tmp_path / "run.npz"
    best.save(path)
    loaded = Run.load(path)
    assert loaded.adversary == run.adversary
    np.testing.assert_array_equal(loaded.validation_loss, best.validation_loss)
    with pytest.raises(InputError, match="no held-out loss"):
        _ = go().best


def test_evaluation_meets_other_starts_than_training():
    objective, shared, one = pieces(PGD)
    starts = [jax.random.key_data(jax.random.fold_in(one["attack"], step)) for step in (0, 1, EVALUATION)]
    assert len({tuple(np.asarray(start).tolist()) for start in starts}) == 3
    untrained = go(adversary=PGD, steps=0, record_steps=None)
    np.testing.assert_allclose(untrained.loss[0, 0], objective(shared, one), rtol=1e-5)


# --- width adjusted regularization


def test_width_adjusted_strength_reaches_the_ratio():
    narrow = trained(Adversary(0.05, bounds=(0.0, 1.0)), width=8)
    found = ntr.width_adjusted_strength(
        narrow, MLP(2, 32, 10), steps=200, record_steps=[200], learning_rate=3e-3, tolerance=0.1
    )
    assert found.reached
    assert abs(np.log(found.ratio / found.target)) <= 0.1
    assert found.target == pytest.approx(ntr.regularization_ratio(dataclasses.replace(narrow, validation_loss=None)))
    assert ntr.regularization_ratio(found.run) == pytest.approx(found.ratio)
    assert found.run.adversary == dataclasses.replace(narrow.adversary, strength=found.strength)
    # the reference's own λ does not keep the ratio, and a single training stays with it
    assert abs(np.log(found.ratios[0] / found.target)) > 0.2
    once = ntr.width_adjusted_strength(
        narrow, MLP(2, 32, 10), steps=200, record_steps=[200], learning_rate=3e-3, trainings=1
    )
    assert (once.reached, once.strength, once.ratios) == (False, 1.0, found.ratios[:1])
    assert ntr.regularization_ratio(found.run, weighted=True) == pytest.approx(found.strength * found.ratio)


def test_ratios_without_natural_risk(monkeypatch):
    run = dataclasses.replace(trained(Adversary(0.05, bounds=(0.0, 1.0)), width=8), validation_loss=None)
    for natural, regularization, expected in ((0.0, 1.0, np.inf), (0.0, 0.0, np.nan), (2.0, 1.0, 0.5), (1.0, -1.0, 0)):
        parts = ntr.ObjectiveParts(np.full((SEEDS, 1), natural), np.full((SEEDS, 1), regularization))
        monkeypatch.setattr(width_adjusted, "objective_parts", lambda *_, parts=parts: parts)
        np.testing.assert_equal(ntr.regularization_ratio(run), expected)
        if expected != 0.5:
            with pytest.raises(InputError, match="no λ can be carried over"):
                ntr.width_adjusted_strength(run, MLP(2, 8, 10), steps=1)


@pytest.mark.fast
@pytest.mark.parametrize(
    "function",
    [
        lambda at: at - 1.7,
        lambda at: 3 * np.tanh(at - 4),
        lambda at: np.where(at < 1, -0.1 + 0 * at, 40 * (at - 1.05)),
        lambda at: np.where(at < 1, -np.inf, at - 1.3),
    ],
    ids=["line", "far", "bend", "infinite"],
)
def test_the_search(function):
    tried = [(0.0, float(function(0.0)))]
    while abs(tried[-1][1]) > 0.1 and len(tried) < 20:
        at = next_guess(tried)
        tried.append((at, float(function(at))))
    assert len(tried) <= 12
    assert abs(tried[-1][1]) <= 0.1


def test_strength_as_a_power_of_width():
    schedule = ntr.StrengthSchedule((16, 64, 256), (0.5, 1.0, 2.0))
    assert schedule.exponent == pytest.approx(0.5)
    assert schedule.factor == pytest.approx(0.125)
    assert schedule(1024) == pytest.approx(4.0)
    assert schedule.residual == pytest.approx(0, abs=1e-9)
    assert ntr.StrengthSchedule((16, 64, 256), (0.5, 1.5, 2.0)).residual > 0.1
    for widths, strengths, sentence in (
        ((16, 16), (1.0, 2.0), "at least two different widths"),
        ((16, 64), (1.0,), "2 widths and 1 strengths"),
        ((16, 64), (1.0, 0.0), "a strength must be positive"),
        ((0, 64), (1.0, 1.0), "a width must be an integer of at least 1"),
    ):
        with pytest.raises(InputError, match=sentence):
            ntr.StrengthSchedule(widths, strengths)


# --- bad input

BAD = {
    "epsilon": ({"epsilon": -0.1}, "epsilon must not be negative, got -0.1"),
    "strength": ({"strength": -1}, "strength must not be negative, got -1"),
    "nan": ({"strength": float("nan")}, "strength must be a finite number"),
    "norm": ({"norm": "l3"}, "norm must be one of 'linf', 'l2', 'l1', got 'l3'"),
    "objective": ({"objective": "fgsm"}, "objective of an adversary must be one of .* got 'fgsm'"),
    "steps": ({"steps": 0}, "steps of an adversary must be an integer of at least 1, got 0"),
    "step_size": ({"step_size": 0.0}, "step_size must be positive, got 0"),
    "start": ({"random_start": 1}, "random_start must be True or False, got 1"),
    "trades": ({"objective": "trades", "random_start": False}, "'trades' needs random_start=True"),
    "bounds": ({"bounds": 1.0}, r"bounds must be None or a pair \(lower, upper\), got 1.0"),
    "bounds-order": ({"bounds": (1.0, 0.0)}, "lower of the bounds must not be above the upper"),
}


@pytest.mark.fast
@pytest.mark.parametrize("name", BAD)
def test_bad_adversaries(name):
    changes, sentence = BAD[name]
    with pytest.raises(InputError, match=sentence):
        Adversary(**({"epsilon": 0.1} | changes))


INSIDE = (float(X.min()), float(X.max()))
REFUSED = {
    "adversary": ({"adversary": 0.1}, "adversary must be None or an ntkrobust.Adversary, got 0.1"),
    "flow": (
        {"adversary": PGD, "optimizer": "gradient_flow", "record_steps": None, "record_times": [1.0]},
        "gradient flow is that of the loss alone: adversary must be None",
    ),
    "bounds": ({"adversary": Adversary(0.1, bounds=(0.0, 1.0))}, "x_train must lie within the adversary's bounds"),
    "levels": (
        {"adversary": PGD, "batch_size": 5, "record_steps": None, "record_losses": [0.5]},
        "on minibatches the adversary's objective is not followed",
    ),
    "pair": ({"validation": X}, r"validation must be a pair \(x, y\), got ndarray"),
    "columns": ({"validation": (X[:, :2], ONE_HOT)}, r"x_validation must have shape \(n, 3\), got \(10, 2\)"),
    "targets": ({"validation": (X, 2 * ONE_HOT)}, "row 0 of y_validation"),
    "outside": (
        {"adversary": Adversary(0.1, bounds=INSIDE), "validation": (2 * X, ONE_HOT)},
        "x_validation must lie within the adversary's bounds",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_training_refuses(name):
    changes, sentence = REFUSED[name]
    with pytest.raises(InputError, match=sentence):
        go(**changes)


def test_what_evaluation_refuses():
    run = go(steps=0, record_steps=None)
    with pytest.raises(InputError, match="the run has no adversary: give objective_parts"):
        ntr.objective_parts(run, X, ONE_HOT)
    with pytest.raises(InputError, match="x_held_out must lie within"):
        ntr.objective_parts(run, X, ONE_HOT, adversary=Adversary(0.1, bounds=(0.0, 1.0)))
    with pytest.raises(InputError, match="there is no ratio"):
        ntr.regularization_ratio(run)
    with pytest.raises(InputError, match="give both x and y"):
        ntr.regularization_ratio(go(adversary=PGD, steps=0, record_steps=None), X)


def test_an_adversary_prints_as_the_code_that_makes_it():
    adversary = Adversary(1, 2, "l2", bounds=(0, 1))
    assert eval(repr(adversary)) == adversary
    assert hash(eval(repr(adversary))) == hash(adversary)
    assert isinstance(adversary.epsilon, float)
    assert Adversary.from_json(adversary.as_json()) == adversary
    assert Adversary(0.7).length_of_step == pytest.approx(0.25)
    # what the Jacobian's objective does not use makes no other program
    assert Regularizer.of(Adversary(0.1, objective="jacobian", steps=3)) == Regularizer.of(
        Adversary(0.2, objective="jacobian", norm="l2")
    )
