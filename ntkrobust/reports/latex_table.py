r"""Verdicts as a LaTeX table: ``tabular`` with the rules of ``booktabs``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ntkrobust.reports import words

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "×": r"$\times$", "−": "$-$", "–": "--", "√": r"$\surd$", "\u202f": r"\,", "→": r"$\to$", "·": r"$\cdot$",
    "∞": r"$\infty$", "λ": r"$\lambda$", "β": r"$\beta$", "‖": r"$\|$", "²": r"\textsuperscript{2}",
}  # fmt: skip
"""What LaTeX reads otherwise, or lacks without packages, among what our words have."""

_POWER = re.compile("10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_HEAD = ("Claim", "Reading", "Verdict", r"Effect [95\,\%]", "$p$", "$n$")


def latex_table(document: Mapping[str, Any]) -> str:
    """One row per verdict: claim, reading, label, effect with its interval, adjusted p-value, networks.

    Args:
        document: what ``verdicts.json`` holds.
    """
    rows = [
        (
            words.base_id(verdict["claim"]),
            words.short_reading(verdict),
            words.label(verdict),
            words.factor(verdict["effect"]),
            words.p_value(verdict["p_value"]),
            words.integer(verdict["seeds"]),
        )
        for verdict in document["values"]["verdicts"]
    ]
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in rows]
    head = " & ".join(_HEAD) + r" \\"
    return "\n".join(
        [r"% \usepackage{booktabs}", r"\begin{tabular}{lllrrr}", r"\toprule", head, r"\midrule", *lines, r"\bottomrule",
         r"\end{tabular}", ""]
    )  # fmt: skip


def escaped(text: str) -> str:
    """A text as LaTeX prints it; powers of ten as formulas."""
    pieces = _POWER.split(" ".join(text.split()))
    # Every other piece is an exponent.
    return "".join(
        f"$10^{{{piece.translate(_DIGITS)}}}$" if index % 2 else "".join(_SPECIAL.get(one, one) for one in piece)
        for index, piece in enumerate(pieces)
    )
