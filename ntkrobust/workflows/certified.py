"""Robust accuracy between two numbers: what is certified, and what an attack leaves of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.attacking import attack
from ntkrobust.finite.attacks.catalogue import PGD
from ntkrobust.finite.certificates.bounds import Method
from ntkrobust.finite.certificates.certifying import certify
from ntkrobust.finite.training.run import Run
from ntkrobust.norms import Norm

STEPS, RESTARTS = 50, 2
"""Gradients in each run of the attack, and its runs."""

ROUNDED = 1e-6
"""What a share of points may be off by in float32."""


@dataclasses.dataclass(frozen=True)
class Between:
    """Shares of test points of each network, (seed,); NaN where it diverged.

    Attributes:
        seeds: of the networks.
        attack: as the code that makes it.
        natural_accuracy: exact.
        attacked, certified: upper and lower ends of robust accuracy.
        attacked_stability, certified_stability: the same of the share that keeps its predicted class.
    """

    seeds: tuple[int, ...]
    attack: str
    natural_accuracy: npt.NDArray[np.float32]
    attacked: npt.NDArray[np.float32]
    certified: npt.NDArray[np.float32]
    attacked_stability: npt.NDArray[np.float32]
    certified_stability: npt.NDArray[np.float32]

    def rows(self) -> list[dict[str, Any]]:
        """One for each network, as JSON has it; ``gap`` is ``attacked`` − ``certified``."""
        names = ("natural_accuracy", "attacked", "certified", "attacked_stability", "certified_stability")
        found = []
        for index, seed in enumerate(self.seeds):
            values = {name: float(getattr(self, name)[index]) for name in names}
            row = {name: value if math.isfinite(value) else None for name, value in values.items()}
            gap = values["attacked"] - values["certified"]
            found.append({"seed": seed, **row, "gap": gap if math.isfinite(gap) else None})
        return found


def between(
    run: Run, x: npt.ArrayLike, y: npt.ArrayLike, *, epsilon: float, norm: Norm = "linf", method: Method = "crown"
) -> Between:
    """Robust accuracy of every network, from both sides.

    Raises:
        InputError: as for :func:`ntkrobust.certify` and :func:`ntkrobust.attack`; or what an attack leaves is less than
            what is certified, which one of the two has wrong.
    """
    certificate = certify(run, x, y, epsilon=epsilon, norm=norm, method=method)
    against = PGD(steps=STEPS, restarts=RESTARTS, norm=norm)
    stable = attack(run, x, epsilon=epsilon, methods=against, against="predicted")
    # What is left of the true class, of the same points: where it is predicted, it is the one that was attacked.
    robust = (stable["is_robust"] * certificate["is_natural"]).mean("point")
    found = Between(
        tuple(run.seeds),
        repr(against),
        certificate["natural_accuracy"].values,
        robust.values,
        certificate["certified_accuracy"].values,
        stable["prediction_stability"].values,
        certificate["certified_stability"].values,
    )
    for upper, lower in ((found.attacked, found.certified), (found.attacked_stability, found.certified_stability)):
        is_wrong = lower > upper + ROUNDED
        if is_wrong.any():
            raise InputError(
                f"what is certified must hold against attacks, and for seed {run.seeds[int(np.argmax(is_wrong))]} an "
                "attack leaves less: please report it"
            )
    return found
