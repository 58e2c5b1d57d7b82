"""Measures: named numbers of an ensemble at points, each with its definition and its side.

A measure's *side* says how the reported number relates to the quantity it is named after: ``exact``, or a ``lower`` or
``upper`` bound of it. Statements may be refuted or supported only by numbers of the right side.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import xarray as xr

from ntkrobust.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_sequence,
    check_text,
    shown,
    takes,
    unknown,
)
from ntkrobust.data.checks import check_same_index
from ntkrobust.data.encoding import check_have_classes, encode_like
from ntkrobust.domain import Domain
from ntkrobust.errors import InputError
from ntkrobust.finite import differences
from ntkrobust.finite.arrays import as_radius, single_precision
from ntkrobust.finite.attacks.balls import Ball, random_point
from ntkrobust.finite.measures import attacked as attacks
from ntkrobust.finite.measures import stability
from ntkrobust.finite.representable import check_representable
from ntkrobust.finite.training.run import Run, a_run
from ntkrobust.networks.derivatives import parameter_gradient_unit
from ntkrobust.networks.drawing import run_over_draws
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.models import Model, model_of
from ntkrobust.networks.network import Network, a_network
from ntkrobust.networks.parameters import LayerScales, Parameters, layer_scales
from ntkrobust.networks.plans import choose_plan
from ntkrobust.numerics import scaling, spectral
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.numerics.scaling import Scaled, resolved
from ntkrobust.runtime.layout import Plan, run_over_times
from ntkrobust.runtime.seeds import check_seeds, seed_keys
from ntkrobust.values import Value

Side = Literal["exact", "lower", "upper"]

_T = TypeVar("_T")

DRAWN_ONCE_BYTES = 2**26
"""Parameters of an ensemble, up to which they are drawn again for all times at once."""

MOST_SAMPLES = 100_000
"""Perturbations per point."""

KERNEL_POINTS = 64
"""Training points on which the change of the empirical kernel is measured (the first so many)."""

SCALE_POINTS = 4
"""Training points that the scale of the kernel is estimated from, before it is computed."""

LAYER_ERROR = 0.5 * spectral.TOLERANCE
"""Largest relative error of ``layer_spectral_norms``, up to the rounding of float32."""


ROUNDING = 1e-5
"""A change of f by this share of ‖f_0‖ counts as none: f_0 and f_t are rounded, in an order that is the compiler's."""


DOMAIN = ("lower", "upper", "movable")
"""What :meth:`ntkrobust.domain.Domain.arrays` gives."""


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
        self.parameters, self._initial = parameters, initial
        self.x, self._y = data["x"], data.get("y")
        self._training = data.get("x_train"), data.get("y_train")
        self.key, self._epsilon, self.samples = key, data.get("epsilon"), samples
        self.domain: dict[str, jax.Array] = {name: data[name] for name in DOMAIN if name in data}
        self._found: dict[Callable[[Probe], Any], Any] = {}

    def once(self, compute: Callable[[Probe], _T]) -> _T:
        """``compute`` of this network, computed for the first measure that asks."""
        if compute not in self._found:
            self._found[compute] = compute(self)
        return self._found[compute]

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
        # Those of one shape together: compiled, and given memory, once.
        same_shape = itertools.groupby(self.parameters.weights, key=jnp.shape)
        parts = [spectral.spectral_norms(jnp.stack(list(same))) for _, same in same_shape]
        return spectral.SpectralNorm(*(jnp.concatenate(ends) for ends in zip(*parts, strict=True)))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Measure(Value):
    """A named number of a network.

    Attributes:
        name: how it is asked for, and its variable's name in the result.
        definition: what it is, in LaTeX.
        compute: a traceable function of a :class:`Probe`; it returns an array with the axes ``dims``, or a
            :class:`~ntkrobust.numerics.scaling.Scaled` one, for numbers that single precision need not hold.
        dims: axes of one network's result: ``("point",)``, ``("layer",)`` or ``()``.
        side: ``exact``, or the side on which the number bounds the quantity.
        needs: what has to be given to :func:`measure` for it: ``"y_test"``, ``"epsilon"``.
        source: paper and place, or what it follows from.
        needs_training_data: whether it looks at the training set.
        fully_connected: whether it makes sense for fully connected networks only.
        needs_initial: whether it looks at parameters as they were drawn.
        of_classes: whether it compares with the classes of targets, which then have to have one.
    """

    name: str
    definition: str
    compute: Callable[[Probe], jax.Array | Scaled]
    dims: tuple[str, ...] = ("point",)
    side: Side = "exact"
    needs: tuple[str, ...] = ()
    source: str = ""
    needs_training_data: bool = False
    fully_connected: bool = False
    needs_initial: bool = False
    of_classes: bool = False

    def __post_init__(self) -> None:
        for name in ("name", "definition", "source"):
            check_text(f"{name} of a measure", getattr(self, name))
        if not callable(self.compute):
            raise InputError(f"compute of a measure must be a function of a probe, got {shown(self.compute)}")
        check_choice("side of a measure", self.side, ("exact", "lower", "upper"))
        for name, known in (("dims", ("point", "layer")), ("needs", ("y_test", "epsilon"))):
            for one in check_sequence(getattr(self, name), f"{name} of a measure"):
                check_choice(f"each of {name} of a measure", one, known)
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("needs_training_data", "fully_connected", "needs_initial"):
            check_flag(f"{name} of a measure", getattr(self, name))

    def __reduce__(self) -> Any:
        # One of the package's own travels by its name: its copies are itself, and share its compiled programs.
        return (get, (self.name,)) if MEASURES.get(self.name) is self else super().__reduce_ex__(2)


