"""The exact law at initialization: closed forms against mpmath and reference values, draws against real networks."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import mpmath as mp
import numpy as np
import pytest
from scipy import stats

from ntkrobust.bounds.formulas.exact_law import ExactLaw, exact_law
from ntkrobust.bounds.formulas.scaled_chi_square import ScaledChiSquare
from ntkrobust.errors import InputError
from ntkrobust.networks.initializations import Initialization, Scales
from ntkrobust.networks.mlp import MLP
from ntkrobust.numerics.special import log_chi_moment, log_gamma_ratio

REFERENCE = json.loads((Path(__file__).parent / "reference_values.json").read_text())["values"]
WIDE = 10**6
ORDERS = (1e-3, 0.5, 0.999, 1, 1.5, 2, 2.25, 3.7, 4, 8)
# log E (S/ES)^q comes out of about 10 numbers of size q, so a few units of 2e-16·q; depth 200 multiplies it by 199
LOG_TOLERANCE = 1e-14


@pytest.fixture(autouse=True)
def _forty_digits():
    with mp.workdps(40):
        yield


# --- independent routes to E S^q and to the moments of log S, in 40 digits


def relu_window(m: int) -> tuple[list[int], list[mp.mpf]]:
    """k ≥ 1 and weights proportional to C(m,k), within 8√m of m/2: the rest weighs less than e^{−128}."""
    reach = 8 * math.isqrt(m) + 8
    ks = list(range(max(1, m // 2 - reach), min(m, m // 2 + reach) + 1))
    weights = [mp.mpf(1)]
    for k in ks[:-1]:
        weights.append(weights[-1] * (m - k) / (k + 1))
    return ks, weights


def relu_moment(m: int, q: float) -> mp.mpf:
    """THEORY's binomial sum: E S^q = Σ_{k≥1} C(m,k) 2^{−m} 2^q Γ(k/2+q)/Γ(k/2)."""
    q = mp.mpf(q)
    ks, weights = relu_window(m)
    # Γ((k+2)/2+q)/Γ((k+2)/2) = (k/2+q)/(k/2) times the value at k
    chi = [mp.mpf(2) ** q * mp.gammaprod([mp.mpf(k) / 2 + q], [mp.mpf(k) / 2]) for k in ks[:2]]
    for k in ks[:-2]:
        chi.append(chi[-2] * (mp.mpf(k) / 2 + q) / (mp.mpf(k) / 2))
    share_of_positive = 1 - mp.mpf(2) ** -m
    return mp.fdot(weights, chi) / mp.fsum(weights) * share_of_positive


def linear_moment(m: int, q: float) -> mp.mpf:
    return mp.mpf(2) ** q * mp.gammaprod([mp.mpf(m) / 2 + q], [mp.mpf(m) / 2])


def leaky_moment(m: int, a: float, q: float) -> mp.mpf:
    """χ²_k + a²χ²_{m−k} = χ²_m (B + a²(1−B)), B ~ Beta(k/2, (m−k)/2) independent of χ²_m: Euler's integral."""
    q, z = mp.mpf(q), 1 - mp.mpf(a) ** 2
    given_k = (mp.binomial(m, k) * mp.hyp2f1(-q, mp.mpf(m - k) / 2, mp.mpf(m) / 2, z) for k in range(m + 1))
    return linear_moment(m, q) * mp.fsum(given_k) / mp.mpf(2) ** m


def laplace(m: int, a: float):
    a2 = mp.mpf(a) ** 2
    return lambda s: ((1 / mp.sqrt(1 + 2 * s) + 1 / mp.sqrt(1 + 2 * a2 * s)) / 2) ** m


def leaky_root_moment(m: int, a: float) -> mp.mpf:
    """THEORY's (1/√π) ∫ (1 − M(v²)) v^{−2} dv."""
    transform, size = laplace(m, a), 1 / mp.sqrt(m)
    return mp.quad(lambda v: (1 - transform(v * v)) / v**2, [0, size, 4 * size, 30 * size, mp.inf]) / mp.sqrt(mp.pi)


