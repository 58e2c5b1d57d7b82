"""``attack``: the worst case over methods for every network of an ensemble, and how far to believe it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import numpy.typing as npt
import xarray as xr

from ntkrobust.checks import MOST_BYTES, MOST_STEPS, check_flag, check_integer, shown, takes, whole
from ntkrobust.data.checks import check_same_index
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.given import test_points
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks import arguments, strength
from ntkrobust.finite.attacks.base import Attack
from ntkrobust.finite.attacks.catalogue import NAMES
from ntkrobust.finite.attacks.programs import AttackProgram, Inputs
from ntkrobust.finite.attacks.square import check_image_shape
from ntkrobust.finite.attacks.suite import Suite
from ntkrobust.finite.representable import check_representable
from ntkrobust.finite.training.run import Run, a_run
from ntkrobust.networks.models import Model
from ntkrobust.networks.network import rows_of
from ntkrobust.networks.parameters import Parameters
from ntkrobust.networks.plans import choose_plan
from ntkrobust.norms import Norm
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.machine import available_bytes, resident_bytes
from ntkrobust.runtime.seeds import RawKeys, fold_in, seed_keys

BATCH_BYTES = 2**28
"""Attacked points that are held at once, where they aren't to be kept."""

KEY_INDEX = 2**32 - 2
"""What a network's own key is folded with, so that attacks are independent of its weights and of measures."""

SHARES = {"true": "robust_accuracy", "predicted": "prediction_stability"}
"""What the share of points that keep their class is called, by the class that is attacked."""