def _declared(value: _T | None, what: str, argument: str) -> _T:
    """What a measure reads; InputError if it hasn't said that it would."""
    if value is None:
        raise InputError(f"a measure that reads {what} has to be made with {argument}")
    return value


def _perturbed_differences(probe: Probe) -> jax.Array:
    """‖f(x̂) − f(x)‖/ε (samples, n') for x̂ uniform in B₂(x, ε), all of it: its limit is that of the linearised f."""
    n, d = probe.x.shape
    key_direction, key_radius = jax.random.split(probe.key)
    direction = jax.random.normal(key_direction, (probe.samples, n, d), dtype=TRAINING_DTYPE)
    direction = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
    # The radius of a uniform point in the unit ball is U^{1/d}.
    radius = jax.random.uniform(key_radius, (probe.samples, n, 1), dtype=TRAINING_DTYPE) ** (1 / d)
    return jax.lax.map(lambda delta: _change_by(probe, delta.T), probe.epsilon * radius * direction) / probe.epsilon


def _perturbed_differences_se(probe: Probe) -> jax.Array:
    """The standard error (n',) of their mean over samples."""
    values = _perturbed_differences(probe)
    squares = scaling.sum_of_squares(values - jnp.mean(values, axis=0), 0)
    variance = squares._replace(value=squares.value / (probe.samples - 1))
    return variance.root / np.sqrt(probe.samples)


def _allowed_differences(probe: Probe) -> jax.Array:
    """‖f(x̂) − f(x)‖/ε (samples, n') for x̂ uniform in the ball of the coordinates that may move, cut to the range."""
    ball = Ball.within(probe.x, probe.epsilon, probe.domain)

    def of_one(key: jax.Array) -> jax.Array:
        return _change_by(probe, random_point("l2", ball, key) - ball.centre)

    keys = jax.random.split(jax.random.fold_in(probe.key, 5), probe.samples)
    return jax.lax.map(of_one, keys) / probe.epsilon


def _change_by(probe: Probe, delta: jax.Array) -> jax.Array:
    """‖f(x + δ) − f(x)‖ (n',) for steps δ (d, n') of any size: the difference is made in float64."""
    found = differences.change(probe.model, probe.scales, probe.parameters, probe.x.T, delta)
    return scaling.norm(found.value, 0)


def _relative_change(new: Sequence[jax.Array], old: Sequence[jax.Array]) -> jax.Array:
    """‖new − old‖_F/‖old‖_F over all arrays together."""
    change = scaling.sum_of_all_squares([a - b for a, b in zip(new, old, strict=True)])
    return change.over(scaling.sum_of_all_squares(old))