def exact_moment(m: int, a: float, q: float) -> mp.mpf:
    if a == 1:
        return linear_moment(m, q)
    return relu_moment(m, q) if a == 0 else leaky_moment(m, a, q)


def log_scaled(value: mp.mpf, m: int, a: float, q: float) -> mp.mpf:
    """log of E S^q/(E S)^q."""
    return mp.log(value) - mp.mpf(q) * mp.log(m * (1 + mp.mpf(a) ** 2) / 2)


def check_layer(layer: ScaledChiSquare, m: int, a: float, q: float, value: mp.mpf) -> None:
    assert abs(layer.log_moment(q) - log_scaled(value, m, a, q)) < LOG_TOLERANCE * max(1, q)


def law_of(activation="relu", initialization="he", depth=2, width=8, d_out=1, d_in=5, bias_std=None) -> ExactLaw:
    return exact_law(
        MLP(
            depth=depth,
            width=width,
            d_out=d_out,
            activation=activation,
            initialization=initialization,
            bias_std=bias_std,
        ),
        d_in,
    )


# --- one layer


@pytest.mark.parametrize("x", [0.5, 1.0, 7.5, 11.99, 12.0, 500.5, 1e6, 1e9])
@pytest.mark.parametrize("q", [0.0, 1e-9, 0.5, 1.0, 3.7, 50.0])
def test_log_gamma_ratio(x, q):
    exact = mp.loggamma(mp.mpf(x) + mp.mpf(q)) - mp.loggamma(x)
    assert abs(log_gamma_ratio(x, q) - exact) < 1e-15 * max(1, q) * max(1, math.log(x + q))


@pytest.mark.parametrize("q", ORDERS)
@pytest.mark.parametrize("m", [1, 2, 7, 64, WIDE])
@pytest.mark.parametrize("a", [0.0, 1.0])
def test_moments_of_relu_and_linear_layers(m, a, q):
    check_layer(ScaledChiSquare(m, a), m, a, q, exact_moment(m, a, q))


@pytest.mark.parametrize("q", ORDERS)
@pytest.mark.parametrize("m", [1, 2, 7, 64])
@pytest.mark.parametrize("a", [0.01, 0.2, 0.9])
def test_moments_of_leaky_layers(m, a, q):
    check_layer(ScaledChiSquare(m, a), m, a, q, leaky_moment(m, a, q))


@pytest.mark.parametrize("a", [0.01, 0.2, 0.9])
@pytest.mark.parametrize("m", [1, 7, WIDE])
def test_moments_of_leaky_layers_by_quadrature_and_by_hand(m, a):
    layer, a2 = ScaledChiSquare(m, a), mp.mpf(a) ** 2
    check_layer(layer, m, a, 0.5, leaky_root_moment(m, a))
    check_layer(layer, m, a, 1, m * (1 + a2) / 2)
    check_layer(layer, m, a, 2, 3 * m * (1 + a2**2) / 2 + m * (m - 1) * ((1 + a2) / 2) ** 2)


@pytest.mark.parametrize("m", [7, WIDE])
@pytest.mark.parametrize("a", [0.0, 1.0])
@pytest.mark.parametrize("q", [0.5, 2, 3.7])
def test_a_wrong_layer_is_noticed(m, a, q):
    """m/2 + 1 in place of m/2 (that is, two more units) must fail the comparison, even at a width of 10⁶."""
    with pytest.raises(AssertionError):
        check_layer(ScaledChiSquare(m + 2, a), m, a, q, exact_moment(m, a, q))


@pytest.mark.parametrize("a", [0.0, 1e-100, 0.3, 1.0])
@pytest.mark.parametrize("m", [1, 1000, 10**9])
def test_extreme_orders_stay_finite_and_ordered(m, a):
    """E X^q with E X = 1 increases in q beyond 1, and tends to P(S > 0) as q does to 0; no warning on the way."""
    layer = ScaledChiSquare(m, a)
    values = [layer.log_moment(q) for q in (1, 1.5, 2.5, 63.5, 64.5, 65, 499.5, 500)]
    assert np.all(np.diff(values) > 0)
    assert layer.log_moment(1e-300) == pytest.approx(math.log1p(-layer.p_zero), abs=1e-13)


