"""The functions of neural-tangents that are replaced, when, and why."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import scipy
import scipy.linalg

from ntkrobust.kernels._neural_tangents import linear_programs, predicting
from ntkrobust.kernels._neural_tangents.views import View


class Replacement(NamedTuple):
    """A global name of one of neural-tangents' modules that gets another value.

    Attributes:
        module: the module that defines it.
        name: the name.
        make: makes the new value of the old one.
        what: one sentence for people, saying what was replaced and why.
    """

    module: str
    name: str
    make: Callable[[Any], Any]
    what: str


def replacements(rewritten: bool) -> list[Replacement]:
    """What has to be replaced here; ``rewritten`` says that JAX traces in the way it does since 0.4.36."""
    needed = [
        Replacement(
            "neural_tangents._src.predict",
            "lru_cache",
            lambda _: predicting.lru_cache,
            "predict: factorizations that are kept are evaluated outside jit and other transformations",
        ),
        Replacement(
            "neural_tangents._src.predict",
            "gradient_descent_mse_ensemble",
            predicting.keep_train_kernel_concrete,
            "predict: so is the kernel of the training points that is kept",
        ),
    ]
    if rewritten:
        needed += [
            Replacement(
                "neural_tangents._src.predict",
                "_is_on_cpu",
                predicting.is_on_cpu,
                "predict: max_learning_rate recognizes traced arrays, and works under jit",
            ),
            Replacement(
                "neural_tangents._src.empirical",
                "_get_primals_out_and_pullback",
                linear_programs.get_primals_out_and_pullback,
                "empirical: jax.linearize gives the linear program that ad.linearize gave (structured derivatives)",
            ),
            Replacement(
                "neural_tangents._src.empirical",
                "_eqn_vjp_fn",
                lambda _: linear_programs.eqn_vjp,
                "empirical: jax.linear_transpose transposes primitives as tables of jax.interpreters.ad did",
            ),
            Replacement(
                "neural_tangents._src.empirical",
                "_get_flops",
                lambda _: predicting.flops,
                "empirical: the cost analysis of a compiled function is a dictionary, no longer a list of them",
            ),
        ]
    if "eigvals" not in inspect.signature(scipy.linalg.eigvalsh).parameters:
        needed.append(
            Replacement(
                "neural_tangents._src.predict",
                "sp",
                lambda _: _scipy_with_eigvals(),
                "predict: scipy.linalg.eigvalsh takes subset_by_index, no longer eigvals",
            )
        )
    return needed


def _scipy_with_eigvals() -> types.ModuleType:
    return View(scipy, linalg=View(scipy.linalg, eigvalsh=predicting.eigvalsh))