def _output_rms(probe: Probe) -> jax.Array:
    """rms_x ‖f(x)‖₂ over the test points."""
    return scaling.mean_square_of_rows(probe.outputs).root


def _jacobian_squares(probe: Probe) -> scaling.SumOfSquares:
    """‖J(x)‖_F² (n',)."""
    return scaling.sum_of_squares(probe.jacobian, (-2, -1))


def _norm_product(probe: Probe) -> jax.Array:
    return probe.model.lipschitz_upper(probe.scales.weight_gain, probe.spectral_norms.upper)


def _layer_norms(probe: Probe) -> jax.Array:
    ends = probe.spectral_norms
    return jnp.abs(probe.scales.weight_gain) * (ends.lower + 0.5 * (ends.upper - ends.lower))


def _jacobian_spectral(probe: Probe) -> jax.Array:
    return stability.largest_singular_value(probe.jacobian)


def _norm_product_tightness(probe: Probe) -> jax.Array:
    # As a sum of logarithms: norms of deep networks multiply past the range of float32 before their ratio leaves it.
    return jnp.exp(jnp.log(jnp.max(_jacobian_spectral(probe))) - jnp.sum(jnp.log(_layer_norms(probe))))


def _jacobian_is_zero(probe: Probe) -> jax.Array:
    """1[J(x) = 0] (n',); NaN where an entry is no number."""
    jacobian = probe.jacobian
    is_zero = jnp.all(jacobian == 0, axis=(-2, -1)).astype(TRAINING_DTYPE)
    return jnp.where(jnp.isnan(jacobian).any(axis=(-2, -1)), jnp.nan, is_zero)


def _linearisation_error(probe: Probe) -> jax.Array:
    """‖f_t − f_lin‖/‖f_t − f_0‖ over all outputs and points, with f_lin = f_0 + Df_0[θ_t − θ_0] by one jvp at θ_0."""
    moved = jax.tree.map(jnp.subtract, probe.parameters, probe.initial)
    f_0, first_order = jax.jvp(
        lambda parameters: probe.model.outputs(probe.scales, parameters, probe.x), (probe.initial,), (moved,)
    )
    change = probe.outputs - f_0
    size, error = scaling.norm(change), scaling.norm(change - first_order)
    rounding = ROUNDING * scaling.norm(f_0)
    # Where nothing has moved the expansion is exact; where only f hasn't, it errs by all there is. NaN is never below.
    unmoved = jnp.where(error > rounding, jnp.inf, 0.0)
    has_moved = ~(size <= rounding)
    found = jnp.where(has_moved, error / jnp.where(has_moved, size, 1), unmoved)
    return jnp.where(jnp.isnan(error), jnp.nan, found)


def _layer_changes(probe: Probe) -> jax.Array:
    pairs = zip(probe.parameters.weights, probe.initial.weights, strict=True)
    return jnp.stack([_relative_change([new], [old]) for new, old in pairs])


def _kernel_change(probe: Probe) -> jax.Array:
    x, model, scales = probe.x_train[:KERNEL_POINTS], probe.model, probe.scales
    # Kernels have the square of the scale of the network, which divides out of the ratio.
    factor = 1 / parameter_gradient_unit(lambda one: model.outputs(scales, one, x[:SCALE_POINTS]), probe.initial)
    new, old = (model.kernel(scales, one, x, factor) for one in (probe.parameters, probe.initial))
    return _relative_change([new], [old])


def _accuracy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Share of rows whose predicted class is the target's: the sign for one output, the largest for several."""
    if y.shape[-1] == 1:
        is_right = jnp.sign(outputs[..., 0]) == jnp.sign(y[..., 0])
    else:
        is_right = jnp.argmax(outputs, -1) == jnp.argmax(y, -1)
    # An output that is no number has no class, and a share that counts it would be a number all the same.
    return jnp.where(jnp.isfinite(outputs).all(), jnp.mean(is_right, dtype=TRAINING_DTYPE), jnp.nan)