@pytest.mark.parametrize("m", [1, 3, 30])
@pytest.mark.parametrize("q", [50.5, 200, 500])
def test_high_moments(m, q):
    value = log_scaled(relu_moment(m, q), m, 0, q)
    assert abs(ScaledChiSquare(m, 0.0).log_moment(q) - value) < 1e-15 * abs(value) + 1e-12


@pytest.mark.parametrize("m", [2000, 10_000, WIDE])
def test_expansion_of_the_root_moment(m):
    """μ_m = √(m/2)(1 − 5/(8m) − 23/(128m²) + O(m^{−3})); with the sign of the last term wrong it shows at m = 2000."""
    value = math.expm1(ScaledChiSquare(m, 0.0).log_moment(0.5))
    assert abs(value - (-5 / (8 * m) - 23 / (128 * m**2))) < 1 / m**3 + 1e-15
    if m == 2000:
        assert abs(value - (-5 / (8 * m) + 23 / (128 * m**2))) > 100 / m**3


# --- log-moments


def log_moments_from(moment, p_zero) -> tuple[mp.mpf, mp.mpf]:
    """First two derivatives at q = 0 of log E[X^q | X > 0], by central differences in 40 digits."""
    step = mp.mpf(10) ** -9
    values = [mp.log(moment(step * i) / (1 - p_zero)) if i else mp.mpf(0) for i in (-2, -1, 0, 1, 2)]
    mean = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / (12 * step)
    variance = (-values[0] + 16 * values[1] + 16 * values[3] - values[4]) / (12 * step**2)
    return mean, variance


@pytest.mark.parametrize(
    ("m", "a"),
    [(m, a) for m in (1, 2, 7, 64) for a in (0.0, 0.01, 0.2, 0.9, 1.0)] + [(10_000, 0.0), (10_000, 1.0)],
)
def test_log_moments(m, a):
    p_zero = mp.mpf(2) ** -m if a == 0 else 0
    mean, variance = log_moments_from(lambda q: exact_moment(m, a, q), p_zero)
    found = ScaledChiSquare(m, a).log_moments()
    assert abs(found.mean - (mean - mp.log(m * (1 + mp.mpf(a) ** 2) / 2))) < 3e-15
    assert abs(found.variance / variance - 1) < 1e-13


@pytest.mark.parametrize("a", [0.01, 0.2, 0.9])
def test_log_moments_of_wide_leaky_layers(a):
    """E log X and E (log X)² as one-dimensional integrals, which in 40 digits may cancel."""
    m, mean = WIDE, WIDE * (1 + mp.mpf(a) ** 2) / 2
    transform = laplace(m, a)

    def gap(x):
        return mp.exp(-mp.exp(x)) - transform(mp.exp(x) / mean)

    nodes = [-60, -20, -8, -3, -1, 0, 1, 2, 3, 4, 5, 6]
    first = mp.quad(gap, nodes)
    second = -2 * (mp.quad(lambda x: x * gap(x), nodes) + mp.euler * first)
    found = ScaledChiSquare(m, a).log_moments()
    assert abs(found.mean - first) < 1e-15
    assert abs(found.variance / (second - first**2) - 1) < 1e-12


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)", "linear"])
def test_log_variance_of_wide_layers(activation):
    """5/m for ReLU, (6(1+a⁴)/(1+a²)² − 1)/m for leaky ReLU, 2/m for linear: one formula in a."""
    layer = law_of(activation, width=WIDE).layer
    a = layer.slope
    assert layer.log_moments().variance * WIDE == pytest.approx(6 * (1 + a**4) / (1 + a**2) ** 2 - 1, rel=1e-5)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)", "linear"])
@pytest.mark.parametrize("d_out", [1, 3])
def test_log_moments_of_the_law(activation, d_out):
    law = law_of(activation, "lecun", depth=4, width=3, d_out=d_out)
    draws = law.sample(jax.random.key(3), 200_000)
    logs = 2 * np.log(np.abs(draws[draws != 0]))
    expected = law.log_moments()
    assert abs(logs.mean() - expected.mean) < 5 * logs.std() / math.sqrt(logs.size)
    squares = (logs - logs.mean()) ** 2
    assert abs(squares.mean() - expected.variance) < 5 * squares.std() / math.sqrt(logs.size)


