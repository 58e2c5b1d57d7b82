"""How functions of one seed are run over many: one interface, and whichever way of doing it this machine has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax

from ntkrobust.runtime.accelerated import CORE_CLIENTS
from ntkrobust.runtime.compiling import Names
from ntkrobust.runtime.core_clients import CoreExecutor
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.plain import PlainExecutor


class Executor(Protocol):
    """Runs a function of one seed over seeds, laid out as a plan says.

    What runs does not depend on which executor it is: for one plan numbers are the same to the bit as long as XLA does
    not cut a matrix product into pieces for several threads, and to rounding where it does.
    """

    def over_times(
        self,
        function: Callable[[Any, Any], Any],
        plan: Plan,
        shared: Any,
        at_times: Sequence[Any],
        donated: Names = (),
        resident: Names = (),
    ) -> list[Any]:
        """``function(shared, one_seed)`` for every seed at each of several times, in one go.

        Matrix products keep all of float32.

        Args:
            function: a hashable, traceable function of one seed; what it returns is a pytree of arrays.
            plan: how to lay the seeds out.
            shared: pytree of arrays that every seed sees.
            at_times: for each time a pytree of arrays with a leading seed axis, of equal shapes; keys are
                :class:`~ntkrobust.runtime.seeds.RawKeys`, which ``function`` sees as typed ones.
            donated: names in what is given for a time, a dict then, that ``function`` returns with the same shapes and
                types. Programs work on these in place. What the caller holds in numpy arrays stays as it is.
            resident: names of results, in a dict then, that are only ever given back here. They stay on the device
                where one program holds all seeds, and are given to it, or overwritten, if they are donated.

        Returns:
            For each time what ``function`` returns, with a leading seed axis, as numpy arrays where it is not
            ``resident``.
        """


def executor() -> Executor:
    """A core for each program where that is to be had and of use; else JAX's public API alone."""
    return CoreExecutor() if jax.default_backend() == "cpu" and CORE_CLIENTS.found() else PlainExecutor()


def run_over_times(
    function: Callable[[Any, Any], Any],
    plan: Plan,
    shared: Any,
    at_times: Sequence[Any],
    donated: Names = (),
    resident: Names = (),
) -> list[Any]:
    """:meth:`Executor.over_times` by this machine's executor."""
    return executor().over_times(function, plan, shared, at_times, donated, resident)


def run_over_seeds(
    function: Callable[[Any, Any], Any],
    plan: Plan,
    shared: Any,
    per_seed: Any,
    donated: Names = (),
    resident: Names = (),
) -> Any:
    """:meth:`Executor.over_times` for one time, given and returned as it is."""
    return run_over_times(function, plan, shared, [per_seed], donated, resident)[0]
