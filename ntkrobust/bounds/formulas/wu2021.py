r"""Wu, Chen, Cai, He, Gu 2021, "Do wider neural networks really help adversarial robustness?" (arXiv 2010.01279).

**From recollection, at second hand**: the form in which Zhu et al. (arXiv 2209.07263) are remembered to compare with.
For ReLU networks of depth L and width m in the kernel regime it bounds the local Lipschitz constant, and with it the
instability of predictions, after training:

    L² m^{1/3} √(log m) + √(mL),

up to a constant, with high probability over an NTK-like initialization. Left open: the constant, the range of m and L,
the assumptions on the data, and the norm.
"""

from __future__ import annotations

import math


def lipschitz(depth: int, width: int) -> float:
    """L² m^{1/3} √(log m) + √(mL): without its constant. Grows with width and with depth."""
    return depth**2 * width ** (1 / 3) * math.sqrt(math.log(width)) + math.sqrt(width * depth)