# --- closed forms


@pytest.mark.parametrize("entry", REFERENCE, ids=lambda entry: entry["id"])
def test_reference_values(entry):
    given = entry["inputs"]
    kind = entry["id"].split("_")[0]
    slope = given.get("a", 0.0)
    if kind == "mu":
        layer = ScaledChiSquare(given["m"], slope)
        value = math.sqrt(layer.mean) * math.exp(layer.log_moment(0.5))
    elif kind == "ball":
        value = math.exp(-log_gamma_ratio(given["d"] / 2 + 1, 0.5)) / math.sqrt(math.pi)
    else:
        law = law_of(
            f"leaky_relu({slope})" if slope else "relu",
            given["init"],
            given["L"],
            given["m"],
            given.get("o", 1),
            given["d"],
        )
        if "b1_sq" in given:
            assert np.square(law.scales) == pytest.approx(
                [given["b1_sq"], given["b_sq"], given["bL_sq"], given["alpha"] ** 2], rel=1e-14
            )
        value = {
            "P": law.perturbation_stability,
            "EJu4": lambda: law.moment(4),
            "EJF2": law.jacobian_frobenius_sq,
            "EJF4": law.jacobian_frobenius_fourth,
            "leaky": lambda: law.moment(2),
        }[kind]()
    assert value == pytest.approx(entry["value"], rel=entry["rtol"], abs=entry["atol"])
    assert value * (1 + 2 / 1000) != pytest.approx(entry["value"], rel=entry["rtol"], abs=entry["atol"])


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)", "linear"])
@pytest.mark.parametrize("width", [64, WIDE])
def test_depth_200(activation, width):
    """He, L = 200, against closed forms in 40 digits: 199 times the error of one layer, and some to spare."""
    law = law_of(activation, "he", depth=200, width=width, d_in=64)
    a, d = law.layer.slope, 64
    beta_sq = mp.mpf(2) / width
    scale_sq = mp.mpf(2) / d * beta_sq**199
    first = mp.sqrt(2 / mp.pi)
    root = leaky_root_moment(width, a) if 0 < a < 1 else exact_moment(width, a, 0.5)
    a2 = mp.mpf(a) ** 2
    second = width * (1 + a2) / 2
    fourth = 3 * width * (1 + a2**2) / 2 + mp.mpf(width) * (width - 1) * ((1 + a2) / 2) ** 2
    found = {
        "P/ε": (law.perturbation_stability(), mp.mpf(d) / (d + 1) * mp.sqrt(scale_sq) * root**199 * first),
        "second": (law.moment(2), scale_sq * second**199),
        "fourth": (law.moment(4), 3 * scale_sq**2 * fourth**199),
        "‖J‖²": (law.jacobian_frobenius_sq(), d * scale_sq * second**199),
        "‖J‖⁴": (law.jacobian_frobenius_fourth(), d * (d + 2) * scale_sq**2 * fourth**199),
    }
    for name, (value, exact) in found.items():
        assert abs(value / exact - 1) < 2e-12, name


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)", "linear"])
def test_frobenius_fourth_moment_by_other_routes(activation):
    # one output: ‖J‖_F = ‖∇f‖
    law = law_of(activation, "lecun", depth=5, width=6, d_in=7)
    assert law.jacobian_frobenius_fourth() == pytest.approx(law.gradient_norm_moment(4), rel=1e-13)
    # one input: ‖J‖_F = ‖Ju‖
    law = law_of(activation, "lecun", depth=5, width=6, d_in=1, d_out=4)
    assert law.jacobian_frobenius_fourth() == pytest.approx(law.moment(4), rel=1e-13)
    # J^T has the law of a network with d and o exchanged
    plain = Initialization(1.0, 1.0, 1.0)
    one, other = (
        law_of(activation, plain, 4, 6, d_out=o, d_in=d).jacobian_frobenius_fourth() for o, d in ((3, 7), (7, 3))
    )
    assert one == pytest.approx(other, rel=1e-13)