@takes(
    run=a_run,
    steps=whole(1, MOST_STEPS),
    restarts=whole(1, MOST_STEPS),
    queries=whole(1, MOST_STEPS),
    keep_examples=check_flag,
)
def attack(
    run: Run,
    x: npt.ArrayLike | Dataset,
    y: npt.ArrayLike | None = None,
    *,
    epsilon: float | Sequence[float],
    norm: Norm | None = None,
    methods: str | Attack | Sequence[str | Attack] = ("fgsm", "pgd", "apgd-ce", "apgd-dlr", "square"),
    steps: int = 50,
    restarts: int = 1,
    queries: int = 500,
    against: Literal["true", "predicted"] = "true",
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
    image_shape: Sequence[int] | None = None,
    key: jax.Array | None = None,
    record: int = -1,
    keep_examples: bool = False,
    memory_limit: int | None = None,
) -> xr.Dataset:
    """Attack every network of a run at every point and radius.

    A point counts as robust only if no iterate of any method, at this radius or a smaller one, has lost the class; the
    input itself is the first candidate. So the shares are upper bounds of the true ones. Every result comes with checks
    of the attack's strength (:class:`ntkrobust.finite.attacks.strength.Strength`), for which random search, and a
    gradient method with twice the steps, run too.

    Args:
        run: what :func:`ntkrobust.train` returned.
        x: (n, d) inputs, or images. In place of both this and ``y``: a data set, its name or its file, of which the
            test points are attacked; or arrays (x, y), or (x_train, y_train, x_test, y_test).
        y: (n,) labels, which are those of training (``run.classes``), or (n, o) targets ±1 or one-hot; needed against
            true classes. For one output the class is the sign.
        epsilon: radius in the units of x, or several.
        norm: ``"linf"``, ``"l2"`` or ``"l1"`` (FGSM, PGD and random search only); by default that of the objects among
            ``methods``, which are all in one norm, or ``"linf"``.
        methods: names out of ``"fgsm"``, ``"pgd"``, ``"apgd-ce"``, ``"apgd-dlr"``, ``"apgd-t"`` (targeted DLR, at least
            four outputs), ``"square"`` and ``"random"``, and objects of :mod:`ntkrobust.attacks`, or of one's own
            (:class:`ntkrobust.attacks.Attack`), with parameters of their own.
        steps: gradients that PGD and APGD take in each run, if they are given by name.
        restarts: their runs, the first from the input, others from random points.
        queries: forward passes of Square and random search, if they are given by name.
        against: the classes that are to be lost: the true ones, or those the network predicts at x.
        bounds: the range in which attacked points stay, numbers or (d,) arrays: by default the run's, never beyond it.
        movable: (d,) booleans, False for coordinates that attacks leave alone; by default the run's.
        image_shape: (rows, columns) or (rows, columns, channels), the last index fastest: ``"square"`` then has square
            windows. By default that of images, or of the data set; None for rows.
        key: a typed key, by default the run's own; seed i uses ``fold_in(key, i)``.
        record: which of the run's recorded times.
        keep_examples: whether to return the worst points, ``example`` (seed, epsilon, point, feature).
        memory_limit: bytes that the process may take; by default the machine's memory.

    Returns:
        A dataset with dimensions ``seed``, ``epsilon`` (a scalar coordinate for a single radius), ``point``, ``attack``
        (the names, and what objects print) and ``loss``. Networks that diverged are NaN, and −1 in ``masks_gradients``.

        - ``robust_accuracy``, or ``prediction_stability`` against predicted classes: (seed, epsilon) share of points
          that keep their class.
        - ``is_robust``, ``margin`` (seed, epsilon, point): 1 or 0, and the smallest margin found, c·f for one output,
          f_c − max f_k for several.
        - ``is_robust_by_method`` (seed, epsilon, attack, point): with each method alone, at each radius alone.
        - ``natural_accuracy`` (seed): the share at x itself; 1 against predicted classes unless an output is 0.
        - ``zero_gradient`` (seed, loss), ``doubling_gain``, ``random_gain``, ``square_gain``, ``monotonicity`` (seed,
          epsilon): the checks.
        - ``outside`` (seed, epsilon): points that left their ball or the range, or moved in a coordinate that may not:
          0, or an attack is wrong; they count for nothing. ``excess`` (seed, epsilon): the largest ‖x' − x‖ − ε in
          float64.
        - ``masks_gradients`` (seed): 1 if a check says so, and ``masking_reasons`` (seed) why, in words.

    Raises:
        InputError: an argument is not what it should be, a label is one that training never saw, an input is outside
            the range of the run's data or of ``bounds``, these reach beyond it, all networks have diverged, examples
            do not fit into memory, or gradients and outputs of the networks into single precision, or an attack of
            one's own fails.
    """
    x, y, *_, shape_of_data = test_points(x, y, run.classes)
    points = arguments.check_points(rows_of(run.net, x), run.d_in)
    counts = {"steps": steps, "restarts": restarts, "queries": queries}
    shape = check_image_shape(shape_of_data if image_shape is None else image_shape, run.d_in)
    suite = Suite.of(methods, norm, run.d_in, run.net.d_out, image_shape=shape, **counts)
    radii = arguments.check_radii(epsilon, points)
    domain = run.domain.narrowed(bounds, movable)
    run.domain.check_points("x", points)
    domain.check_points("x", points, "bounds")
    if not isinstance(against, str) or against not in SHARES:
        raise InputError(f"against must be 'true' or 'predicted', got {shown(against)}")
    shared: dict[str, Any] = {
        "scales": run.net.layer_scales(run.d_in),
        "x": points,
        **domain.arrays(),
    }
    if against == "true":
        if y is None:
            raise InputError("attacks against true classes need y")
        shared["label"] = arguments.check_labels(y, len(points), run.y_train, run.classes)
        check_same_index("x", x, "y", y)
    keys = seed_keys(run.key if key is None else key, run.seeds)
    parameters, is_sound = arguments.snapshot(run, record)
    check_representable(run.net, shared["scales"], points, parameters, is_sound)
    _check_memory(len(run.seeds), len(radii), points, keep_examples, memory_limit)

    plan = choose_plan(run.net, run.d_in, len(points), inputs_move=True)
    attacked = _Attacked(run.net.model(), suite, plan, shared, radii)
    outcomes = [attacked.outcome(*batch) for batch in _batches(parameters, keys, radii, points)]
    outcome = _Outcome(*(np.concatenate(parts) for parts in zip(*outcomes, strict=True)))
    found = _labelled(run, outcome, attacked, against, is_sound, keep_examples, np.ndim(epsilon) == 0, record)
    return found.assign_attrs(**counts, domain=domain.in_words())


def _check_memory(
    seeds: int, radii: int, points: npt.NDArray[np.float32], keep_examples: bool, limit: int | None
) -> None:
    """Raise InputError if the worst points of all networks are to be kept and don't fit."""
    available = (
        available_bytes() if limit is None else check_integer("memory_limit", limit, 1, "in bytes", maximum=MOST_BYTES)
    )
    # Kept, and once more as they are put together.
    needed = resident_bytes() + 3 * BATCH_BYTES + 2 * keep_examples * seeds * radii * points.nbytes
    if available and needed > available:
        raise InputError(
            f"attacking {seeds} networks at {radii} radii needs about {needed / 2**30:.2f} GiB and "
            f"{available / 2**30:.2f} GiB are there{': leave keep_examples out' if keep_examples else ''}"
        )


