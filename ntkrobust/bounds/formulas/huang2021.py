r"""Huang et al. 2021, on the robustness of architectures under adversarial training.

**From recollection, at second hand**: the form in which Zhu et al. (arXiv 2209.07263) are remembered to compare with.
A bound on how a network of depth L and width m amplifies perturbations of its input:

    2^{(3L−5)/2} √m,

up to a constant. Left open: the constant, the initialization, and the assumptions.
"""

from __future__ import annotations

import math


def amplification(depth: int, width: int) -> float:
    """2^{(3L−5)/2} √m: without its constant. Grows with width, and exponentially with depth."""
    return 2 ** ((3 * depth - 5) / 2) * math.sqrt(width)
