"""What is promised before the run."""

from typing import Any

import numpy as np
import pytest

from ntkrobust.bounds.claims.relations import (
    AtLeast,
    AtMost,
    Equals,
    IncreasesIn,
    OrderAtMost,
    RisesThenFalls,
    ScalesAs,
)
from ntkrobust.bounds.verdicts import planning
from ntkrobust.errors import InputError


def one() -> float:
    return 1.0


RELATIONS = (
    Equals(one, 0.1), AtMost(one), AtLeast(one), OrderAtMost(one), ScalesAs("width", -0.5), IncreasesIn("width"),
    RisesThenFalls("width"),
)  # fmt: skip


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: type(relation).__name__)
@pytest.mark.parametrize("outcome", ["supported", "refuted"])
def test_the_promised_effect_is_shown(relation: Any, outcome: Any) -> None:
    effect = planning.detectable_effect(relation, cv=0.2, n=24, outcome=outcome, cells=5)
    real, means = planning.ground_truth(relation, effect, outcome, 5)
    claim = planning.simulated_claim(real, 5)
    cells = planning.simulated_cells(means, planning.lognormal(0.2), (2000, 24), np.random.default_rng(5))
    # two standard errors of the promise and of this
    assert np.mean(planning.p_values(claim, cells, outcome) <= 0.05) > 0.9 - 0.027
    wrong: Any = {"supported": "refuted", "refuted": "supported"}[outcome]
    assert np.mean(planning.p_values(claim, cells, wrong) <= 0.05) < 0.01


@pytest.mark.fast
def test_the_three_questions_agree() -> None:
    bound = AtMost(one)
    effect = planning.detectable_effect(bound, cv=0.3, n=40)
    needed = planning.networks_needed(bound, cv=0.3, effect=effect)
    assert needed is not None
    assert abs(needed - 40) <= 4
    assert planning.power(bound, cv=0.3, effect=effect, n=40) > 0.9
    assert planning.power(bound, cv=0.3, effect=effect, n=20) < 0.8
    assert planning.networks_needed(bound, cv=0.3, effect=3.0) == 12
    assert planning.networks_needed(bound, cv=0.8, effect=1.001, largest=50) is None


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"n": 11}, "needs 12 networks"), ({"cv": 0.0}, "coefficient of variation"), ({"effect": 1.0}, "above 1")],
)
def test_what_cannot_be_planned_is_said(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        planning.power(AtMost(one), **({"cv": 0.2, "effect": 1.2, "n": 16} | change))