def _batches(
    parameters: Parameters, keys: RawKeys, radii: npt.NDArray[np.float64], x: npt.NDArray[np.float32]
) -> Iterator[tuple[Parameters, RawKeys]]:
    """Seeds, so many at a time that their attacked points fit into ``BATCH_BYTES``."""
    size = max(1, BATCH_BYTES // (len(radii) * x.nbytes))
    for start in range(0, len(keys), size):
        part = slice(start, start + size)
        yield jax.tree.map(lambda leaf, part=part: leaf[part], parameters), keys[part]


class _Outcome(NamedTuple):
    """What the attacks came to; axes seed, E radii, M methods, n points.

    Attributes:
        x: (seed, E, n, d) the worst points.
        margin, is_kept: (seed, E, n), worst over methods and smaller radii.
        is_kept_by_method: (seed, E, M, n).
        is_natural: (seed, n).
        outside, excess: (seed, E).
        zero_gradient, doubling_gain, random_gain, square_gain, monotonicity: see :class:`~.strength.Strength`.
    """

    x: np.ndarray
    margin: np.ndarray
    is_kept: np.ndarray
    is_kept_by_method: np.ndarray
    is_natural: np.ndarray
    outside: np.ndarray
    excess: np.ndarray
    zero_gradient: np.ndarray
    doubling_gain: np.ndarray
    random_gain: np.ndarray
    square_gain: np.ndarray
    monotonicity: np.ndarray


@dataclasses.dataclass
class _Attacked:
    """All attacks on some seeds."""

    model: Model
    suite: Suite
    plan: Plan
    shared: dict[str, Any]
    radii: npt.NDArray[np.float64]

    def outcome(self, parameters: Parameters, keys: RawKeys) -> _Outcome:
        """The outcome for these seeds."""
        known = {name: self.shared[name] for name in ("scales", "x", "label", "movable") if name in self.shared}
        inputs = run_over_seeds(Inputs(self.model), self.plan, known, {"parameters": parameters})
        per_seed = {"parameters": parameters, "key": fold_in(keys, KEY_INDEX), "label": inputs["label"]}
        results = self._results(per_seed)
        by_method = [results[one] for one in self.suite.attacks.values()]
        random = results[self.suite.control]

        is_kept_by_method = np.stack([one["is_kept"] for one in by_method], axis=2)
        is_kept = np.all(is_kept_by_method, axis=2)
        x, margin = self._worst(by_method)
        natural = inputs["is_kept"]

        def gain(broken: np.ndarray, left: np.ndarray) -> np.ndarray:
            return strength.share(~broken & left, natural[:, None])

        def kept_by(attacks: Iterable[Attack]) -> np.ndarray:
            return np.all([results[one]["is_kept"] for one in attacks], axis=0)

        by_gradients = kept_by(one for one in results if one.uses_gradients)
        searches = [self.suite.attacks[name] for name in self.suite.searches]
        zero = [strength.share(inputs[name], natural) for name in ("zero_cross_entropy", "zero_margin")]
        return _Outcome(
            x=x,
            margin=margin,
            is_kept=is_kept & ~strength.broken_at_smaller(is_kept, self.radii),
            is_kept_by_method=is_kept_by_method,
            is_natural=natural,
            outside=np.sum([one["outside"] for one in results.values()], axis=0),
            excess=np.max([one["excess"] for one in results.values()], axis=0),
            zero_gradient=np.stack(zero, axis=-1),
            doubling_gain=gain(kept_by(self.suite.stronger), is_kept),
            random_gain=gain(random["is_kept"], by_gradients),
            square_gain=gain(kept_by(searches), by_gradients) if searches else np.full(is_kept.shape[:2], np.nan),
            monotonicity=strength.share(strength.broken_at_smaller(is_kept, self.radii) & is_kept, natural[:, None]),
        )

    def _results(self, per_seed: dict[str, Any]) -> dict[Attack, dict[str, np.ndarray]]:
        """What each attack found, with ``outside`` and ``excess`` (seed, E); points outside count for nothing."""
        suite = self.suite
        # Those of one's own first: what is wrong with them is said before long work.
        asked = sorted(suite.attacks.values(), key=lambda one: one.key_index() < len(NAMES))
        results = {}
        for attack in dict.fromkeys((*asked, *suite.stronger, suite.control)):
            found = self._run(attack, per_seed)
            where = self._containment(found["x"])
            if where.is_outside.any():
                # No query: the inputs themselves.
                inputs = self._run(suite.control.with_counts({"queries": 0}), per_seed)
                x = np.where(where.is_outside[..., None], inputs["x"], found["x"])
                found = {name: np.where(where.is_outside, inputs[name], found[name]) for name in ("margin", "is_kept")}
                found["x"] = x
            results[attack] = found | {"outside": where.is_outside.sum(axis=-1), "excess": where.excess.max(axis=-1)}
        return results

    def _run(self, attack: Attack, per_seed: dict[str, Any]) -> dict[str, np.ndarray]:
        """Arrays (seed, E, …). Radius after radius, so that other numbers of them need no other program."""
        program = AttackProgram(self.model, attack.static())
        given = {name: value for name, value in self.shared.items() if name != "label"} | {"counts": attack.counts()}
        each = [
            run_over_seeds(program, self.plan, given | {"epsilon": np.float32(radius)}, per_seed)
            for radius in self.radii
        ]
        return {name: np.stack([one[name] for one in each], axis=1) for name in each[0]}

    def _worst(self, results: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """x (seed, E, n, d) and margin (seed, E, n) of the worst points over methods and over smaller radii."""
        x, margin, is_kept = (results[0][name].copy() for name in ("x", "margin", "is_kept"))

        def take(at: tuple, other: dict[str, np.ndarray], other_at: tuple) -> None:
            new, kept = other["margin"][other_at], other["is_kept"][other_at]
            is_worse = (new < margin[at]) | ((new == margin[at]) & is_kept[at] & ~kept)
            margin[at] = np.where(is_worse, new, margin[at])
            x[at] = np.where(is_worse[..., None], other["x"][other_at], x[at])
            is_kept[at] &= kept

        everything = (slice(None),)
        for one in results[1:]:
            take(everything, one, everything)
        rising = np.argsort(self.radii, kind="stable")
        here = {"x": x, "margin": margin, "is_kept": is_kept}
        for small, large in itertools.pairwise(rising):
            take((slice(None), large), here, (slice(None), small))
        return x, margin

    def _containment(self, x: np.ndarray) -> strength.Containment:
        """Of points (seed, E, n, d), one seed after the other: float64 takes twice the memory."""
        each = [
            strength.containment(self.suite.norm, one, self.shared["x"], self.radii[:, None], self.shared) for one in x
        ]
        return strength.Containment(*(np.stack(parts) for parts in zip(*each, strict=True)))


def _labelled(
    run: Run,
    outcome: _Outcome,
    attacked: _Attacked,
    against: str,
    is_sound: npt.NDArray[np.bool_],
    keep_examples: bool,
    is_single: bool,
    record: int,
) -> xr.Dataset:
    def numbers(values: np.ndarray) -> np.ndarray:
        """As float32, NaN where a network has diverged."""
        return np.where(is_sound.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan).astype(np.float32)

    checks = strength.Strength(*(getattr(outcome, name) for name in strength.Strength._fields))
    reasons = [
        "; ".join(checks.reasons(seed, attacked.suite.searches)) if is_sound[seed] else ""
        for seed in range(len(run.seeds))
    ]
    masks = [int(bool(reason)) if sound else -1 for reason, sound in zip(reasons, is_sound, strict=True)]
    upper = {"side": "upper"}
    variables: dict[str, Any] = {
        SHARES[against]: (("seed", "epsilon"), numbers(outcome.is_kept.mean(axis=-1)), upper),
        "natural_accuracy": ("seed", numbers(outcome.is_natural.mean(axis=-1)), {"side": "exact"}),
        "is_robust": (("seed", "epsilon", "point"), numbers(outcome.is_kept), upper),
        "margin": (("seed", "epsilon", "point"), numbers(outcome.margin), upper),
        "is_robust_by_method": (("seed", "epsilon", "attack", "point"), numbers(outcome.is_kept_by_method), upper),
        "zero_gradient": (("seed", "loss"), numbers(checks.zero_gradient)),
        **{
            name: (("seed", "epsilon"), numbers(getattr(outcome, name)))
            for name in ("doubling_gain", "random_gain", "square_gain", "monotonicity", "excess")
        },
        "outside": (("seed", "epsilon"), outcome.outside.astype(np.int64) * is_sound[:, None]),
        "masks_gradients": ("seed", np.array(masks, dtype=np.int8)),
        "masking_reasons": ("seed", np.array(reasons, dtype=object)),
    }
    if keep_examples:
        variables["example"] = (("seed", "epsilon", "point", "feature"), numbers(outcome.x))
    attributes = {
        "network": repr(run.net), "norm": attacked.suite.norm, "against": against, "record": record,
        "doubled_method": attacked.suite.stronger_names, "plan": str(attacked.plan),
    }  # fmt: skip
    result = xr.Dataset(variables, attrs=attributes).assign_coords(
        seed=list(run.seeds),
        epsilon=attacked.radii,
        attack=list(attacked.suite.attacks),
        loss=["cross_entropy", "margin"],
        status=("seed", run.status),
    )
    return result.isel(epsilon=0) if is_single else result