_ZHU = "Zhu et al., arXiv 2209.07263"
_WU = "Wu et al., arXiv 2010.01279"
_INSIDE = "inside the range of the data"
_ATTACKED = (
    f"two runs of PGD against the predicted class, {attacks.STEPS} steps each, the same candidates for both, {_INSIDE}"
)

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "perturbation_stability",
            r"P(f,\varepsilon)/\varepsilon = E_{\hat x}\,\|J(x)(\hat x - x)\|_2/\varepsilon,\ "
            r"\hat x \sim \mathrm{Unif}(B_2(x,\varepsilon))",
            lambda probe: probe.stability,
            source=_ZHU,
        ),
        Measure(
            "finite_perturbation_stability",
            r"E_{\hat x}\,\|f(\hat x) - f(x)\|_2/\varepsilon,\ \hat x \sim \mathrm{Unif}(B_2(x,\varepsilon))",
            lambda probe: jnp.mean(_perturbed_differences(probe), axis=0),
            needs=("epsilon",),
            source=f"the measure of {_ZHU} before linearisation; sampled, beyond the range of the data too",
        ),
        Measure(
            "finite_perturbation_stability_se",
            r"\text{standard error over draws of } E_{\hat x}\,\|f(\hat x) - f(x)\|_2/\varepsilon",
            _perturbed_differences_se,
            needs=("epsilon",),
        ),
        Measure(
            "allowed_perturbation_stability",
            r"E_{\hat x}\,\|f(\hat x) - f(x)\|_2/\varepsilon,\ \hat x \sim \mathrm{Unif}(B_2(x,\varepsilon)) "
            r"\text{ in the coordinates that may move, then cut to the range of the data}",
            lambda probe: jnp.mean(_allowed_differences(probe), axis=0),
            needs=("epsilon",),
            source="finite_perturbation_stability inside the range of the data; sampled",
        ),
        Measure(
            "normalized_perturbation_stability",
            r"P(f,\varepsilon)/(\varepsilon\,\mathrm{rms}_x\|f(x)\|_2)",
            lambda probe: probe.stability / _output_rms(probe),
            source=f"{_ZHU}, with the scale of the output divided out",
        ),
        Measure(
            "jacobian_frobenius",
            r"\|J(x)\|_F",
            lambda probe: _jacobian_squares(probe).root,
        ),
        Measure(
            "jacobian_frobenius_max",
            r"\max_x \|J(x)\|_F",
            lambda probe: jnp.max(_jacobian_squares(probe).root),
            dims=(),
        ),
        Measure(
            "jacobian_frobenius_sq",
            r"\|J(x)\|_F^2",
            lambda probe: _jacobian_squares(probe).scaled(),
        ),
        Measure(
            "jacobian_frobenius_fourth",
            r"\|J(x)\|_F^4",
            lambda probe: _jacobian_squares(probe).scaled(2),
        ),
        Measure(
            "jacobian_spectral",
            r"\|J(x)\|_2",
            _jacobian_spectral,
        ),
        Measure(
            "lipschitz_upper",
            r"\prod_l \|W_l\|_2/\alpha",
            _norm_product,
            dims=(),
            side="upper",
            source="product of certified upper ends, of convolutions times ⌈k/stride⌉ and summed over the branches of "
            "a block; bounds the global Lipschitz constant where |φ'| ≤ 1",
        ),
        Measure(
            "norm_product_tightness",
            rf"\max_x \|J(x)\|_2/\prod_l g_l\|W_l\|_2 \text{{ over the test points; relative error at most }} "
            rf"L \cdot {LAYER_ERROR:g}",
            _norm_product_tightness,
            dims=(),
            source="middles of certified ends; at most 1 where |φ'| ≤ 1, by the chain rule",
            fully_connected=True,
        ),
        Measure(
            "layer_spectral_norms",
            rf"g_l\|W_l\|_2,\ g_l \text{{ its factor in the forward pass; relative error at most }} {LAYER_ERROR:g}",
            _layer_norms,
            dims=("layer",),
            source="middle of two certified ends",
            fully_connected=True,
        ),
        Measure(
            "jacobian_is_zero",
            r"1[J(x) = 0]",
            _jacobian_is_zero,
        ),
        Measure(
            "output_rms",
            r"\mathrm{rms}_x\|f(x)\|_2",
            _output_rms,
            dims=(),
        ),
        Measure(
            "lazy_ratio",
            r"\kappa_t = \|\theta_t - \theta_0\|_F/\|\theta_0\|_F \text{ over all weights}",
            lambda probe: _relative_change(probe.parameters.weights, probe.initial.weights),
            dims=(),
            source=_ZHU,
            needs_initial=True,
        ),
        Measure(
            "lazy_ratio_per_layer",
            r"\|W_l(t) - W_l(0)\|_F/\|W_l(0)\|_F",
            _layer_changes,
            dims=("layer",),
            source=_ZHU,
            needs_initial=True,
        ),
        Measure(
            "kernel_change",
            rf"\|\Theta_t - \Theta_0\|_F/\|\Theta_0\|_F \text{{ on the first {KERNEL_POINTS} training points}}",
            _kernel_change,
            dims=(),
            needs_training_data=True,
            needs_initial=True,
        ),
        Measure(
            "linearisation_error",
            r"\|f_t - f_0 - Df_0[\theta_t - \theta_0]\|/\|f_t - f_0\| \text{ over the test points}",
            _linearisation_error,
            dims=(),
            source="first-order Taylor expansion in the parameters, biases included",
            needs_initial=True,
        ),
        Measure(
            "train_loss",
            r"\tfrac12 \sum_i \|f(x_i) - y_i\|^2 \text{ over the training set}",
            lambda probe: scaling.sum_of_squares(probe.f(probe.x_train) - probe.y_train).scaled().times(0.5),
            dims=(),
            needs_training_data=True,
        ),
        Measure(
            "test_mse",
            r"\mathrm{mean}_x \|f(x) - y\|^2 \text{ over the test set}",
            lambda probe: scaling.mean_square_of_rows(probe.outputs - probe.labels).scaled(),
            dims=(),
            needs=("y_test",),
        ),
        Measure(
            "train_accuracy",
            r"\text{share of training points whose class is predicted}",
            lambda probe: _accuracy(probe.f(probe.x_train), probe.y_train),
            dims=(),
            needs_training_data=True,
            of_classes=True,
        ),
        Measure(
            "natural_accuracy",
            r"\text{share of test points whose class is predicted}",
            lambda probe: _accuracy(probe.outputs, probe.labels),
            dims=(),
            needs=("y_test",),
            of_classes=True,
        ),
        *(
            Measure(
                f"robust_accuracy{suffix}",
                rf"\text{{share of points whose true class is predicted, and kept at every PGD iterate in }} B_{ball}",
                robust,
                dims=(),
                side="upper",
                needs=("y_test", "epsilon"),
                source=_ATTACKED,
                of_classes=True,
            )
            for suffix, ball, robust in (
                ("", r"\infty(x,\varepsilon)", attacks.robust_accuracy),
                ("_l2", r"2(x,\varepsilon)", attacks.robust_accuracy_l2),
            )
        ),
        Measure(
            "stability_given_correct",
            r"\mathrm{Rob}/\mathrm{Nat} \text{: of the points whose true class is predicted, the share that keeps it "
            r"at every PGD iterate in } B_\infty(x,\varepsilon)",
            attacks.stability_given_correct,
            dims=(),
            side="upper",
            needs=("y_test", "epsilon"),
            source=_ATTACKED,
            of_classes=True,
        ),
        *(
            Measure(
                f"prediction_stability{suffix}",
                rf"\text{{share of points whose predicted class is kept at every PGD iterate in }} B_{ball}",
                stable,
                dims=(),
                side="upper",
                needs=("epsilon",),
                source=f"{_WU}; {_ATTACKED}",
            )
            for suffix, ball, stable in (
                ("", r"\infty(x,\varepsilon)", attacks.prediction_stability),
                ("_l2", r"2(x,\varepsilon)", attacks.prediction_stability_l2),
            )
        ),
        Measure(
            "local_lipschitz",
            r"\max_{x' \in B_\infty(x,\varepsilon)} \|f(x) - f(x')\|_1/\|x - x'\|_\infty",
            attacks.local_lipschitz,
            side="lower",
            needs=("epsilon",),
            source=f"{_WU}; largest over two runs of {attacks.STEPS} steps that climb the numerator, {_INSIDE}",
        ),
        Measure(
            "kl_gradient",
            r"\max_{x'} \|\nabla_{x'} \mathrm{KL}(p(x)\,\|\,p(x'))\|_1,\ p = \mathrm{softmax}\,f,\ "
            r"x' \text{ the PGD iterates in } B_\infty(x,\varepsilon)",
            attacks.kl_gradient,
            side="lower",
            needs=("epsilon",),
            source=f"the local Lipschitz constant in the public code of {_WU}; two runs of {attacks.STEPS} steps, "
            f"{_INSIDE}",
        ),
    )
}
"""The measures that can be asked for by name."""

