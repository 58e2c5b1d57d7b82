"""Statements of one paper in a file of its own: Rahimi & Recht 2007, Random features for large-scale kernel machines.

The mean of z(x)ᵀz(y) over draws is the kernel, exp(−‖x − y‖²/2) =: k(x − y). So untrained networks v·z(x), v ~ N(0, I),
have E f(x)² = k(0) = 1 and E‖∇f(x)‖² = −tr ∇²k(0) = d, at any width.
"""

from random_features import RandomFeatures

import ntkrobust as ntr

COMMON = {
    "grid": {"network": [RandomFeatures()], "width": [4, 32]},
    "source": "Rahimi & Recht 2007, Random features for large-scale kernel machines, Claim 1",
    "draws": 2048,
}


def square(outputs):
    r"""$f(x)^2$."""
    return outputs[:, 0] ** 2


variance = ntr.Claim(
    "rahimi2007/variance", r"$E f(x)^2 = 1$ before training", ntr.Equals(lambda: 1.0, margin=0.1), square, **COMMON
)
gradient = ntr.Claim(
    "rahimi2007/gradient", r"$E\|\nabla f(x)\|^2 = d$ before training", ntr.Equals(lambda d_in: d_in, margin=0.1),
    "jacobian_frobenius_sq", **COMMON,
)  # fmt: skip
