"""What the formulas of claims are evaluated with, and how a mistake in one is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.coordinates import UNCERTAIN, asked_for
from ntkrobust.bounds.claims.relations import AtLeast, AtMost
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.studies.cells import Cell, coordinates
from ntkrobust.studies.first_order import FirstOrder
from ntkrobust.studies.predictions import InfiniteWidth, law_mean


class Coordinates(dict[str, Any]):
    """The coordinates of a cell; predictions of the claim's measure are made when a formula asks for them."""

    def __init__(self, plain: Mapping[str, Any], predictions: Mapping[str, Callable[[], float]]) -> None:
        super().__init__(plain)
        self._predictions = predictions

    def __missing__(self, name: str) -> float:
        return self._predictions[name]()


@dataclasses.dataclass(frozen=True)
class Known:
    """What formulas are evaluated with."""

    data: Dataset
    infinite: InfiniteWidth
    first_order: FirstOrder

    @classmethod
    def of(cls, data: Dataset, points: int) -> Known:
        """What is known of a data set whose measures are averaged over so many of its test points."""
        infinite = InfiniteWidth(data, min(points, len(data.x_test)))
        return cls(data, infinite, FirstOrder(infinite))

    def repeated(self, claim: Claim, cell: Cell, formula: Callable[..., Any]) -> list[Coordinates]:
        """Coordinates in which a formula has a value each, whose spread is its error; of what has none, one."""
        if UNCERTAIN not in asked_for(formula):
            return [self.coordinates(claim, cell)]
        count = len(self.first_order.sets(claim.measure_name, cell))
        return [self.coordinates(claim, cell, slice(index, index + 1)) for index in range(count)]

    def coordinates(self, claim: Claim, cell: Cell, sets: slice = slice(None)) -> Coordinates:
        """All that the formulas of a claim may ask for in a cell; by some sets of neurons alone, if asked for."""
        name = claim.measure_name

        def of_means(predict: Callable[[], float]) -> Callable[[], float]:
            def prediction() -> float:
                if claim.reading.functional != "mean":
                    raise InputError(f"predictions are means, and the reading takes the {claim.reading.functional}")
                return predict()

            return prediction

        return Coordinates(
            coordinates(cell, self.data),
            {
                "exact_law": of_means(lambda: law_mean(name, cell.net, self.data.d)),
                "infinite_width": of_means(lambda: self.infinite.mean(name, cell)),
                UNCERTAIN: of_means(lambda: float(np.mean(self.first_order.sets(name, cell)[sets]))),
            },
        )


def allowed_values(claim: Claim, formula: Callable[..., Any]) -> Callable[[float], bool]:
    """Explicit bounds may be numbers that they say nothing with, as far as they are known to."""
    if formula is claim.formula and isinstance(claim.relation, AtMost | AtLeast):
        return claim.relation.says_nothing
    return lambda number: False


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Say in which claim and cell a mistake is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what} {error}") from None
