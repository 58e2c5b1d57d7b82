"""Robust accuracy between two numbers: what is certified, and what an attack leaves of it."""

from __future__ import annotations

import dataclasses
import itertools
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
        exact, exact_stability: the shares themselves, by enumeration of gates; None where they were not asked for.
    """

    seeds: tuple[int, ...]
    attack: str
    natural_accuracy: npt.NDArray[np.float32]
    attacked: npt.NDArray[np.float32]
    certified: npt.NDArray[np.float32]
    attacked_stability: npt.NDArray[np.float32]
    certified_stability: npt.NDArray[np.float32]
    exact: npt.NDArray[np.float32] | None = None
    exact_stability: npt.NDArray[np.float32] | None = None

    def rows(self) -> list[dict[str, Any]]:
        """One for each network, as JSON has it; ``gap`` is ``attacked`` − ``certified``."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("seeds", "attack")]
        names = [name for name in names if getattr(self, name) is not None]
        found = []
        for index, seed in enumerate(self.seeds):
            values = {name: float(getattr(self, name)[index]) for name in names}
            row = {name: value if math.isfinite(value) else None for name, value in values.items()}
            gap = values["attacked"] - values["certified"]
            found.append({"seed": seed, **row, "gap": gap if math.isfinite(gap) else None})
        return found


def between(
    run: Run,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    epsilon: float,
    norm: Norm = "linf",
    method: Method = "crown",
    exact: bool = False,
) -> Between:
    """Robust accuracy of every network, from both sides; and itself, where gates are enumerated.

    Args:
        run, x, y, epsilon, norm, method: as for :func:`ntkrobust.certify`.
        exact: whether to decide every point by ``method="exact"``, too: tiny networks alone.

    Raises:
        InputError: as for :func:`ntkrobust.certify` and :func:`ntkrobust.attack`; or what an attack leaves is less than
            what is certified, or what is exact is not between them, which one of them has wrong.
    """
    # First, since it may be refused.
    decided = certify(run, x, y, epsilon=epsilon, norm=norm, method="exact") if exact else None
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
        None if decided is None else decided["certified_accuracy"].values,
        None if decided is None else decided["certified_stability"].values,
    )
    _check_order(found)
    return found


def _check_order(found: Between) -> None:
    """Raise InputError unless certified ≤ exact ≤ attacked."""
    for attacked, exact, certified in (
        (found.attacked, found.exact, found.certified),
        (found.attacked_stability, found.exact_stability, found.certified_stability),
    ):
        sides = [("an attack leaves", attacked), ("is exact", exact), ("is certified", certified)]
        known = [(words, share) for words, share in sides if share is not None]
        for (above, more), (below, less) in itertools.pairwise(known):
            is_wrong = less > more + ROUNDED
            if is_wrong.any():
                seed = found.seeds[int(np.argmax(is_wrong))]
                raise InputError(f"what {below} must not be more than what {above}, and for seed {seed} it is: please "
                                 "report it")  # fmt: skip