def test_moments_in_relation():
    law = law_of("relu", Initialization(0.7, 0.3, 1.2, alpha=3.0), depth=3, width=6, d_in=5)
    assert law.moment(1) == law.moment(3) == 0.0
    assert law.moment(2) == law.abs_moment(2) == pytest.approx((0.7 * 0.3 * 1.2 / 3) ** 2 * 9, rel=1e-14)
    assert law.log_abs_moment(3) == pytest.approx(math.log(law.abs_moment(3)), rel=1e-14)
    assert law.perturbation_stability() == pytest.approx(5 / 6 * law.abs_moment(), rel=1e-15)
    # P/ε = c_d E‖g‖ with c_5 = 5/16
    assert law.perturbation_stability() == pytest.approx(5 / 16 * law.gradient_norm_moment(), rel=1e-14)
    assert law.gradient_norm_moment(2) == pytest.approx(law.jacobian_frobenius_sq(), rel=1e-14)
    several = law_of("relu", Initialization(0.7, 0.3, 1.2, alpha=3.0), depth=3, width=6, d_in=5, d_out=3)
    assert several.moment(3) == several.abs_moment(3) > 0
    assert several.moment(4) == pytest.approx(5 * law.moment(4), rel=1e-13)  # o(o+2)/3
    assert math.exp(log_chi_moment(3, 2)) == pytest.approx(3, rel=1e-15)


def test_extremes_give_inf_and_zero_without_warnings():
    small, large = law_of(initialization="lecun", depth=4000), law_of("linear", "he", depth=4000)
    assert small.abs_moment() == 0.0
    assert large.moment(2) == math.inf
    assert large.jacobian_frobenius_fourth() == math.inf
    assert math.isfinite(small.log_abs_moment())
    assert math.isfinite(large.log_abs_moment(1000))
    for law in (small, large, law_of("leaky_relu(0.2)", depth=4000, d_out=3)):
        law.sample(jax.random.key(0), 5)
        law.sample_gram(jax.random.key(0), 5)
    dead = law_of(initialization=Initialization(1e3, 1e3, 1e3), depth=400, width=1, d_out=2)
    assert not dead.sample(jax.random.key(0), 5).any()
    assert not dead.sample_gram(jax.random.key(0), 5).any()


def test_p_zero():
    assert law_of(width=2, depth=4).p_zero == pytest.approx(1 - 0.75**3, rel=1e-15)
    assert law_of(width=60, depth=11).p_zero == pytest.approx(10 * 2.0**-60, rel=1e-15)
    assert law_of(width=5000, depth=11).p_zero == 0.0
    assert law_of("leaky_relu", width=1).p_zero == law_of("linear", width=1).p_zero == 0.0


# --- draws against networks


BETAS_SQ = {
    "lecun": lambda d, m, o: (1 / d, 1 / m, 1 / m, 1),
    "he": lambda d, m, o: (2 / d, 2 / m, 2 / m, 1),
    "ntk": lambda d, m, o: (2 / m, 2 / m, 1, 1),
    "xavier": lambda d, m, o: (2 / (d + m), 1 / m, 2 / (m + o), 1),
    "mean_field": lambda d, m, o: (1, math.nan, 1, m),
}
SLOPES = {"relu": 0.0, "leaky_relu(0.2)": 0.2, "linear": 1.0}
NETWORKS, DRAWS = 20_000, 100_000
# about 90 p-values over all cases, none of which may fall below; each wrong law below is far beyond
LEAST_P = 1e-5


