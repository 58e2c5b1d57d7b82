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
# # A theorem of one's own
#
# A bound is a function of width and depth. Whether networks keep it, by how much, and how many networks it takes to
# see that, comes back as a verdict. [Stating a theorem](../docs/claims.md) has all that can be said; this is one
# example from start to end, on data that is not the package's: moons, as any file or pair of arrays would be.

# %%
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import make_moons

import ntkrobust as ntr

x, labels = make_moons(400, noise=0.1, random_state=0)
data = (x[:300], labels[:300], x[300:], labels[300:])

# %% [markdown]
# ## 1. The bound
#
# Say a proof gives E max ‖J(x)‖ ≤ 3 for ReLU networks with He weights before training, at any width and a moderate
# depth, with the largest of the Jacobians of all test points. The measure is a function as well: it asks for what it
# needs by the names of its arguments.


# %%
def largest_gradient(jacobian):
    r"$\max_x \|J(x)\|_F$"
    return jnp.max(jnp.linalg.norm(jacobian, axis=(-2, -1)))


@ntr.claim(
    "mine/largest-gradient",
    measure=largest_gradient,
    grid={"initialization": ["he"], "depth": [2, 4, 8], "width": [16, 64, 256]},
    draws=16,
)
def bound(depth, width):
    r"On average over He networks $\max_x \|J(x)\|_F \leq 3$ before training"
    return 3.0


# %% [markdown]
# ## 2. Before the run: what would it show?
#
# `power` trains nothing. It says how many networks a verdict takes if the truth is 20 percent away from the bound.

# %%
(foresight,) = ntr.power(bound, data=data, effect=1.2)
print(f"{foresight.seeds_needed} seeds, of {bound.draws} networks each, show a truth 20 percent below the bound")
foresight

# %% [markdown]
# ## 3. The verdict

# %%
verdict = ntr.verify(bound, data=data)
verdict

# %% [markdown]
# The worst cell is told, with the command that draws the same networks again. All cells, as data:

# %%
for cell in verdict.cells:
    where = ", ".join(f"{name} {cell.coordinates[name]}" for name in ("depth", "width"))
    print(f"{where}: {np.mean(cell.values):.3f} ± {np.std(cell.values, ddof=1) / np.sqrt(len(cell.values)):.3f}")

# %% [markdown]
# ## 4. What does it say of trained networks?
#
# The same measure along training is a claim about an axis, here the width, in a reading: when networks are looked at,
# and how they are trained. Wide networks are often said to be the smoother ones.

# %%
trained = ntr.Claim(
    id="mine/wider-is-flatter",
    statement="After 300 steps of Adam, the largest gradient falls with the width",
    relation=ntr.DecreasesIn("width"),
    measure=largest_gradient,
    grid={"initialization": ("he",), "depth": (2,), "width": (8, 32, 128), "n": 100},
    reading=ntr.Reading("fixed steps", 300, optimizer="adam", learning_rate=0.01),
)
verdict = ntr.verify(trained, data=data)
assert verdict.label == "refuted"
verdict

# %%
verdict.figure()

# %% [markdown]
# On these moons it grows. That is a statement about moons, 100 points and 300 steps; `data=` takes several data sets
# at once, and says where a statement holds and where it fails. With `out="results"`, `verify` leaves a report, the
# verdicts as JSON and the evidence as netCDF in a folder.