MEASURES |= {
    f"{name}_by_pgd": dataclasses.replace(
        MEASURES[name],
        name=f"{name}_by_pgd",
        side="exact",
        source=f"what this attack finds, in its own right: no bound on {name} is meant. {MEASURES[name].source}",
    )
    for name in (
        "robust_accuracy",
        "prediction_stability",
        "stability_given_correct",
        "local_lipschitz",
        "kl_gradient",
    )
}


def get(measure: str | Measure) -> Measure:
    """A measure by name, or itself.

    Raises:
        InputError: the name is unknown.
    """
    if isinstance(measure, Measure):
        return measure
    if not isinstance(measure, str) or measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    return MEASURES[measure]


@takes(run=a_run)
def measure(
    run: Run,
    x_test: np.ndarray,
    measures: Sequence[str | Measure] = ("perturbation_stability",),
    *,
    y_test: np.ndarray | None = None,
    epsilon: float | None = None,
    samples: int = 64,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
    room: int | None = None,
) -> xr.Dataset:
    """Measure every network of a run at every recorded time.

    Args:
        run: what :func:`ntkrobust.train` returned.
        x_test: (n', d) inputs.
        measures: names out of ``ntkrobust.measures.MEASURES``, or :class:`Measure` objects.
        y_test: (n',) labels, which are those of training (``run.classes``), or (n', o) targets; for measures that
            compare with them.
        epsilon: radius of finite perturbations, in the units of x.
        samples: perturbations drawn per point by measures that sample.
        bounds: the range in which measures that attack stay, numbers or (d,) arrays: by default the run's, never beyond
            it.
        movable: (d,) booleans, False for coordinates that they leave alone; by default the run's.
        room: networks of the largest call that shares its compiled programs with this one; by default there is none.

    Returns:
        A dataset with dimensions ``seed``, ``time`` (records) and, where a measure has them, ``point`` or ``layer``;
        coordinates ``gradient_flow_time`` (seed, time), ``step`` (seed, time) and ``status`` (seed). Each variable
        carries its ``definition``, ``side`` and ``source``. Numbers are float32; squares, fourth powers and losses
        that it can't hold are float64.

    Raises:
        InputError: an unknown measure, inputs of the wrong shape, with NaN or outside the range, a range beyond the
            run's, a label that training never saw, a target without a class for a measure of accuracy, something a
            measure needs is missing, or networks whose Jacobians or outputs single precision can't hold.
    """
    domain = run.domain.narrowed(bounds, movable)
    y = None
    if y_test is not None:
        y = encode_like("y_test", y_test, run.y_train, run.classes)
        check_same_index("x_test", x_test, "y_test", y_test)
    program, data = _prepare(run.net, domain, x_test, measures, y, epsilon, samples)
    if any(one.of_classes for one in program.measures) and y is not None:
        check_have_classes("y_test", y)
    if any(one.of_classes and one.needs_training_data for one in program.measures):
        check_have_classes("y_train", run.y_train)
    if program.needs_training_data:
        data |= {"x_train": run.x_train, "y_train": run.y_train}
    plan = choose_plan(run.net, run.d_in, len(data["x"]))
    if room is not None:
        plan = plan.with_room_for(check_integer("room", room, 1))
    shared: dict[str, Any] = {"scales": layer_scales(run.net, run.d_in), "data": data}
    for snapshot in run.snapshots:
        check_representable(run.net, shared["scales"], data["x"], snapshot, np.asarray(run.status) != "diverged")
    values = _at_all_times(program, plan, shared, run)
    leading = ("seed", "time")
    labels = {
        "seed": list(run.seeds),
        "step": (leading, run.step),
        "gradient_flow_time": (leading, run.time),
        "status": ("seed", run.status),
    }
    return _labelled(program.measures, values, leading, labels, run.net, plan, domain)


