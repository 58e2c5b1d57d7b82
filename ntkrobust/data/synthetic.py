"""Synthetic data: inputs and a target function whose law is known exactly."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ntkrobust.checks import LARGEST_SEED, check_integer
from ntkrobust.data.checks import Array, as_choice, as_real
from ntkrobust.data.dataset import Dataset, Task
from ntkrobust.errors import InputError

MOST_NUMBERS = 2**30
"""Numbers that are drawn for one data set, at most: 8 GiB."""

Target = Literal["linear", "sign", "random"]


def sphere(n_train: int, n_test: int, d: int, target: Target = "sign", noise: float = 0.0, seed: int = 0) -> Dataset:
    """Inputs uniform on the unit sphere of R^d, one output.

    Args:
        n_train: n ≥ 1.
        n_test: n' ≥ 1.
        d: dimension of the inputs, ≥ 1 (d = 1: the two points ±1).
        target: with a direction w drawn uniformly from the unit sphere, ``"linear"``: √d·w·x, which has variance
            one; ``"sign"``: the sign of w·x, ±1; ``"random"``: ±1 independent of x and of one another.
        noise: standard deviation ≥ 0 of independent Gaussian noise added to the *training* targets. Test targets
            stay clean, so the task of ``"sign"`` and ``"random"`` remains classification.
        seed: an integer ≥ 0. More points never change w or the earlier points, and neither part changes the other.

    Raises:
        InputError: an argument is out of its range.
    """
    return _synthetic("sphere", n_train, n_test, d, target, noise, seed)


def gaussian(n_train: int, n_test: int, d: int, target: Target = "sign", noise: float = 0.0, seed: int = 0) -> Dataset:
    """Inputs with independent N(0, 1) entries in R^d, so E‖x‖² = d; one output.

    Arguments and errors as in :func:`sphere`, except that the ``"linear"`` target is w·x, which here has variance one.
    """
    return _synthetic("gaussian", n_train, n_test, d, target, noise, seed)


def _synthetic(kind: str, n_train: int, n_test: int, d: int, target: Target, noise: float, seed: int) -> Dataset:
    check_integer("n_train", n_train, 1)
    check_integer("n_test", n_test, 1)
    check_integer("d", d, 1)
    if (n_train + n_test) * d > MOST_NUMBERS:
        raise InputError(
            f"at most {MOST_NUMBERS} numbers are drawn for one data set, and {n_train} + {n_test} points in {d} "
            "dimensions are more"
        )
    as_choice("target", target, ("linear", "sign", "random"))
    noise = as_real("noise", noise)
    if noise < 0:
        raise InputError(f"noise is a standard deviation and must not be negative, got {noise}")
    # One stream per purpose: drawing more of one thing leaves all others as they are.
    w_rng, train_rng, test_rng = np.random.default_rng(check_integer("seed", seed, 0, maximum=LARGEST_SEED)).spawn(3)
    w = _unit(w_rng.standard_normal((1, d)))[0]
    # E(w·x)² is 1/d on the sphere and 1 for Gaussian inputs.
    scale = math.sqrt(d) if kind == "sphere" else 1.0

    def draw(n: int, rng: np.random.Generator, std: float) -> tuple[Array, Array]:
        x_rng, label_rng, noise_rng = rng.spawn(3)
        x = x_rng.standard_normal((n, d))
        if kind == "sphere":
            x = _unit(x)
        y = _target(target, (x @ w) * scale, label_rng)
        return x, (y + std * noise_rng.standard_normal(n))[:, None]

    x_train, y_train = draw(n_train, train_rng, noise)
    x_test, y_test = draw(n_test, test_rng, 0.0)
    added = f"training noise of standard deviation {noise}" if noise else "no noise"
    inputs = "uniform on the unit sphere" if kind == "sphere" else "standard Gaussian"
    name = f"{kind}, {inputs} in d = {d}, {target} target, {added}, seed {seed}"
    task: Task = "regression" if target == "linear" else "classification"
    return Dataset(x_train, y_train, x_test, y_test, name, task)


def _unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _target(target: Target, projection: Array, rng: np.random.Generator) -> Array:
    """Targets (n,) given √d·w·x or w·x, of variance one."""
    if target == "linear":
        return projection
    if target == "sign":
        return np.where(projection >= 0, 1.0, -1.0)
    return rng.choice(np.array([-1.0, 1.0]), size=len(projection))
