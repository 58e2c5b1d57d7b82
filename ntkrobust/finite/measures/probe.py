"""One network at one time, as measures see it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from ntkrobust.domain import domain_in
from ntkrobust.errors import InputError
from ntkrobust.finite.measures import stability
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import LayerScales, Parameters
from ntkrobust.numerics import spectral
from ntkrobust.values import Value

_T = TypeVar("_T")


class Probe:
    """One network at one time, as a measure sees it. What several measures need is computed once.

    So read it before going into a transformation such as ``jax.lax.map``: what is first computed inside stays inside.

    Attributes:
        model, scales: the network's function, and the numbers that set its scales.
        parameters: of this network.
        x: test inputs (n', d).
        key: a typed key of this seed, for measures that sample.
        samples: draws per point for measures that sample.
        domain: range of the data and coordinates that may move, as :meth:`ntkrobust.domain.Domain.arrays` gives them:
            whatever looks for other inputs stays inside.
    """

    def __init__(
        self,
        model: Model,
        scales: LayerScales,
        parameters: Parameters,
        initial: Parameters | None,
        data: dict[str, jax.Array],
        key: jax.Array,
        samples: int,
    ) -> None:
        self.model, self.scales = model, scales
        self.parameters, self._initial, self._data = parameters, initial, data
        self.x, self._y = data["x"], data.get("y")
        self._training = data.get("x_train"), data.get("y_train")
        self.key, self._epsilon, self.samples = key, data.get("epsilon"), samples
        self.domain: dict[str, jax.Array] = domain_in(data)
        self._found: dict[Any, Any] = {}

    def once(self, compute: Callable[..., _T], *of: Any) -> _T:
        """``compute(probe, *of)`` of this network, computed for the first measure that asks.

        Numbers that the program is given at run time are the same if they are one array of it, as they are where two
        measures of a call have equal ones.
        """
        key = (compute, *map(_identity, of))
        if key not in self._found:
            # What is kept is alive, so no other array has its identity.
            self._found[key] = of, compute(self, *of)
        found: _T = self._found[key][1]
        return found

    @property
    def labels(self) -> jax.Array:
        """Test targets (n', o); for measures that need ``y_test``."""
        return _declared(self._y, "test targets", "needs=('y_test',)")

    @property
    def x_train(self) -> jax.Array:
        """Training inputs (n, d); for measures with ``needs_training_data``."""
        return _declared(self._training[0], "training data", "needs_training_data=True")

    @property
    def y_train(self) -> jax.Array:
        """Training targets (n, o); for measures with ``needs_training_data``."""
        return _declared(self._training[1], "training data", "needs_training_data=True")

    @property
    def epsilon(self) -> jax.Array:
        """Radius of finite perturbations, in the units of x; for measures that need ``epsilon``."""
        return _declared(self._epsilon, "epsilon", "needs=('epsilon',)")

    def f(self, x: jax.Array) -> jax.Array:
        """f(x) (n, o) at any inputs x (n, d)."""
        return self.model.outputs(self.scales, self.parameters, x)

    def f_in_columns(self, x: jax.Array) -> jax.Array:
        """f(x) (o, n) at any inputs x (d, n)."""
        return self.model.outputs_in_columns(self.scales, self.parameters, x)

    def kernel(self, parameters: Parameters, x: jax.Array) -> jax.Array:
        """The empirical NTK Θ(x, x) (n, o, n, o) at these parameters."""
        return self.model.kernel(self.scales, parameters, x)

    @property
    def initial(self) -> Parameters:
        """The same network's parameters before training; for measures with ``needs_initial``."""
        return _declared(self._initial, "a probe's initial parameters", "needs_initial=True")

    @cached_property
    def untrained(self) -> Probe:
        """The same network before training, at the same points; for measures with ``needs_initial``."""
        return Probe(self.model, self.scales, self.initial, self._initial, self._data, self.key, self.samples)

    @cached_property
    def outputs(self) -> jax.Array:
        """f at the test inputs, (n', o)."""
        return self.f(self.x)

    @cached_property
    def jacobian(self) -> jax.Array:
        """∂f/∂x at the test inputs, (n', o, d)."""
        return self.model.jacobian(self.scales, self.parameters, self.x)

    @cached_property
    def stability(self) -> jax.Array:
        """P/ε at the test inputs, (n',)."""
        return stability.ball_stability(self.jacobian)

    @cached_property
    def spectral_norms(self) -> spectral.SpectralNorm:
        """Ends (L,) around ‖W_l‖₂ of every layer, without its factor in the forward pass."""
        if not isinstance(self.parameters, Parameters):
            raise InputError("the norms of layers are known for networks of this package, not for one of one's own")
        # Those of one shape together: compiled, and given memory, once.
        same_shape = itertools.groupby(self.parameters.weights, key=jnp.shape)
        parts = [spectral.spectral_norms(jnp.stack(list(same))) for _, same in same_shape]
        return spectral.SpectralNorm(*(jnp.concatenate(ends) for ends in zip(*parts, strict=True)))


def _declared(value: _T | None, what: str, argument: str) -> _T:
    """What a measure reads; InputError, as what follows its name, if it hasn't said that it would."""
    if value is None:
        raise InputError(f"reads {what}, so it has to be made with {argument}")
    return value


def _identity(value: Any) -> Any:
    """What tells a value from others: itself, or for arrays of a program that they are this one."""
    if isinstance(value, jax.Array):
        return id(value)
    if isinstance(value, Value):
        return type(value), tuple((name, _identity(one)) for name, one in sorted(vars(value).items()))
    return value
