"""Check robustness theorems about neural networks against reality.

Importing this package touches no device and sets no flag; what is heavy is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntkrobust import data, plots
    from ntkrobust.adversary import Adversary
    from ntkrobust.bounds.claims import (
        Assumption,
        AtLeast,
        AtMost,
        Claim,
        DecreasesIn,
        Equals,
        FallsThenRises,
        IncreasesIn,
        OrderAtLeast,
        OrderAtMost,
        Quantity,
        Reading,
        RisesThenFalls,
        ScalesAs,
    )
    from ntkrobust.bounds.claims.decorator import claim
    from ntkrobust.bounds.formulas.exact_law import ExactLaw, exact_law
    from ntkrobust.bounds.papers import catalogue as claims
    from ntkrobust.bounds.verdicts import Verdict
    from ntkrobust.errors import InputError
    from ntkrobust.finite.attacks import catalogue as attacks
    from ntkrobust.finite.attacks.attacking import attack
    from ntkrobust.finite.certificates.certifying import certify
    from ntkrobust.finite.measures import catalogue as measures
    from ntkrobust.finite.measures.base import Measure
    from ntkrobust.finite.measures.empirical_kernel import empirical_ntk
    from ntkrobust.finite.measures.measuring import measure
    from ntkrobust.finite.training.held_out import ObjectiveParts, objective_parts
    from ntkrobust.finite.training.run import Run
    from ntkrobust.finite.training.train import train
    from ntkrobust.finite.training.width_adjusted import (
        StrengthSchedule,
        WidthAdjustment,
        regularization_ratio,
        width_adjusted_strength,
    )
    from ntkrobust.kernels.ensemble import InfiniteEnsemble
    from ntkrobust.kernels.ensemble_at import EnsembleAt
    from ntkrobust.networks.activations import Activation
    from ntkrobust.networks.convolutional import ConvNet, WideResNet
    from ntkrobust.networks.frameworks import from_equinox, from_flax, from_stax
    from ntkrobust.networks.functions import from_function
    from ntkrobust.networks.initializations import Initialization
    from ntkrobust.networks.mlp import MLP
    from ntkrobust.networks.network import Network
    from ntkrobust.workflows.compare import Comparison, compare
    from ntkrobust.workflows.search import search
    from ntkrobust.workflows.sweep import open_study, sweep
    from ntkrobust.workflows.verdicts import Verdicts, VerdictsByData
    from ntkrobust.workflows.verify import verify
    from ntkrobust.workflows.width_effect import WidthEffect, width_effect

__version__ = "0.1.0"

_HOMES = {
    "Activation": "ntkrobust.networks.activations",
    "Adversary": "ntkrobust.adversary",
    "Assumption": "ntkrobust.bounds.claims",
    "AtLeast": "ntkrobust.bounds.claims",
    "AtMost": "ntkrobust.bounds.claims",
    "Claim": "ntkrobust.bounds.claims",
    "Comparison": "ntkrobust.workflows.compare",
    "ConvNet": "ntkrobust.networks.convolutional",
    "DecreasesIn": "ntkrobust.bounds.claims",
    "EnsembleAt": "ntkrobust.kernels.ensemble_at",
    "Equals": "ntkrobust.bounds.claims",
    "ExactLaw": "ntkrobust.bounds.formulas.exact_law",
    "FallsThenRises": "ntkrobust.bounds.claims",
    "IncreasesIn": "ntkrobust.bounds.claims",
    "InfiniteEnsemble": "ntkrobust.kernels.ensemble",
    "Initialization": "ntkrobust.networks.initializations",
    "InputError": "ntkrobust.errors",
    "MLP": "ntkrobust.networks.mlp",
    "Measure": "ntkrobust.finite.measures.base",
    "ObjectiveParts": "ntkrobust.finite.training.held_out",
    "OrderAtLeast": "ntkrobust.bounds.claims",
    "OrderAtMost": "ntkrobust.bounds.claims",
    "Quantity": "ntkrobust.bounds.claims",
    "Reading": "ntkrobust.bounds.claims",
    "RisesThenFalls": "ntkrobust.bounds.claims",
    "Run": "ntkrobust.finite.training.run",
    "ScalesAs": "ntkrobust.bounds.claims",
    "StrengthSchedule": "ntkrobust.finite.training.width_adjusted",
    "Verdict": "ntkrobust.bounds.verdicts",
    "Verdicts": "ntkrobust.workflows.verdicts",
    "VerdictsByData": "ntkrobust.workflows.verdicts",
    "WideResNet": "ntkrobust.networks.convolutional",
    "WidthAdjustment": "ntkrobust.finite.training.width_adjusted",
    "WidthEffect": "ntkrobust.workflows.width_effect",
    "attack": "ntkrobust.finite.attacks.attacking",
    "attacks": "ntkrobust.finite.attacks.catalogue",
    "certify": "ntkrobust.finite.certificates.certifying",
    "claim": "ntkrobust.bounds.claims.decorator",
    "claims": "ntkrobust.bounds.papers.catalogue",
    "compare": "ntkrobust.workflows.compare",
    "data": "ntkrobust.data",
    "empirical_ntk": "ntkrobust.finite.measures.empirical_kernel",
    "exact_law": "ntkrobust.bounds.formulas.exact_law",
    "measure": "ntkrobust.finite.measures.measuring",
    "Network": "ntkrobust.networks.network",
    "from_equinox": "ntkrobust.networks.frameworks",
    "from_flax": "ntkrobust.networks.frameworks",
    "from_function": "ntkrobust.networks.functions",
    "from_stax": "ntkrobust.networks.frameworks",
    "measures": "ntkrobust.finite.measures.catalogue",
    "plots": "ntkrobust.plots",
    "objective_parts": "ntkrobust.finite.training.held_out",
    "open_study": "ntkrobust.workflows.sweep",
    "power": "ntkrobust.workflows.power",
    "regularization_ratio": "ntkrobust.finite.training.width_adjusted",
    "search": "ntkrobust.workflows.search",
    "sweep": "ntkrobust.workflows.sweep",
    "train": "ntkrobust.finite.training.train",
    "verify": "ntkrobust.workflows.verify",
    "width_adjusted_strength": "ntkrobust.finite.training.width_adjusted",
    "width_effect": "ntkrobust.workflows.width_effect",
}
"""Where each public name lives."""

_MODULES = ("attacks", "claims", "data", "measures", "plots")
"""The public names that are modules themselves."""

__all__ = [
    "MLP",
    "Activation",
    "Adversary",
    "Assumption",
    "AtLeast",
    "AtMost",
    "Claim",
    "Comparison",
    "ConvNet",
    "DecreasesIn",
    "EnsembleAt",
    "Equals",
    "ExactLaw",
    "FallsThenRises",
    "IncreasesIn",
    "InfiniteEnsemble",
    "Initialization",
    "InputError",
    "Measure",
    "Network",
    "ObjectiveParts",
    "OrderAtLeast",
    "OrderAtMost",
    "Quantity",
    "Reading",
    "RisesThenFalls",
    "Run",
    "ScalesAs",
    "StrengthSchedule",
    "Verdict",
    "Verdicts",
    "VerdictsByData",
    "WideResNet",
    "WidthAdjustment",
    "WidthEffect",
    "attack",
    "attacks",
    "certify",
    "claim",
    "claims",
    "compare",
    "data",
    "empirical_ntk",
    "exact_law",
    "from_equinox",
    "from_flax",
    "from_function",
    "from_stax",
    "measure",
    "measures",
    "objective_parts",
    "open_study",
    "plots",
    "power",
    "regularization_ratio",
    "search",
    "sweep",
    "train",
    "verify",
    "width_adjusted_strength",
    "width_effect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    module = importlib.import_module(home)
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