@dataclasses.dataclass(frozen=True)
class Case:
    activation: str
    initialization: str
    depth: int
    width: int
    d_out: int
    bias_std: float | None
    d_in: int = 5

    def __str__(self) -> str:
        return "-".join(str(value) for value in dataclasses.astuple(self)[:-1])

    @property
    def law(self) -> ExactLaw:
        return law_of(**dataclasses.asdict(self))

    @property
    def x(self) -> np.ndarray:
        return np.linspace(-0.4, 1.1, self.d_in)

    def jacobians(self) -> np.ndarray:
        """Input Jacobians (n, o, d) at x of networks written out here, weight by weight."""
        rng = np.random.default_rng(2026)
        d, m, o = self.d_in, self.width, self.d_out
        first, hidden, last, alpha = BETAS_SQ[self.initialization](d, m, o)
        h = np.broadcast_to(self.x, (NETWORKS, d))
        jacobian = np.broadcast_to(np.eye(d), (NETWORKS, d, d))
        for layer in range(self.depth - 1):
            weights = math.sqrt(hidden if layer else first) * rng.standard_normal((NETWORKS, m, h.shape[1]))
            z = np.einsum("nij,nj->ni", weights, h)
            if self.bias_std is not None:
                z = z + self.bias_std * rng.standard_normal((NETWORKS, m))
            gates = np.where(z > 0, 1.0, SLOPES[self.activation])
            h, jacobian = gates * z, gates[:, :, None] * (weights @ jacobian)
        return math.sqrt(last) / alpha * rng.standard_normal((NETWORKS, o, m)) @ jacobian


CASES = [
    Case("relu", "he", 2, 8, 1, None),
    Case("relu", "lecun", 4, 3, 1, 0.5),
    Case("relu", "ntk", 4, 8, 3, None),
    Case("relu", "xavier", 2, 2, 3, 0.5),
    Case("relu", "mean_field", 2, 6, 1, 0.3),
    Case("leaky_relu(0.2)", "he", 4, 4, 1, None),
    Case("leaky_relu(0.2)", "lecun", 2, 8, 3, 0.5),
    Case("leaky_relu(0.2)", "xavier", 4, 2, 3, None),
    Case("linear", "he", 4, 8, 1, 0.5),
    Case("linear", "ntk", 2, 2, 3, None),
]


def p_values(jacobians: np.ndarray, x: np.ndarray, law: ExactLaw) -> dict[str, float]:
    """How well networks agree with the law: Kolmogorov-Smirnov on the non-zero part, the share of zeros, two means."""

    def same_law(measured, drawn):
        return stats.ks_2samp(measured[measured != 0], drawn[drawn != 0], method="asymp").pvalue

    def same_mean(measured, mean):
        z = (measured.mean() - mean) / (measured.std() / math.sqrt(measured.size))
        return 2 * stats.norm.sf(abs(z))

    _, o, d = jacobians.shape
    draws = law.sample(jax.random.key(1), DRAWS)
    gram = law.sample_gram(jax.random.key(2), DRAWS)
    found = {}
    # along x the derivative of a bias-free ReLU network is its own value, the case most unlike independence
    for name, u in {"along x": x / np.linalg.norm(x), "across": np.eye(d)[0]}.items():
        ju = jacobians @ u
        ju = ju[:, 0] if o == 1 else np.linalg.norm(ju, axis=1)
        found[f"Ju {name}"] = same_law(ju, draws)
        found[f"E|Ju| {name}"] = same_mean(np.abs(ju), law.abs_moment())
    squares = np.sum(jacobians**2, axis=(1, 2))
    found["‖J‖_F²"] = same_law(squares, np.trace(gram, axis1=1, axis2=2))
    found["E‖J‖_F²"] = same_mean(squares, law.jacobian_frobenius_sq())
    if o > 1:
        spectral = np.linalg.eigvalsh(jacobians @ jacobians.transpose(0, 2, 1))[:, -1]
        found["‖J‖_2²"] = same_law(np.where(squares == 0, 0, spectral), np.linalg.eigvalsh(gram)[:, -1])
    return found


def p_zeros(jacobians: np.ndarray, law: ExactLaw) -> float:
    return stats.binomtest(int(np.sum(~jacobians.any(axis=(1, 2)))), len(jacobians), law.p_zero).pvalue


