"""Structured derivatives on current JAX: what replaces three functions of ``neural_tangents._src.empirical``.

The implementation ``STRUCTURED_DERIVATIVES`` of neural-tangents walks the linear program that maps parameter tangents
to output tangents, and needs it as a flat list of primitives (Novak et al., "Fast Finite Width Neural Tangent Kernel",
arXiv 2206.08720, section 3). It read the program off ``jax.interpreters.ad.linearize`` and transposed its primitives
with tables of ``jax.interpreters.ad``, which changed in JAX 0.4.36 and later. Here the public :func:`jax.linearize`
and :func:`jax.linear_transpose` serve instead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jax.interpreters.ad import UndefinedPrimal, Zero

_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}
"""Primitives that only call a program, by name, and the parameter that holds it."""


Equation = Any
"""A ``JaxprEqn`` whose inputs and outputs are :class:`Variable` or ``Literal``."""


class Variable:
    """A variable of a linear program: an identity with a type."""

    def __init__(self, aval: Any) -> None:
        self.aval = aval


class LinearProgram(NamedTuple):
    """A linear map as a flat list of primitives; it has what neural-tangents reads of a ``Jaxpr``."""

    constvars: list[Variable]
    invars: list[Variable]
    outvars: list[Variable]
    eqns: list[Equation]


class Linearization(NamedTuple):
    """A function at a point.

    Attributes:
        primals_out: its value.
        program: tangents of its arguments' leaves ↦ tangents of those leaves of its value that depend on them.
        consts: the values of the program's constants.
        depends: for each leaf of the value, whether it depends on the arguments.
    """

    primals_out: Any
    program: LinearProgram
    consts: list[Any]
    depends: list[bool]


def linearize(function: Callable[..., Any], *primals: Any) -> Linearization:
    """``function`` linearized at ``primals``, its linear part as a flat program."""
    # Without jit, primitives inside jitted functions appear one by one, as the structure rules want them.
    with jax.disable_jit():
        primals_out, tangent_map = jax.linearize(function, *primals)
    zeros = jax.tree.map(_zero_tangent, primals)
    closed = jax.make_jaxpr(tangent_map)(*zeros)
    flat = _Flattening()
    invars = [Variable(v.aval) for v in closed.jaxpr.invars]
    outs = flat.run(closed.jaxpr, closed.consts, invars)
    depends = [isinstance(out, Variable) for out in outs]
    outvars = [out for out in outs if isinstance(out, Variable)]
    program = LinearProgram(list(flat.consts), invars, outvars, _needed(flat.eqns, outvars))
    return Linearization(primals_out, program, list(flat.consts.values()), depends)


def _zero_tangent(x: Any) -> Any:
    dtype = jnp.result_type(x)
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.zeros(jnp.shape(x), dtype)
    return np.zeros(jnp.shape(x), jax.dtypes.float0)


class _Known(NamedTuple):
    """A value that doesn't depend on the tangents."""

    value: Any


