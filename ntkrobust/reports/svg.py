"""Matplotlib figures as text that can stand in a page: no files, no global state, the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ntkrobust.reports.palette import LIGHT

_SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "ntkrobust",  # or every run would give its own names to the parts of a picture
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # letters as letters, which publishers ask for, not as outlines of type 3
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.5,
    "mathtext.fontset": "dejavusans",
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.edgecolor": LIGHT["muted"],
    "axes.facecolor": "none",
    "axes.labelcolor": LIGHT["ink"],
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.facecolor": LIGHT["paper"],
    "figure.edgecolor": "none",
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.color": LIGHT["muted"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.color": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["ink"],
}


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, figures are made in our style, whatever the settings of the process are; those are left as they were."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        # A name in a script that the font lacks is shown as boxes, which is no reason to have no figure.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def inline_svg(figure: Figure, description: str) -> str:
    """The figure as an ``svg`` element, also valid as a file of its own; call inside :func:`drawing`.

    Args:
        figure: the figure.
        description: what it shows, for those who can't see it. It also tells figures of one page apart.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<!--.*?-->", "", text, flags=re.DOTALL)
    text = text.replace("xlink:href", "href").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    text = re.sub(r'(?<= )(?:d|x|y)="[^"]*"', _rounded, text)
    text = re.sub(r"\n\s*", "\n", text)
    text = _own_names(text, hashlib.sha256(description.encode()).hexdigest()[:8])
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1).strip()


def _rounded(attribute: re.Match[str]) -> str:
    """Coordinates to hundredths of a point, which are a third of the size; scales and angles are left alone."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", attribute[0])


def _own_names(text: str, prefix: str) -> str:
    """Pictures in one page share one space of ids: keep those that are referred to, and make them this picture's."""
    wanted = {name: f"{prefix}-{index}" for index, name in enumerate(_references(text))}
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{wanted[found[1]]}"' if found[1] in wanted else "", text)
    return re.sub(r"#([\w.-]+)(?=[\")])", lambda found: f"#{wanted.get(found[1], found[1])}", text)


def _references(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', text)))
