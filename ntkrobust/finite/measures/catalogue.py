"""The measures that come with the package, by name; a name is a short form of the object."""

from __future__ import annotations

import dataclasses

from ntkrobust.checks import unknown
from ntkrobust.finite.attacks.base import count
from ntkrobust.finite.measures.accuracy import NaturalAccuracy, OutputRms, TestMse, TrainAccuracy, TrainLoss
from ntkrobust.finite.measures.attacked import USUAL
from ntkrobust.finite.measures.base import Computed, Measure, Side, number
from ntkrobust.finite.measures.certified import (
    CertifiedAccuracy,
    CertifiedStability,
    KlGradientUpper,
    LipschitzUpperEclipse,
    LocalLipschitzUpper,
)
from ntkrobust.finite.measures.jacobian import (
    JacobianFrobenius,
    JacobianFrobeniusFourth,
    JacobianFrobeniusMax,
    JacobianFrobeniusSq,
    JacobianIsZero,
    JacobianSpectral,
    NormalizedPerturbationStability,
    PerturbationStability,
)
from ntkrobust.finite.measures.lazy import KernelChange, LazyRatio, LazyRatioPerLayer, LinearisationError
from ntkrobust.finite.measures.lipschitz import (
    KlGradient,
    LayerSpectralNorms,
    LipschitzUpper,
    LocalLipschitz,
    NormProductTightness,
)
from ntkrobust.finite.measures.perturbations import (
    AllowedPerturbationStability,
    FinitePerturbationStability,
    FinitePerturbationStabilitySe,
)
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.robustness import PredictionStability, RobustAccuracy, StabilityGivenCorrect
from ntkrobust.finite.measures.untrained import Untrained

__all__ = [
    "MEASURES",
    "AllowedPerturbationStability",
    "CertifiedAccuracy",
    "CertifiedStability",
    "Computed",
    "FinitePerturbationStability",
    "FinitePerturbationStabilitySe",
    "JacobianFrobenius",
    "JacobianFrobeniusFourth",
    "JacobianFrobeniusMax",
    "JacobianFrobeniusSq",
    "JacobianIsZero",
    "JacobianSpectral",
    "KernelChange",
    "KlGradient",
    "KlGradientUpper",
    "LayerSpectralNorms",
    "LazyRatio",
    "LazyRatioPerLayer",
    "LinearisationError",
    "LipschitzUpper",
    "LipschitzUpperEclipse",
    "LocalLipschitz",
    "LocalLipschitzUpper",
    "Measure",
    "NaturalAccuracy",
    "NormProductTightness",
    "NormalizedPerturbationStability",
    "OutputRms",
    "PerturbationStability",
    "PredictionStability",
    "Probe",
    "RobustAccuracy",
    "Side",
    "StabilityGivenCorrect",
    "TestMse",
    "TrainAccuracy",
    "TrainLoss",
    "Untrained",
    "count",
    "get",
    "number",
]

_IN_L2 = dataclasses.replace(USUAL, norm="l2")

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        PerturbationStability(),
        FinitePerturbationStability(),
        FinitePerturbationStabilitySe(),
        AllowedPerturbationStability(),
        NormalizedPerturbationStability(),
        JacobianFrobenius(),
        JacobianFrobeniusMax(),
        JacobianFrobeniusSq(),
        JacobianFrobeniusFourth(),
        JacobianSpectral(),
        LipschitzUpper(),
        NormProductTightness(),
        LayerSpectralNorms(),
        JacobianIsZero(),
        OutputRms(),
        LazyRatio(),
        LazyRatioPerLayer(),
        KernelChange(),
        LinearisationError(),
        TrainLoss(),
        TestMse(),
        TrainAccuracy(),
        NaturalAccuracy(),
        RobustAccuracy(),
        RobustAccuracy(attack=_IN_L2),
        StabilityGivenCorrect(),
        PredictionStability(),
        PredictionStability(attack=_IN_L2),
        LocalLipschitz(),
        KlGradient(),
        CertifiedAccuracy(),
        CertifiedStability(),
        LocalLipschitzUpper(),
        RobustAccuracy(by_attack=True),
        PredictionStability(by_attack=True),
        StabilityGivenCorrect(by_attack=True),
        LocalLipschitz(by_attack=True),
        KlGradient(by_attack=True),
    )
}
"""The measures that can be asked for by name."""


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
