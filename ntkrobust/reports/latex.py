"""Statements: text with LaTeX between dollar signs, as HTML that needs nothing from outside."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from ntkrobust.reports.svg import drawing

_EM = 1000
"""Units per em. Paths are rounded to whole units, and mathtext rounds sizes to whole units."""

_FONT = FontProperties(size=_EM, math_fontfamily="stix")  # the look of a paper, and comes with matplotlib
LONGEST = 1000
"""Characters of a formula that is drawn: mathtext takes seconds for longer ones, and they would not fit a page."""

_COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def statement_html(text: str) -> Markup:
    """The text with its formulas drawn. What follows a formula without a space stays on its line.

    A text with an odd number of dollar signs has no formulas.
    """
    parts = re.split(r"(?<!\\)\$", text)
    if len(parts) % 2 == 0:
        return Markup(escape(text))
    pieces: list[str] = []
    for words, formula in zip(parts[0::2], [*parts[1::2], None], strict=True):
        tail, rest = "", words
        if pieces:
            tail, rest = re.match(r"(\S*)(.*)", words, flags=re.DOTALL).groups()  # type: ignore[union-attr]
            pieces.append(f"{escape(tail)}</span>")
        pieces.append(escape(rest.replace(r"\$", "$")))
        if formula is not None:
            pieces.append(f'<span class="formula">{formula_html(formula)}')
    return Markup("".join(pieces))


def formula_html(tex: str) -> Markup:
    """A formula as an inline picture in the colour of the text around it, or its source where it can't be drawn."""
    return Markup(_formula_svg(tex) or f"<code>{escape(tex)}</code>")


def renders(tex: str) -> bool:
    """Whether the formula can be drawn."""
    return _formula_svg(tex) is not None


def symbol(definition: str) -> str:
    """The left-hand side of a definition: ``P/\\varepsilon`` of ``P/\\varepsilon = E[…]``, ``1[J = 0]`` as it is.

    Empty for one that begins with words: a sentence is no symbol.
    """
    depth = 0
    for position, character in enumerate(definition):
        depth += (character in "([{") - (character in ")]}")
        # words, and what follows a comma, say what the letters are
        if depth == 0 and definition.startswith(("=", ",\\ ", r"\text{"), position):
            return definition[:position].strip()
    return definition.strip()


@lru_cache(maxsize=1024)
def _formula_svg(tex: str) -> str | None:
    if len(tex) > LONGEST:
        return None
    source = f"${tex}$"
    with drawing(), matplotlib.rc_context({"text.parse_math": True}):
        try:
            size = MathTextParser("path").parse(source, dpi=72, prop=_FONT)
            path = TextPath((0, 0), source, prop=_FONT)
        except Exception:  # what mathtext refuses, or fails at: its source is shown, and the page stands
            return None
    # mathtext counts its height from the bottom; the baseline of the surrounding text is ``depth`` above that.
    width, height, depth = (max(1, round(length)) for length in (size.width, size.height, size.depth))
    return (
        f'<svg class="math" role="img" aria-label="{escape(tex)}" viewBox="0 {depth - height} {width} {height}" '
        f'style="width:{width / _EM:.3f}em;height:{height / _EM:.3f}em;vertical-align:{-depth / _EM:.3f}em">'
        f'<path d="{_outline(path)}"/></svg>'
    )


def _outline(path: Path) -> str:
    """SVG path data; its y axis points down."""
    pieces = []
    for vertices, code in path.iter_segments(simplify=False, curves=True):
        numbers: Any = [] if code == Path.CLOSEPOLY else np.round(vertices.reshape(-1, 2) * [1, -1]).astype(int).ravel()
        pieces.append(_COMMANDS[code] + " ".join(map(str, numbers)))
    return "".join(pieces)