def _at_all_times(program: _Measurements, plan: Plan, shared: dict[str, Any], run: Run) -> dict[str, Any]:
    """Measures (seed, time, …) by name."""
    keys = seed_keys(run.key, run.seeds)
    at_times: list[dict[str, Any]] = [{"parameters": one, "key": keys} for one in run.snapshots]
    if not program.needs_initial:
        times = run_over_times(program, plan, shared, at_times)
    elif sum(leaf.nbytes for leaf in jax.tree.leaves(run.snapshots[0])) <= DRAWN_ONCE_BYTES:
        initial = run.initial_parameters()
        times = run_over_times(program, plan, shared, [one | {"initial": initial} for one in at_times])
    else:
        times = [run_over_draws(program, plan, shared, run.net, run.d_in, one, "initial") for one in at_times]
    stacked: dict[str, Any] = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *times)
    return stacked


@takes(net=a_network)
def measure_untrained(
    net: Network,
    x_test: np.ndarray,
    measures: Sequence[str | Measure] = ("perturbation_stability",),
    *,
    seeds: int | Sequence[int] = 1024,
    key: jax.Array | None = None,
    epsilon: float | None = None,
    samples: int = 64,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
) -> xr.Dataset:
    """Measure networks as they are drawn: the same numbers as for an untrained run, without keeping their parameters.

    Args:
        net: the network.
        x_test: (n', d) inputs.
        measures: names or :class:`Measure` objects, of those that need neither training data nor labels.
        seeds: a number n for the seeds 0 … n−1, or the seeds themselves.
        key: a typed key, by default ``jax.random.key(0)``.
        epsilon: radius of finite perturbations, in the units of x.
        samples: perturbations drawn per point by measures that sample.
        bounds, movable: as for :func:`measure`, by default no range, and all coordinates.

    Returns:
        A dataset with dimensions ``seed`` and, where a measure has them, ``point`` or ``layer``.

    Raises:
        InputError: as for :func:`measure`.
    """
    seeds = check_seeds(seeds)
    d_in = single_precision("x_test", x_test).shape[1]
    domain = Domain.of(d_in, bounds, movable)
    program, data = _prepare(net, domain, x_test, measures, None, epsilon, samples)
    for one in program.measures:
        if one.needs_training_data:
            raise InputError(f"the measure {one.name!r} needs training data, which untrained networks do not have")
    plan = choose_plan(net, d_in, len(data["x"]))
    shared: dict[str, Any] = {"scales": layer_scales(net, d_in), "data": data}
    check_representable(net, shared["scales"], data["x"])
    values = run_over_draws(program, plan, shared, net, d_in, {"key": seed_keys(key, seeds)})
    return _labelled(program.measures, values, ("seed",), {"seed": list(seeds)}, net, plan, domain)


