# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Settling a paper, statement by statement
#
# *Robustness in deep learning: the good (width), the bad (depth), and the ugly (initialization)* (arXiv 2209.07263)
# says in its abstract what width, depth and initialization do to average robustness. Each statement is a claim here,
# in several readings. The whole paper is `ntkrobust verify zhu2022`; this notebook takes three of the claims, one of
# which fails, and asks the exact law why.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import ntkrobust as ntr

paper = [claim for claim in ntr.claims.default_claims() if claim.paper == "zhu2022"]
pd.DataFrame(
    {"reading": [str(claim.reading) for claim in paper], "statement": [claim.statement for claim in paper]},
    index=[claim.id for claim in paper],
)

# %% [markdown]
# ## Three of them
#
# Before training, so that it takes seconds: LeCun, where depth is said to help, and He, where it is said to hurt;
# and He with the scale of the output divided out.

# %%
verdicts = ntr.verify(
    [
        "zhu2022/depth-lecun/measured@initialization",
        "zhu2022/depth-he/measured@initialization",
        "zhu2022/depth-he-normalized/measured@initialization",
    ],
    points=4,
)
verdicts

# %%
lecun, he, normalized = verdicts
assert lecun.label == "supported"
assert he.label == "refuted"
print(f"normalized, He: {normalized.label}, {normalized.reason}")

# %% [markdown]
# ## Why He fails
#
# The law of the input Jacobian at initialization is exact at every width: a layer multiplies $P/\varepsilon$, on
# average, by $r_m = \mu_m\sqrt{2/m}$ under He. That is below 1 at every width, and 1 in the limit. So depth cannot
# hurt *before training, in this measure*: it helps a little, and at infinite width it does nothing.

# %%
widths = np.unique(np.geomspace(2, 1024, 28).round().astype(int))


def per_layer(width: int, initialization: str) -> float:
    """The factor of P/ε from depth 2 to 3."""
    two, three = (
        ntr.exact_law(ntr.MLP(depth, int(width), initialization=initialization), d_in=64).perturbation_stability()
        for depth in (2, 3)
    )
    return three / two


for name in ("he", "lecun"):
    plt.semilogx(widths, [per_layer(width, name) for width in widths], label=name)
plt.semilogx(widths, 1 - 5 / (8 * widths), color="grey", ls=":", label="1 − 5/(8m)")
plt.axhline(1, color="black", lw=0.8)
plt.ylim(0.4, 1.05)
plt.xlabel("width m")
plt.ylabel("P/ε per layer, before training")
plt.legend()
plt.show()

# %% [markdown]
# The networks of the verdict against the law, depth by depth:

# %%
table = pd.DataFrame(
    {
        "measured": [cell.values.mean() for cell in he.cells],
        "standard error": [cell.values.std(ddof=1) / np.sqrt(len(cell.values)) for cell in he.cells],
        "law": [cell.theory for cell in he.cells],
    },
    index=pd.Index([cell.coordinates["depth"] for cell in he.cells], name="depth"),
)
assert (abs(table["measured"] - table["law"]) < 4 * table["standard error"]).all()
assert table["law"].is_monotonic_decreasing
# a law that is flat in depth, as it is at infinite width, would not do
assert abs(table["measured"].iloc[-1] - table["law"].iloc[0]) > 4 * table["standard error"].iloc[-1]
table.round(4)

# %% [markdown]
# ## And LeCun's support?
#
# It holds, by $r_m/\sqrt 2$ per layer. But the output itself shrinks by $1/\sqrt 2$ per layer: what depth does beyond
# the scale of $f$ is the same $r_m$ as under He.

# %%
assert np.isclose(per_layer(64, "lecun"), per_layer(64, "he") / np.sqrt(2))

# %% [markdown]
# "Depth hurts under He" is no theorem refuted: the theorem is an upper bound. And it is one reading of five. After a
# short common time of training the verdict is the opposite, and at convergence this one again:
# `docs/statements/depth-and-initialization.md` has all of them.
