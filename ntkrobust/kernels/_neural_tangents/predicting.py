"""What replaces functions that ``neural_tangents._src.predict`` calls, where JAX or scipy changed under them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import scipy.linalg


def lru_cache(maxsize: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """:func:`functools.lru_cache` that never keeps a tracer.

    ``predict`` keeps factorized kernels between calls. When the first call happens under a transformation such as
    ``jit``, what is computed there belongs to that transformation, and would be an error in the next call outside it.
    So a cached function is evaluated outside all transformations; if it can't be, because it depends on values that
    are being traced, its result is returned and not kept.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.lru_cache(maxsize)
        def concrete(*args: Any) -> Any:
            with jax.core.eval_context():
                return function(*args)

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            try:
                return concrete(*args)
            except jax.errors.UnexpectedTracerError:
                return function(*args)

        return call

    return decorate


def keep_train_kernel_concrete(make_predict_fn: Callable[..., Any]) -> Callable[..., Any]:
    """``gradient_descent_mse_ensemble`` whose kernel of the training points, which it keeps, is never a tracer.

    It keeps that kernel in a dictionary of its own, so the kernel function it is given does what :func:`lru_cache`
    does for the others: the kernel of known points is computed at once, also under a transformation.
    """

    @functools.wraps(make_predict_fn)
    def make(kernel_fn: Callable[..., Any], x_train: Any, *args: Any, **kwargs: Any) -> Any:
        @functools.wraps(kernel_fn)
        def kernel(x1: Any, x2: Any, *rest: Any, **options: Any) -> Any:
            if x1 is not x_train or x2 is not None:
                return kernel_fn(x1, x2, *rest, **options)
            with jax.ensure_compile_time_eval():
                return kernel_fn(x1, x2, *rest, **options)

        return make_predict_fn(kernel, x_train, *args, **kwargs)

    return make


def eigvalsh(a: Any, eigvals: tuple[int, int] | None = None, **options: Any) -> Any:
    """:func:`scipy.linalg.eigvalsh` with the argument ``eigvals``, which scipy 1.14 removed."""
    return scipy.linalg.eigvalsh(a, subset_by_index=eigvals, **options)


def is_on_cpu(original: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """``_is_on_cpu``, which decides whether scipy may compute; traced arrays are on no device, and JAX must."""

    @functools.wraps(original)
    def replacement(x: Any) -> bool:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(x))
        return not traced and original(x)

    return replacement


def flops(function: Callable[..., Any], optimize: bool, *args: Any, **kwargs: Any) -> float:
    """``_get_flops``: floating-point operations of a call, as XLA counts them."""
    lowered = jax.jit(function).lower(*args, **kwargs)
    analysis = lowered.compile().cost_analysis() if optimize else lowered.cost_analysis()
    if isinstance(analysis, list):  # one entry per program before JAX 0.5, the entry itself since
        analysis = analysis[0]
    return analysis["flops"]