def _prepare(
    net: Network,
    domain: Domain,
    x_test: np.ndarray,
    measures: Sequence[str | Measure],
    y_test: np.ndarray | None,
    epsilon: float | None,
    samples: int,
) -> tuple[_Measurements, dict[str, Any]]:
    """The program for these measures and the test data it wants, checked."""
    named = [measures] if isinstance(measures, str | Measure) else measures
    if not isinstance(named, Sequence) or not named:
        raise InputError(f"measures must be names of measures or Measure objects, got {shown(measures)}")
    chosen = tuple(get(name) for name in named)
    x = single_precision("x_test", x_test)
    if x.shape[1] != domain.d:
        raise InputError(f"x_test must have shape (n, {domain.d}), got {x.shape}")
    domain.check_points("x_test", x)
    data: dict[str, Any] = {"x": x, **domain.arrays()}
    if y_test is not None:
        data["y"] = single_precision("y_test", y_test)
        if data["y"].shape != (len(x), net.d_out):
            raise InputError(f"y_test must have shape ({len(x)}, {net.d_out}), got {data['y'].shape}")
    if epsilon is not None:
        if check_number("epsilon", epsilon) <= 0:
            raise InputError(f"epsilon must be positive, got {epsilon!r}")
        data["epsilon"] = as_radius(epsilon, x)
    given = {"y_test": y_test is not None, "epsilon": epsilon is not None}
    for one in chosen:
        for need in one.needs:
            if not given[need]:
                raise InputError(f"the measure {one.name!r} needs {need}")
        check_architecture(one, net)
    samples = check_integer("samples", samples, 2, maximum=MOST_SAMPLES)
    return _Measurements(model_of(net), chosen, samples), data


