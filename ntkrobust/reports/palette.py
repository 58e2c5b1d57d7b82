"""Colours: one table for figures, pages and terminals, safe for colour-blind eyes, in a light and a dark version.

Figures are drawn in the light version. In a page, :func:`themed` puts names in the place of the colours, so that the
page decides which version is shown.
"""

from __future__ import annotations

import re

PALETTE: dict[str, tuple[str, str]] = {
    "ink": ("#1d2733", "#e4e8ec"),
    "muted": ("#5c6873", "#9aa6b2"),
    "rule": ("#d6dce2", "#343d47"),
    "paper": ("#fefefe", "#171c22"),
    "supported": ("#00735f", "#3fc1a5"),
    "refuted": ("#bf3b0b", "#ff8f5e"),
    "flat": ("#2f5fa8", "#7fb0f0"),
    "inconclusive": ("#86680a", "#d9b64a"),
    "out-of-scope": ("#66717d", "#93a0ad"),
    # Okabe and Ito's colours but black, yellow, which paper swallows, and orange, in whose place is violet: dark enough
    # for paper, it is vermillion to eyes without green. Dark ones are lifted on dark paper.
    "series-1": ("#0072b2", "#4aa8e0"),
    "series-2": ("#d55e00", "#f0853a"),
    "series-3": ("#009e73", "#2cc397"),
    "series-4": ("#b5588f", "#dd8fbe"),
    "series-5": ("#6f2dbd", "#9a66e0"),
    "series-6": ("#4d9fd1", "#86c8ef"),
}
"""Name → (on light paper, on dark paper)."""

LIGHT = {name: light for name, (light, _) in PALETTE.items()}
SERIES = tuple(colour for name, colour in LIGHT.items() if name.startswith("series"))

SYMBOLS = {"supported": "✓", "refuted": "✗", "flat": "≈", "inconclusive": "?", "out of scope": "∅"}
"""Beside its colour every label has a sign."""

_NAMES = {light: name for name, light in LIGHT.items()}


def colour_name(label: str) -> str:
    """The name in the palette of a label's colour."""
    return label.replace(" ", "-")


def label_colour(label: str) -> str:
    """The colour of a label on light paper."""
    return LIGHT[colour_name(label)]


def themed(svg: str) -> str:
    """The picture with every colour of the palette replaced by the name that the page gives it."""
    return re.sub(
        r"#[0-9a-f]{6}\b",
        lambda found: f"var(--{_NAMES[found[0]]})" if found[0] in _NAMES else found[0],
        svg,
    )


def style_variables(dark: bool) -> str:
    """The palette as CSS declarations."""
    return " ".join(f"--{name}: {versions[dark]};" for name, versions in PALETTE.items())