class _Flattening:
    """Runs a linear program symbolically: evaluates what doesn't depend on the tangents, lists the rest."""

    def __init__(self) -> None:
        self.eqns: list[Equation] = []
        self.consts: dict[Variable, Any] = {}

    def run(self, jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Variable | _Known]) -> list[Variable | _Known]:
        """Values of ``jaxpr`` at ``args``, each a known value or a variable that ``eqns`` define."""
        env: dict[Any, Variable | _Known] = dict(zip(jaxpr.constvars, map(_Known, consts), strict=True))
        env.update(zip(jaxpr.invars, args, strict=True))

        def read(v: Any) -> Variable | _Known:
            return _Known(v.val) if isinstance(v, Literal) else env[v]

        for eqn in jaxpr.eqns:
            inputs = [read(v) for v in eqn.invars]
            if eqn.primitive.name in _CALLS:
                callee = eqn.params[_CALLS[eqn.primitive.name]]
                inner, inner_consts = (callee.jaxpr, callee.consts) if isinstance(callee, ClosedJaxpr) else (callee, ())
                outputs = self.run(inner, inner_consts, inputs)
            elif all(isinstance(x, _Known) for x in inputs):
                outputs = _evaluate(eqn, [x.value for x in inputs if isinstance(x, _Known)])
            else:
                outputs = self._append(eqn, inputs)
            env.update(zip(eqn.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _append(self, eqn: Equation, inputs: list[Variable | _Known]) -> list[Variable | _Known]:
        invars = []
        for v, x in zip(eqn.invars, inputs, strict=True):
            if isinstance(x, Variable) or isinstance(v, Literal):
                invars.append(x if isinstance(x, Variable) else v)
            else:
                constvar = Variable(v.aval)
                self.consts[constvar] = x.value
                invars.append(constvar)
        outvars: list[Variable | _Known] = [Variable(v.aval) for v in eqn.outvars]
        self.eqns.append(eqn.replace(invars=invars, outvars=outvars))
        return outvars


def _evaluate(eqn: JaxprEqn, values: list[Any]) -> list[Variable | _Known]:
    out = eqn.primitive.bind(*values, **eqn.params)
    return [_Known(x) for x in (out if eqn.primitive.multiple_results else [out])]


def _needed(eqns: list[Equation], outvars: list[Variable]) -> list[Equation]:
    """The equations that the outputs depend on, in order."""
    needed = set(outvars)
    kept = []
    for eqn in reversed(eqns):
        if needed.intersection(eqn.outvars):
            needed.update(v for v in eqn.invars if not isinstance(v, Literal))
            kept.append(eqn)
    return kept[::-1]


def get_primals_out_and_pullback(original: Callable[..., Any]) -> Callable[..., Any]:
    """``_get_primals_out_and_pullback``, which makes the map that walks a function's linear program backwards."""
    backward_pass = original.__globals__["_backward_pass"]

    @functools.wraps(original)
    def replacement(
        fn: Callable[..., Any], mode: Any, _j_rules: bool, _s_rules: bool, _fwd: bool | None, *primals_in: Any
    ) -> tuple[Any, Callable[..., Any]]:
        primals_out, program, consts, depends = linearize(fn, *primals_in)
        in_tree = jax.tree.structure(primals_in)

        def pullback_fn(*cts_in: Any) -> Any:
            cts_out = backward_pass(
                program,
                mode=mode,
                consts=consts,
                primals_in=[UndefinedPrimal(v.aval) for v in program.invars],
                cotangents_in=tuple(ct for ct, keep in zip(jax.tree.leaves(cts_in), depends, strict=True) if keep),
                _j_rules=_j_rules,
                _s_rules=_s_rules,
                _fwd=_fwd,
            )
            return jax.tree.unflatten(in_tree, cts_out)

        return primals_out, pullback_fn

    return replacement


def eqn_vjp(eqn: JaxprEqn | None, cts_in: Any, *invals: Any) -> Sequence[Any]:
    """``_eqn_vjp_fn``: cotangents of the inputs that are :class:`UndefinedPrimal`, ``None`` for the others."""
    if eqn is None:  # the identity
        return (cts_in,)
    linear = [i for i, x in enumerate(invals) if isinstance(x, UndefinedPrimal)]
    cts_out: list[Any] = [None] * len(invals)
    if isinstance(cts_in, Zero):
        for i in linear:
            cts_out[i] = Zero(invals[i].aval)
        return cts_out

    def apply(*tangents: Any) -> Any:
        args = [jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.core.ShapedArray) else x for x in invals]
        for i, tangent in zip(linear, tangents, strict=True):
            args[i] = tangent
        out = eqn.primitive.bind(*args, **eqn.params)
        return out[0] if eqn.primitive.multiple_results else out

    avals = [jax.ShapeDtypeStruct(invals[i].aval.shape, invals[i].aval.dtype) for i in linear]
    for i, ct in zip(linear, jax.linear_transpose(apply, *avals)(cts_in), strict=True):
        cts_out[i] = ct
    return cts_out
