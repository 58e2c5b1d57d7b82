"""From samples to a verdict: what each relation asks of the numbers, and how a label is given.

For every relation two null hypotheses are tested: "the statement is true" (rejecting it refutes) and "the statement is
false" (rejecting it supports); for what is said along an axis a third, "the measure is not flat". p-values are adjusted
by Holm over all statements judged together, each of the three kinds by itself. Where networks are drawn in several
looks, every p-value is one that holds under early stopping.
"""

from ntkrobust.bounds.verdicts.judging import judge
from ntkrobust.bounds.verdicts.labelling import decide, enough_cells
from ntkrobust.bounds.verdicts.looking import Needed, SequentialDecision
from ntkrobust.bounds.verdicts.stating import axes_of, facets_along, flatness, statement
from ntkrobust.bounds.verdicts.types import LABELS, LEVEL, POWER, CellSample, Effect, Examined, Label, Verdict

__all__ = [
    "LABELS",
    "LEVEL",
    "POWER",
    "CellSample",
    "Effect",
    "Examined",
    "Label",
    "Needed",
    "SequentialDecision",
    "Verdict",
    "axes_of",
    "decide",
    "enough_cells",
    "facets_along",
    "flatness",
    "judge",
    "statement",
]