def check_architecture(measure: Measure, net: Network) -> None:
    """Raise InputError if the measure says nothing about networks of this architecture."""
    if measure.fully_connected and not isinstance(net, MLP):
        raise InputError(
            f"the measure {measure.name!r} is for fully connected networks, since the norm of a convolution is not "
            f"that of its weight matrix; 'lipschitz_upper' also holds for {net.architecture} ones"
        )


def abstract_values(measure: Measure, net: Network, points: tuple[int, int], n: int) -> jax.ShapeDtypeStruct:
    """The shape and type of what ``measure`` gives for one network, found by tracing it: nothing is computed.

    Args:
        measure: the measure.
        net: the network.
        points: (n', d), shape of the test points.
        n: training points.
    """
    n_test, d = points

    def array(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, TRAINING_DTYPE)

    program = _Measurements(model_of(net), (measure,), samples=2)
    data = {"x": array(n_test, d), "y": array(n_test, net.d_out), "epsilon": array()}
    data |= {"lower": array(d), "upper": array(d)}
    if program.needs_training_data:
        data |= {"x_train": array(n, d), "y_train": array(n, net.d_out)}
    weights = tuple(array(*shape) for shape in net.layer_shapes(d))
    biases = () if net.bias_std is None else tuple(array(fan_out) for fan_out, _ in net.layer_shapes(d))
    scales = layer_scales(net, d)
    key = jax.eval_shape(lambda: jax.random.key(0))
    found: Any = jax.eval_shape(
        lambda data, one: program({"scales": scales, "data": data}, one),
        data,
        {"parameters": Parameters(weights, biases), "key": key},
    )[measure.name]
    return found.value if isinstance(found, Scaled) else found


def _labelled(
    measures: Sequence[Measure],
    values: dict[str, Any],
    leading: tuple[str, ...],
    labels: dict[str, Any],
    net: Network,
    plan: Plan,
    domain: Domain,
) -> xr.Dataset:
    return xr.Dataset(
        {
            one.name: (
                (*leading, *one.dims),
                resolved(values[one.name]),
                {"definition": one.definition, "side": one.side, "source": one.source},
            )
            for one in measures
        },
        coords=labels,
        attrs={"network": repr(net), "plan": str(plan), "domain": domain.in_words()},
    )


@dataclasses.dataclass(frozen=True)
class _Measurements:
    """All chosen measures of one network, as one program in which common parts are shared."""

    model: Model
    measures: tuple[Measure, ...]
    samples: int

    @property
    def needs_initial(self) -> bool:
        """Whether a measure looks at parameters as they were drawn."""
        return any(measure.needs_initial for measure in self.measures)

    @property
    def needs_training_data(self) -> bool:
        """Whether a measure looks at the training set."""
        return any(measure.needs_training_data for measure in self.measures)

    def __call__(self, shared: dict, one: dict) -> dict[str, jax.Array | Scaled]:
        probe = Probe(
            self.model,
            shared["scales"],
            one["parameters"],
            # An untrained network is as it was drawn.
            one.get("initial", one["parameters"]) if self.needs_initial else None,
            shared["data"],
            # Index past the layers' draws, so that perturbations are independent of the weights.
            jax.random.fold_in(one["key"], 2**32 - 1),
            self.samples,
        )
        return {measure.name: measure.compute(probe) for measure in self.measures}
