"""Gaussian initializations: the standard deviations β₁, β, β_L and the output scale α.

The network is f(x) = (1/α) W_L φ(W_{L−1} φ(… φ(W_1 x))) with W_1 ∈ R^{m×d}, W_l ∈ R^{m×m} for 2 ≤ l ≤ L−1 and
W_L ∈ R^{o×m}; all entries are independent centred Gaussians, with variances β₁², β² and β_L². The names are those the
robustness papers use; note that ``ntk`` is an initialization of weights, not the NTK parameterization.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

from ntkrobust.checks import check_integer, shown, unknown
from ntkrobust.errors import InputError
from ntkrobust.values import Value

Scale = float | Callable[[int, int, int], float]
"""A positive number, or a function of (d, m, o) that gives one."""


class Scales(NamedTuple):
    """The numbers an initialization comes to for given d, m and o."""

    beta_first: float
    beta: float
    beta_last: float
    alpha: float


@dataclasses.dataclass(frozen=True)
class _FanInGain:
    """β_l = √(σ_l²/fan_in), with fan_in = d for the first layer and m for the others."""

    variance: float
    first: bool = False

    def __call__(self, d: int, m: int, o: int) -> float:
        return math.sqrt(self.variance / (d if self.first else m))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _Times(Value):
    """A factor on a scale that depends on the network."""

    factor: float
    scale: Callable[[int, int, int], float]

    def __call__(self, d: int, m: int, o: int) -> float:
        return self.factor * self.scale(d, m, o)


@dataclasses.dataclass(frozen=True, eq=False)
class Initialization(Value):
    """Standard deviations of the weights, and the output scale.

    Attributes:
        beta_first: β₁, of the entries of W_1.
        beta: β, of the entries of W_2 … W_{L−1} (unused for L = 2).
        beta_last: β_L, of the entries of W_L.
        alpha: α, which divides the output W_L φ(…) (an output bias is not divided).
        name: the name it is known by, if any; one of :data:`NAMED` prints as its name.

    Each of the four is a positive number or a function of (d, m, o): input dimension, width, number of outputs.

    Raises:
        InputError: a number among them is not positive and finite.
    """

    beta_first: Scale
    beta: Scale
    beta_last: Scale
    alpha: Scale = 1.0
    name: str | None = None

    def __post_init__(self) -> None:
        for field in ("beta_first", "beta", "beta_last", "alpha"):
            value = getattr(self, field)
            if not callable(value):
                object.__setattr__(self, field, _positive(value, f"{field} of an Initialization"))

    @classmethod
    def from_gains(cls, first: float = 2.0, hidden: float = 2.0, last: float = 1.0) -> Initialization:
        """The initialization with β_l² = σ_l²/fan_in, given the gains σ_1², σ² and σ_L².

        ``from_gains(2, 2, 2)`` is ``he`` and ``from_gains(1, 1, 1)`` is ``lecun``; with
        ``parameterization="ntk"`` the law at initialization stays the same and training changes.
        """
        first, hidden, last = (
            _positive(gain, f"gain {name!r}") for name, gain in (("first", first), ("hidden", hidden), ("last", last))
        )
        return cls(_FanInGain(first, first=True), _FanInGain(hidden), _FanInGain(last))

    def scales(self, d: int, m: int, o: int) -> Scales:
        """β₁, β, β_L and α as numbers, for input dimension d, width m and o outputs.

        Raises:
            InputError: a function gave something else than a positive finite number.
        """
        d, m, o = (check_integer(name, size, 1) for name, size in (("d", d), ("m", m), ("o", o)))
        return Scales(
            *(
                _positive(value(d, m, o), f"{field} at (d, m, o) = ({d}, {m}, {o})") if callable(value) else value
                for field, value in (
                    ("beta_first", self.beta_first),
                    ("beta", self.beta),
                    ("beta_last", self.beta_last),
                    ("alpha", self.alpha),
                )
            )
        )

    def with_alpha_times(self, factor: float) -> Initialization:
        """The same weights with α multiplied by ``factor``, so the output divided by it; the name is kept.

        Raises:
            InputError: the factor is not positive and finite.
        """
        factor = _positive(factor, "a factor on alpha")
        if factor == 1:
            return self
        alpha = _Times(factor, self.alpha) if callable(self.alpha) else factor * self.alpha
        return dataclasses.replace(self, alpha=alpha)

    @property
    def fan_in_gains(self) -> tuple[float, float, float] | None:
        """σ_1², σ² and σ_L², if the weights are made of gains (see :meth:`from_gains`), whatever α is."""
        betas = (self.beta_first, self.beta, self.beta_last)
        variances = [beta.variance for beta in betas if isinstance(beta, _FanInGain)]
        return (variances[0], variances[1], variances[2]) if len(variances) == 3 else None

    @property
    def gains(self) -> tuple[float, float, float] | None:
        """The same, if the initialization also scales no output."""
        return self.fan_in_gains if self.alpha == 1.0 else None

    @property
    def known_as(self) -> str | None:
        """The name by which :func:`as_initialization` finds exactly this initialization, if there is one."""
        return self.name if self.name is not None and NAMED.get(self.name) == self else None

    def __repr__(self) -> str:
        if self.known_as is not None:
            return repr(self.known_as)
        if self.gains is not None and self.name is None:
            return "Initialization.from_gains(first={!r}, hidden={!r}, last={!r})".format(*self.gains)
        betas = (self.beta_first, self.beta, self.beta_last)
        shown = ", ".join(
            f"{field}={value.__name__ if hasattr(value, '__name__') else repr(value)}"
            for field, value in zip(("beta_first", "beta", "beta_last", "alpha"), (*betas, self.alpha), strict=True)
        )
        return f"Initialization({shown}{'' if self.name is None else f', name={self.name!r}'})"


def _positive(value: object, what: str) -> float:
    # A scale may come out of a function as a scalar array of numpy or JAX.
    is_scalar_array = getattr(value, "shape", None) == () and getattr(getattr(value, "dtype", None), "kind", "") == "f"
    plain = value.item() if is_scalar_array else value  # type: ignore[attr-defined]
    if not isinstance(plain, Real) or isinstance(plain, bool):
        raise InputError(f"{what} must be a positive number, got {shown(value)}")
    try:
        number = float(plain)
    except OverflowError:  # an integer or a fraction beyond the floats
        number = math.inf
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{what} must be positive and finite, got {number:g}")
    return number


def _gains(name: str, variance: float) -> Initialization:
    return dataclasses.replace(Initialization.from_gains(variance, variance, variance), name=name)


NAMED: dict[str, Initialization] = {
    # β₁² = 1/d, β² = β_L² = 1/m
    "lecun": _gains("lecun", 1.0),
    # β₁² = 2/d, β² = β_L² = 2/m
    "he": _gains("he", 2.0),
    # β₁² = β² = 2/m, β_L² = 1: the "NTK initialization" of the theory papers, not the NTK parameterization
    "ntk": Initialization(lambda d, m, o: math.sqrt(2 / m), lambda d, m, o: math.sqrt(2 / m), 1.0, name="ntk"),
    # β₁² = 2/(d+m), β² = 1/m, β_L² = 2/(m+o)
    "xavier": Initialization(
        lambda d, m, o: math.sqrt(2 / (d + m)),
        lambda d, m, o: math.sqrt(1 / m),
        lambda d, m, o: math.sqrt(2 / (m + o)),
        name="xavier",
    ),
    # β₁² = β_L² = 1, α = m: two layers only, so β is never used
    "mean_field": Initialization(1.0, 1.0, 1.0, alpha=lambda d, m, o: float(m), name="mean_field"),
}


def as_initialization(value: str | Initialization) -> Initialization:
    """A name, ``gains(σ_1², σ², σ_L²)`` or an :class:`Initialization`, as an :class:`Initialization`.

    Raises:
        InputError: the name is unknown.
    """
    if isinstance(value, Initialization):
        return value
    gains = re.fullmatch(r"gains\(([^,()]+),([^,()]+),([^,()]+)\)", value) if isinstance(value, str) else None
    if gains is not None:
        try:
            return Initialization.from_gains(*(float(gain) for gain in gains.groups()))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"the gains in {value!r} are not numbers") from None
    if not isinstance(value, str) or value not in NAMED:
        raise unknown("initialization", value, NAMED, " or an Initialization")
    return NAMED[value]
