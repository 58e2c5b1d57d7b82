"""The exact law of the input Jacobian at initialization, at any finite width.

For relu, leaky_relu and linear networks, any fixed x ≠ 0, with or without biases,

    J(x) =_d (1/α) W_L B_{L−1} W_{L−1} ⋯ B_1 W_1,

where the B_l are diagonal with independent fair entries in {a, 1} (a the slope on the negative half-line), independent
of the weights. Mechanism: Hanin & Nica, arXiv 1812.05994; the matrix form, the closed forms and their numerics are
derived in docs/exact-law.md. The law does not depend on x, and says nothing joint over several x or with f(x).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

from ntkrobust.bounds.formulas.scaled_chi_square import LogMoments, ScaledChiSquare
from ntkrobust.checks import check_integer, takes, whole
from ntkrobust.errors import InputError
from ntkrobust.networks.initializations import Scales
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network, a_network
from ntkrobust.numerics.special import exp_or_inf, log_chi_moment
from ntkrobust.values import Shown

Array = NDArray[np.float64]

MOST_DRAWS = 2**27
"""Numbers that are drawn at once."""

MAX_ORDER = 1000
"""Largest order of a moment: beyond it intermediate results leave the range of float64."""
MIN_SLOPE = 1e-100
"""Smallest slope of leaky_relu, for the same reason."""


@dataclasses.dataclass(frozen=True)
class ExactLaw(Shown):
    """The law of J(x) = ∂f/∂x over initializations of ``net``; :func:`exact_law` makes one.

    With A = β₁ β^{L−2} β_L/α, independent S_l ~ S (one per hidden layer) and any fixed unit vector u,

        ‖Ju‖² =_d A² (∏_{l=1}^{L−1} S_l) χ²_o,     o = 1: ∂_u f =_d A (∏ S_l)^{1/2} N(0, 1).

    Attributes:
        net: the network.
        d_in: input dimension d.
        scales: β₁, β, β_L and α as numbers.
        layer: the law of S.

    Moments are exact, in float64: measured against mpmath their relative error is below 3·10⁻¹³ for depth up to 200,
    width up to 10⁶ and order up to 4.
    """

    net: MLP
    d_in: int
    scales: Scales
    layer: ScaledChiSquare

    def _facts(self) -> Mapping[str, Any]:
        several = self.net.d_out > 1
        return {
            "network": self.net,
            "d": self.d_in,
            "E ‖Ju‖²" if several else "E (∂_u f)²": self.abs_moment(2),
            "E ‖Ju‖" if several else "E |∂_u f|": self.abs_moment(1),
            "P/ε": self.perturbation_stability(),
            "P(J = 0)": self.p_zero,
        }

    def moment(self, p: int) -> float:
        """E (∂_u f)^p for one output (0 for odd p), E ‖Ju‖^p for several.

        Args:
            p: an integer from 1 to 1000.

        Raises:
            InputError: p is something else.
        """
        p = check_integer("the order of a moment", p, 1)
        return 0.0 if self.net.d_out == 1 and p % 2 else self.abs_moment(p)

    def abs_moment(self, p: float = 1.0) -> float:
        """E |∂_u f|^p for one output, E ‖Ju‖^p for several: A^p (E S^{p/2})^{L−1} E χ_o^p.

        Args:
            p: any real number with 0 < p ≤ 1000.

        Returns:
            The moment; inf or 0 only where the true value is beyond the range of float64 (see :meth:`log_abs_moment`).

        Raises:
            InputError: p is out of range.
        """
        return exp_or_inf(self.log_abs_moment(p))

    def log_abs_moment(self, p: float = 1.0) -> float:
        """log of :meth:`abs_moment`, always finite."""
        return self._log_radial_moment(p, self.net.d_out)

    def gradient_norm_moment(self, p: float = 1.0) -> float:
        """E ‖∇f‖^p for one output: A^p (E S^{p/2})^{L−1} E χ_d^p.

        Raises:
            InputError: p is not in (0, 1000], or the network has several outputs.
        """
        if self.net.d_out != 1:
            raise InputError(f"the gradient norm is defined for one output, got d_out={self.net.d_out}")
        return exp_or_inf(self._log_radial_moment(p, self.d_in))

    def jacobian_frobenius_sq(self) -> float:
        """E ‖J‖_F² = d E ‖Ju‖² = d o A² (E S)^{L−1}."""
        return self.d_in * self.abs_moment(2)

    def jacobian_frobenius_fourth(self) -> float:
        """E ‖J‖_F⁴, by the recursion of T = E (tr G)² and U = E tr G² (docs/exact-law.md).

        G = Z^T Z with Z = B_l V_l ⋯ B_1 V_1 and V_l standard Gaussian. From T = d², U = d, with m₂ = E b², m₄ = E b⁴,

            T' = m m₄ (T + 2U) + m(m−1) m₂² T,     U' = m m₄ (T + 2U) + m(m−1) m₂² U,

        L−1 times; then E ‖J‖_F⁴ = A⁴ (o²T + 2oU).
        """
        m, o = self.layer.width, self.net.d_out
        # divided by (E S)² = (m m₂)² at each step, and by T, so that no depth overflows
        same = self.layer.gate_fourth_moment / self.layer.gate_second_moment**2 / m
        other = (m - 1) / m
        log_t, u = 2 * math.log(self.d_in), 1 / self.d_in  # log T and U/T
        for _ in range(self.net.depth - 1):
            t_next = same * (1 + 2 * u) + other
            u = (same * (1 + 2 * u) + other * u) / t_next
            log_t += math.log(t_next)
        return exp_or_inf(4 * self._log_scale + log_t + math.log(o * o + 2 * o * u))

    def perturbation_stability(self) -> float:
        """P/ε averaged over initializations: (d/(d+1)) E ‖Ju‖ (larger is less robust).

        P = E ‖J (x̂ − x)‖ with x̂ uniform in the ball of radius ε about x: x̂ − x = εRu, E R = d/(d+1).
        """
        return self.d_in / (self.d_in + 1) * self.abs_moment(1)

    @property
    def p_zero(self) -> float:
        """P(J = 0): 1 − (1 − 2^{−m})^{L−1} for relu, where a layer may have all gates closed; otherwise 0."""
        # 1 − (1 − p)^{L−1} would be 0 from m = 54 on
        return -math.expm1((self.net.depth - 1) * math.log1p(-self.layer.p_zero))

    def log_moments(self) -> LogMoments:
        """Mean and variance of log ‖Ju‖², conditional on J ≠ 0 (an event of probability 1 − ``p_zero``).

        log ‖Ju‖² = log A² + Σ_l log S_l + log χ²_o, and log χ²_o has mean log 2 + ψ(o/2) and variance ψ'(o/2). For one
        output ‖Ju‖ = |∂_u f|. Either is accurate to about 10⁻¹⁵ per layer.
        """
        layer, hidden, o = self.layer.log_moments(), self.net.depth - 1, self.net.d_out
        return LogMoments(
            2 * self._log_scale + hidden * layer.mean + math.log(2) + float(digamma(o / 2)),
            hidden * layer.variance + float(polygamma(1, o / 2)),
        )

    def sample(self, key: jax.Array, n: int) -> Array:
        """Independent draws of ∂_u f (one output, signed) or ‖Ju‖ (several), zeros included.

        Args:
            key: a typed JAX key; the same key and n give the same draws.
            n: how many.

        Returns:
            float64 of shape (n,).

        Raises:
            InputError: ``key`` is not one typed key, or n is not a positive integer.
        """
        n = check_integer("n", n, 1, maximum=MOST_DRAWS)
        rng = _generator(key)
        log_radius = np.full(n, self._log_scale)
        for _ in range(self.net.depth - 1):
            log_radius += 0.5 * self.layer.sample_log(rng, n)
        o = self.net.d_out
        last = rng.standard_normal(n) if o == 1 else np.sqrt(2 * rng.standard_gamma(o / 2, n))
        with np.errstate(over="ignore"):  # inf where the draw is beyond the range of float64
            return last * np.exp(log_radius)

    def sample_gram(self, key: jax.Array, n: int) -> Array:
        """Independent draws of J J^T, zeros included: ‖J‖_F² is its trace, ‖J‖_2² its largest eigenvalue.

        From the output down: given P = V_L B_{L−1} V_{L−1} ⋯ B_l with P P^T = R R^T, the columns of P V_l are
        independent N(0, R R^T), so P V_l =_d R V with V an o×m standard Gaussian (o×d for l = 1). Hence, with Wishart
        matrices in place of the V's,

            J J^T =_d A² R R^T,   R = F_{L−1} ⋯ F_1 F_0,   F_0 F_0^T ~ Wishart_o(d),
            F_l F_l^T ~ Wishart_o(k) + a² Wishart_o(m−k),   k ~ Bin(m, 1/2).

        Args:
            key: a typed JAX key; the same key and n give the same draws.
            n: how many.

        Returns:
            float64 of shape (n, o, o), symmetric. Working memory is a few times as much, whatever the width.

        Raises:
            InputError: ``key`` is not one typed key, or n is not a positive integer.
        """
        n = check_integer("n", n, 1, maximum=MOST_DRAWS)
        rng = _generator(key)
        o = self.net.d_out
        factor, log_size = np.broadcast_to(np.eye(o), (n, o, o)), np.zeros(n)
        for _ in range(self.net.depth - 1):
            factor = factor @ self._layer_factor(rng, n)
            # kept at size 1: a product of many factors leaves the range of float64 long before A² times it does
            size = np.abs(factor).max(axis=(1, 2))
            with np.errstate(divide="ignore"):  # log 0 = −inf: a draw that is 0 stays so, however large A is
                log_size += np.log(size)
            factor /= np.where(size == 0, 1, size)[:, None, None]
        factor = factor @ _wishart_factor(rng, np.full(n, self.d_in), o)
        with np.errstate(over="ignore"):  # inf where the draw is beyond the range of float64
            return np.exp(2 * (self._log_scale + log_size))[:, None, None] * (factor @ factor.transpose(0, 2, 1))

    @property
    def _log_scale(self) -> float:
        """log A (E S)^{(L−1)/2}, half of log E ‖Ju‖²/o, one factor per layer (β² E S = 1 for He and relu)."""
        root = math.sqrt(self.layer.mean)
        return math.fsum(
            (
                math.log(self.scales.beta_first * root),
                (self.net.depth - 2) * math.log(self.scales.beta * root),
                math.log(self.scales.beta_last),
                -math.log(self.scales.alpha),
            )
        )

    def _log_radial_moment(self, p: float, k: int) -> float:
        """log E (A² ∏ S_l χ²_k)^{p/2}."""
        if not isinstance(p, Real) or not 0 < p <= MAX_ORDER:
            raise InputError(f"the order of a moment must be a number with 0 < p ≤ {MAX_ORDER}, got {p!r}")
        p = float(p)
        return p * self._log_scale + (self.net.depth - 1) * self.layer.log_moment(p / 2) + log_chi_moment(k, p)

    def _layer_factor(self, rng: np.random.Generator, n: int) -> Array:
        """n draws of F (n, o, o) with F F^T ~ (Wishart_o(k) + a² Wishart_o(m−k))/E S, k ~ Bin(m, 1/2)."""
        a, o = self.layer.slope, self.net.d_out
        k = self.layer.sample_counts(rng, n)
        factor = _wishart_factor(rng, k, o)
        if 0 < a < 1:
            # [F, aF'] = RQ with orthonormal rows of Q, so F F^T + a² F' F'^T = R R^T, also when that is singular
            wide = np.concatenate((factor, a * _wishart_factor(rng, self.layer.width - k, o)), axis=2)
            factor = np.asarray(np.linalg.qr(wide.transpose(0, 2, 1), mode="r")).transpose(0, 2, 1)
        return factor / math.sqrt(self.layer.mean)


@takes(net=a_network, d_in=whole(1))
def exact_law(net: Network, d_in: int) -> ExactLaw:
    """The law of the input Jacobian of ``net`` at initialization, at any x ≠ 0 (derived in docs/exact-law.md).

    Args:
        net: a network of finite width with a positively homogeneous activation (relu, leaky_relu or linear).
        d_in: input dimension d ≥ 1.

    Raises:
        InputError: the network isn't fully connected, the activation is another one, the width is None, or d_in is not
            a positive integer.
    """
    if not isinstance(net, MLP):
        raise InputError(f"the exact law is about fully connected networks, got {net!r}")
    slope = net.phi.negative_slope
    if slope is None:
        raise InputError(f"the exact law needs relu, leaky_relu or linear (positively homogeneous), got {net.phi}")
    if 0 < slope < MIN_SLOPE:
        raise InputError(f"the exact law needs a slope of 0 or at least {MIN_SLOPE:g}, got {net.phi}")
    if net.width is None:
        raise InputError(f"the exact law is about networks of finite width: give the MLP a width, got {net!r}")
    return ExactLaw(net, d_in, net.scales(d_in), ScaledChiSquare(net.width, slope))


def _generator(key: jax.Array) -> np.random.Generator:
    if not (isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()):
        raise InputError(f"key must be one typed JAX key, such as jax.random.key(0), got {key!r}")
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


def _wishart_factor(rng: np.random.Generator, degrees: NDArray[np.int64], o: int) -> Array:
    """Lower-triangular T (n, o, o) with T T^T ~ Wishart_o(degrees, I), for each of n degrees of freedom ≥ 0.

    Bartlett's decomposition, the L of an LQ decomposition of an o×degrees Gaussian: T_ii² ~ χ²_{degrees−i} for i from
    0, T_ij ~ N(0, 1) below; with fewer degrees than o, the columns from ``degrees`` on are zero.
    """
    left = np.maximum(degrees[:, None] - np.arange(o), 0)
    factor = np.tril(rng.standard_normal((degrees.size, o, o)), -1) * (left > 0)[:, None, :]
    factor[:, np.arange(o), np.arange(o)] = np.sqrt(2 * rng.standard_gamma(left / 2))
    return factor