class UnfairGates(ScaledChiSquare):
    def sample_counts(self, rng, n):
        return rng.binomial(self.width, 0.6, size=n)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_networks_follow_the_law(case):
    jacobians, law = case.jacobians(), case.law
    found = p_values(jacobians, case.x, law) | {"zeros": p_zeros(jacobians, law)}
    assert min(found.values()) > LEAST_P, found

    # the same checks reject each β, or the one factor they enter in, off by 10 %
    scales = law.scales
    wrong = dataclasses.replace(law, scales=Scales(*(1.1 * beta for beta in scales[:3]), scales.alpha))
    found = p_values(jacobians, case.x, wrong)
    assert max(found.values()) < LEAST_P, found

    # and gates that aren't fair
    if law.layer.slope < 1:
        wrong = dataclasses.replace(law, layer=UnfairGates(law.layer.width, law.layer.slope))
        found = {name: p for name, p in p_values(jacobians, case.x, wrong).items() if not name.startswith("E")}
        assert max(found.values()) < LEAST_P, found


def test_share_of_zeros():
    """Networks, ``p_zero``, ``sample`` and ``sample_gram`` agree on the atom; one unit more or less is noticed."""
    case = Case("relu", "he", 4, 3, 3, None)
    jacobians, law = case.jacobians(), case.law
    assert p_zeros(jacobians, law) > LEAST_P
    for width in (2, 4):
        assert p_zeros(jacobians, law_of(depth=4, width=width)) < LEAST_P
    for draws in (law.sample(jax.random.key(5), DRAWS), law.sample_gram(jax.random.key(6), DRAWS).any(axis=(1, 2))):
        assert stats.binomtest(int(np.sum(draws == 0)), DRAWS, law.p_zero).pvalue > LEAST_P


def test_gram_moments():
    """Mean of J J^T and of ‖J‖_F⁴, where fewer units than outputs make the Wishart matrices singular."""
    for activation, width in (("relu", 2), ("leaky_relu(0.5)", 2), ("leaky_relu(0.5)", 6), ("linear", 1)):
        law = law_of(activation, "he", depth=3, width=width, d_out=3)
        gram = law.sample_gram(jax.random.key(8), DRAWS)
        assert np.array_equal(gram, gram.transpose(0, 2, 1))
        expected = law.jacobian_frobenius_sq() / 3 * np.eye(3)
        assert np.all(abs(gram.mean(axis=0) - expected) < 5 * gram.std(axis=0) / math.sqrt(DRAWS))
        fourth = np.trace(gram, axis1=1, axis2=2) ** 2
        error = fourth.std() / math.sqrt(DRAWS)
        assert abs(fourth.mean() - law.jacobian_frobenius_fourth()) < 5 * error
        assert abs(fourth.mean() - 1.5 * law.jacobian_frobenius_fourth()) > 5 * error


def test_draws_are_reproducible():
    law = law_of(d_out=2)
    for sample, shape in ((law.sample, (7,)), (law.sample_gram, (7, 2, 2))):
        first, again, other = (sample(jax.random.key(seed), 7) for seed in (4, 4, 5))
        assert type(first) is np.ndarray
        assert first.shape == shape
        assert first.dtype == np.float64
        assert np.array_equal(first, again)
        assert not np.any(first == other)


# --- bad input


@pytest.mark.parametrize("activation", ["erf", "gelu", "tanh"])
def test_only_positively_homogeneous_activations(activation):
    with pytest.raises(InputError, match=f"homogeneous.*got {activation}"):
        law_of(activation)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: law_of(width=None), "give the MLP a width"),
        (lambda: law_of(d_in=0), "d_in must be an integer"),
        (lambda: law_of("leaky_relu(1e-200)"), "slope"),
        (lambda: law_of().moment(1.5), "got 1.5"),
        (lambda: law_of().moment(0), "at least 1"),
        (lambda: law_of().moment(1002), "1000"),
        (lambda: law_of().abs_moment(0.0), "0 < p"),
        (lambda: law_of().abs_moment(-1), "0 < p"),
        (lambda: law_of().abs_moment(math.nan), "0 < p"),
        (lambda: law_of().abs_moment("2"), "0 < p"),
        (lambda: law_of(d_out=2).gradient_norm_moment(2), "one output"),
        (lambda: law_of().sample(jax.random.key(0), 0), "n must be"),
        (lambda: law_of().sample(0, 5), "typed JAX key"),
        (lambda: law_of().sample(np.array([0, 1], dtype=np.uint32), 5), "typed JAX key"),
        (lambda: law_of().sample_gram(jax.random.split(jax.random.key(0)), 5), "typed JAX key"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
