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
        return _concrete_if_possible(function, functools.lru_cache(maxsize))

    return decorate


def keep_train_kernel_concrete(make_predict_fn: Callable[..., Any]) -> Callable[..., Any]:
    """``gradient_descent_mse_ensemble`` whose kernel of known training points is never a tracer.

    It keeps that kernel in a dictionary of its own, so the kernel function it is given does what :func:`lru_cache`
    does for the others.
    """

    @functools.wraps(make_predict_fn)
    def make(kernel_fn: Callable[..., Any], x_train: Any, *args: Any, **kwargs: Any) -> Any:
        train_kernel_fn = _concrete_if_possible(kernel_fn)

        @functools.wraps(kernel_fn)
        def kernel(x1: Any, x2: Any, *rest: Any, **options: Any) -> Any:
            return (train_kernel_fn if x1 is x_train and x2 is None else kernel_fn)(x1, x2, *rest, **options)

        return make_predict_fn(kernel, x_train, *args, **kwargs)

    return make


def _concrete_if_possible(
    function: Callable[..., Any], keep: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda concrete: concrete
) -> Callable[..., Any]:
    """``function`` evaluated outside all transformations, passed through ``keep``, or else where it is called."""

    def outside(*args: Any, **kwargs: Any) -> Any:
        with jax.core.eval_context():
            return function(*args, **kwargs)

    kept = keep(outside)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return kept(*args, **kwargs)
        except jax.errors.UnexpectedTracerError:
            return function(*args, **kwargs)

    return call


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
    if analysis is None:
        raise NotImplementedError("this backend doesn't count operations: choose an implementation, 1, 2 or 3")
    return analysis["flops"]
