"""What machine this is, and whether its numbers can be trusted."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.bounds.formulas.exact_law import exact_law
from ntkrobust.finite.measures.measuring import measure
from ntkrobust.finite.training.train import train
from ntkrobust.kernels import adapter_state, stax
from ntkrobust.networks.mlp import MLP
from ntkrobust.numerics.precision import full_matmul_precision
from ntkrobust.runtime.accelerated import missing, side_by_side
from ntkrobust.runtime.machine import available_bytes, cores, gibibytes, physical_bytes
from ntkrobust.runtime.random_normals import BLOCK, normals
from ntkrobust.runtime.seeds import THREEFRY, seed_keys
from ntkrobust.studies.evidence import environment


class Check(NamedTuple):
    """One self-test: its name, whether it passed, and the figure it came to."""

    name: str
    passed: bool
    figure: str


def examine_machine() -> dict[str, str]:
    """Versions, devices and memory, as text."""
    facts = environment()
    facts["processor cores"] = f"{cores()}, programs side by side: {side_by_side()}"
    facts["memory"] = gibibytes(physical_bytes()) if physical_bytes() else "unknown"
    if 0 < available_bytes() < physical_bytes():
        facts["memory"] += f", of which this process may take {gibibytes(available_bytes())}"
    facts["accelerators"] = "\n".join(missing()) or "all found"
    facts |= _neural_tangents_facts()
    facts["compilation cache"] = getattr(jax.config, "jax_compilation_cache_dir", None) or "set by `verify`"
    return facts


def _neural_tangents_facts() -> dict[str, str]:
    state = adapter_state()
    if not state["works"]:
        return {"neural-tangents": state["problem"]}
    facts = {"neural-tangents": f"{state['neural_tangents']}, imported by {state['imported_by']}"}
    adapted = state["adapted"] or ["nothing: it works by itself on this JAX"]
    facts["  adapted"] = "\n".join(adapted)
    if state["left_out"]:
        facts["  left out"] = min(state["left_out"], key=len)  # the package; the others are inside it
    return facts


def self_test() -> list[Check]:
    """Checks of what every result rests on; seconds long."""
    return [
        _random_numbers(),
        _normals(),
        _matrix_products(),
        _derivatives(),
        _law_against_networks(),
        _neural_tangents(),
    ]


def _random_numbers() -> Check:
    """Seeds reproduce: the counter-based generator gives the bits it gave when the committed figures were made."""
    bits = np.asarray(jax.random.bits(jax.random.key(0, impl=THREEFRY), (2,), dtype=jnp.uint32))
    return Check("random bits reproduce", bits.tolist() == [4070199207, 4202968722], str(bits.tolist()))


def _normals() -> Check:
    """Networks are drawn as they were then, however this machine draws them: numbers of two blocks of BLOCK."""
    drawn = normals(seed_keys(jax.random.key(0, impl=THREEFRY), (0,)), BLOCK + 188)[0, [0, BLOCK - 1, BLOCK, -1]]
    known = np.array([1.0040143, -0.81533164, 0.23902756, 1.0213597])
    passed = bool(np.allclose(drawn, known, rtol=1e-5, atol=0))
    return Check("networks are drawn as ever", passed, " ".join(f"{number:.6f}" for number in drawn))


def _matrix_products() -> Check:
    """Measurements must not be rounded to TF32 or bfloat16."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 256, 256)).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    with full_matmul_precision():
        error = float(np.abs(np.asarray(jnp.asarray(a) @ jnp.asarray(b)) - exact).max() / np.abs(exact).max())
    return Check("matrix products keep float32", error < 5e-6, f"largest relative error {error:.1e}")


def _network() -> tuple[MLP, np.ndarray]:
    x = np.random.default_rng(1).standard_normal((8, 6))
    return MLP(depth=3, width=32), x


def _derivatives() -> Check:
    """Input Jacobians agree with differences of the network's outputs."""
    net, x = _network()
    step = 1e-2
    run = train(net, x, np.zeros((len(x), 1)), seeds=4, steps=0)
    # A ReLU network is linear between kinks, so the perturbed output minus f is J·δ unless a kink lies between.
    measured = measure(
        run, x, ["perturbation_stability", "finite_perturbation_stability"], epsilon=step, samples=4096
    ).mean()
    ratio = float(measured.finite_perturbation_stability / measured.perturbation_stability)
    return Check("Jacobians agree with differences", abs(ratio - 1) < 0.02, f"ratio {ratio:.4f}")


def _law_against_networks() -> Check:
    """Drawn networks obey the exact law to within Monte Carlo error."""
    net, x = _network()
    run = train(net, x, np.zeros((len(x), 1)), seeds=2048, steps=0)
    values = measure(run, x[:1]).perturbation_stability.to_numpy().ravel() / exact_law(net, 6).perturbation_stability()
    z = (values.mean() - 1) / (values.std(ddof=1) / np.sqrt(len(values)))
    return Check(
        "networks obey the exact law", bool(abs(z) < 5), f"{z:+.1f} standard errors over {len(values)} networks"
    )


def _neural_tangents() -> Check:
    """neural-tangents loads, and its Var f(x) is ‖x‖² E(∂_u f)², as it must be for a positively homogeneous f."""
    name = "neural-tangents agrees"
    state = adapter_state()
    if not state["works"]:
        return Check(name, False, state["problem"])
    net, x = _network()
    theirs = np.asarray(stax(net, x.shape[1]).kernel_fn(x, None, "nngp"))
    ours = np.square(x).sum(1) * exact_law(net, x.shape[1]).moment(2)
    error = float(np.abs(np.diag(theirs) / ours - 1).max())
    return Check(name, error < 1e-5, f"largest relative difference of Var f {error:.1e}")
