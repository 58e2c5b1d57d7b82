"""What ``verify`` returns: verdicts with the evidence they rest on, of one data set or of several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkrobust.bounds.verdicts import Verdict
from ntkrobust.reports.latex_table import latex_table
from ntkrobust.reports.notebook import verdicts_html
from ntkrobust.reports.several import several_document, several_html
from ntkrobust.values import Value


class Verdicts(Value, Sequence[Verdict]):
    """Verdicts on claims examined together, in the order the claims were given.

    Attributes:
        evidence: everything measured, as an :class:`xarray.DataTree`.
        document: what ``verdicts.json`` holds.
    """

    def __init__(self, verdicts: Sequence[Verdict], evidence: xr.DataTree, document: dict[str, Any]) -> None:
        self._verdicts = tuple(verdicts)
        self.evidence = evidence
        self.document = document

    def __getitem__(self, index: Any) -> Any:
        return self._verdicts[index]

    def __len__(self) -> int:
        return len(self._verdicts)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._verdicts))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per claim: label, effect with its interval, adjusted p-value, seeds, data, reason."""
        return pd.DataFrame(
            [
                {
                    "claim": one.claim.id,
                    "label": one.label,
                    "effect": one.effect.estimate if one.effect else np.nan,
                    "low": one.effect.low if one.effect else np.nan,
                    "high": one.effect.high if one.effect else np.nan,
                    "p_value": np.nan if one.p_value is None else one.p_value,
                    "seeds": one.seeds,
                    "reading": str(one.claim.reading),
                    "data": one.data,
                    "reason": one.reason,
                }
                for one in self
            ]
        )

    def to_latex(self) -> str:
        """A table for a paper, with the rules of ``booktabs``: claim, reading, label, effect, adjusted p-value, n."""
        return latex_table(self.document)

    def _repr_html_(self) -> str:
        return verdicts_html(
            self.document["values"]["verdicts"], self.evidence, self.document["inputs"]["data"]["name"]
        )


class VerdictsByData(Value, Mapping[str, Verdicts]):
    """Verdicts on the same claims on several data sets, judged together, by the names given → :class:`Verdicts`.

    Attributes:
        document: what ``several.json`` holds: a row per claim, a column per data set, and what they say together.
    """

    def __init__(self, by_data: Mapping[str, Verdicts]) -> None:
        self._by_data = dict(by_data)
        self.document = several_document({name: one.document for name, one in self._by_data.items()})

    def __getitem__(self, name: str) -> Verdicts:
        return self._by_data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_data)

    def __len__(self) -> int:
        return len(self._by_data)

    @property
    def said(self) -> tuple[str, ...]:
        """For each claim, in words, what the data sets say together."""
        return tuple(row["said"] for row in self.document["values"]["claims"])

    def to_dataframe(self) -> pd.DataFrame:
        """One row per claim, one column per data set: the labels."""
        rows = self.document["values"]["claims"]
        return pd.DataFrame(
            [[one["label"] for one in row["on"]] for row in rows],
            index=pd.Index([row["claim"] for row in rows], name="claim"),
            columns=list(self._by_data),
        )

    def __repr__(self) -> str:
        return "\n".join(f"{row['claim']}: {row['said']}" for row in self.document["values"]["claims"])

    def _repr_html_(self) -> str:
        return several_html(self.document)
