"""From a function of one seed to a compiled program of many: group after group, on one device or several."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.stages import Compiled

from ntkrobust.numerics.precision import full_matmul_precision
from ntkrobust.runtime.devices import OverSeeds, sharing_points, sharing_seeds
from ntkrobust.runtime.programs import Program, Programs
from ntkrobust.runtime.seeds import typed_keys

Names = tuple[str, ...]

Layout = tuple[int, int, int]
"""Devices, the points that they share (0 where they share seeds), and programs side by side."""

CompiledFor = Callable[[jax.Device], Compiled]
"""Compiles a program for a device."""

PROGRAMS = Programs()
"""Everything that has been compiled, by function, group, layout, donated names, and the arguments' structure."""


def find_program(
    function: Callable[..., Any],
    group: int,
    layout: Layout,
    shared: Any,
    piece: Any,
    donated: Names,
    on_streams: Callable[[CompiledFor], Program],
) -> Program:
    """``function(shared, per_seed)`` of one seed, as a compiled program of arrays with a leading seed axis.

    The program takes what is shared, a pair of the seeds' arrays without and with only those that are donated, and how
    many seeds are used. Compiling apart from running lets other threads compile while a program runs.

    Args:
        function, group, layout: what, in which groups, and where.
        shared, piece, donated: what it will be given, and what of it it works on in place.
        on_streams: makes the program where several are to run side by side.
    """
    devices, points, streams = layout
    leaves, structure = jax.tree.flatten((shared, piece))
    types = tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)
    # The x64 flag decides what unnamed types come to while tracing.
    signature = (function, group, layout, donated, structure, types, is_double())

    def compiled() -> Program:
        program: OverSeeds = functools.partial(_over_groups, function, group, donated)
        if points:
            program = sharing_points(program, devices, points)
        elif devices > 1:
            program = sharing_seeds(program, devices)

        def apart(shared: Any, kept: Any, given: dict[str, Any], used: jax.Array) -> Any:
            return program(shared, {**kept, **given} if donated else kept, used)

        # By this name JAX's persistent cache tells programs of one thread from those for all cores.
        apart.__name__ = "apart" if streams == 1 else "on_stream"
        donating = jax.jit(apart, donate_argnums=2)
        arguments = (shared, *split(piece, donated), np.int32(0))

        def compiled_of(arguments: Any) -> Compiled:
            with full_matmul_precision():
                return donating.lower(*arguments).compile()

        if streams == 1:
            return compiled_of(arguments)
        shapes = jax.tree.map(_shape, arguments)  # a program for a stream that comes later needs no arrays
        return on_streams(lambda device: compiled_of(jax.tree.map(functools.partial(_shape, device=device), shapes)))

    return PROGRAMS.find(signature, compiled)


def is_double() -> bool:
    """Whether JAX has float64 now."""
    return bool(jax.dtypes.canonicalize_dtype(np.float64) == np.float64)


def _shape(leaf: Any, device: jax.Device | None = None) -> jax.ShapeDtypeStruct:
    """What is compiled for, in place of an array."""
    place = None if device is None else SingleDeviceSharding(device)
    return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype), sharding=place)


def split(per_seed: Any, donated: Names) -> tuple[Any, dict[str, Any]]:
    """Arrays of seeds that a program reads, and those that it works on in place."""
    if not donated:
        return per_seed, {}
    kept = {name: value for name, value in per_seed.items() if name not in donated}
    return kept, {name: per_seed[name] for name in donated}


def _over_groups(
    function: Callable[..., Any], group: int, donated: Names, shared: Any, per_seed: Any, used: jax.Array
) -> Any:
    """Group after group, as far as seeds are used: how many is known at run time only."""

    # As a compiled function it is traced once, for the shapes of its results and for the loop.
    @functools.partial(jax.jit, inline=True)
    def of_group(one: Any) -> Any:
        if group == 1:
            first = jax.tree.map(lambda leaf: leaf[0], one)
            return jax.tree.map(lambda leaf: leaf[None], function(shared, typed_keys(first)))
        return jax.vmap(lambda one: function(shared, typed_keys(one)))(one)

    capacity = jax.tree.leaves(per_seed)[0].shape[0]
    if capacity == group:
        return of_group(per_seed)

    def step(index: jax.Array, results: Any) -> Any:
        start = index * group
        now = {**per_seed, **split(results, donated)[1]} if donated else per_seed
        one = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, group), now)
        return jax.tree.map(
            lambda all_of, new: jax.lax.dynamic_update_slice_in_dim(all_of, new, start, 0), results, of_group(one)
        )

    shapes = jax.eval_shape(of_group, jax.tree.map(lambda leaf: leaf[:group], per_seed))
    empty = jax.tree.map(lambda leaf: jax.numpy.zeros((capacity, *leaf.shape[1:]), leaf.dtype), shapes)
    # Results of a group take the place of what it was given: each group is read before it is written.
    into = {**empty, **split(per_seed, donated)[1]} if donated else empty
    return jax.lax.fori_loop(0, -(-used // group), step, into)
