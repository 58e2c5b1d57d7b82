"""Figures for papers: functions that take results and return figures of matplotlib.

Every function takes what :func:`ntkrobust.measure` returns, the evidence of verdicts, or plain arrays, and returns a
``matplotlib.figure.Figure``: ``figure.savefig("figure.pdf")``. An initialization has the same colour and marker in
all of them, and in no kind of colour blindness do two look alike. Lines are means over networks, bands their 95 %
intervals (Student's t). Inside ``with ntkrobust.plots.style("neurips"):`` figures have the width and the letters of a
venue.
"""

from ntkrobust.plots.bounds import tightness
from ntkrobust.plots.curves import accuracy_against_radius, time_course, width_plot
from ntkrobust.plots.planes import heat_map, phase_diagram
from ntkrobust.plots.styling import colour_of, size, style

__all__ = [
    "accuracy_against_radius",
    "colour_of",
    "heat_map",
    "phase_diagram",
    "size",
    "style",
    "tightness",
    "time_course",
    "width_plot",
]
