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
# # Between attack and certificate
#
# An attack that finds nothing proves nothing; a certificate holds in a whole ball, and may be far too careful. The
# robust share of points lies between the two. What the gap does with radius, width and training, on digits, 3 against
# the rest ([how the bounds are made](../docs/certified.md)).

# %%
import matplotlib.pyplot as plt
import numpy as np

import ntkrobust as ntr

data = ntr.data.load("digits-3-vs-rest").subset(200, 60)
HOW = {"steps": 300, "optimizer": "adam", "learning_rate": 0.01, "seeds": 4, "bounds": data.bounds}
RADII = [0.003, 0.01, 0.02, 0.03, 0.05]


def both_sides(run):
    certified = ntr.certify(run, data, epsilon=RADII)
    attacked = ntr.attack(run, data, epsilon=RADII, methods="pgd")
    assert np.all(certified.certified_accuracy <= attacked.robust_accuracy)
    return attacked, certified


# %% [markdown]
# ## 1. Radius and width

# %%
sides = {}
for width in (8, 128):
    sides[width] = both_sides(ntr.train(ntr.MLP(depth=3, width=width), data, **HOW))
    attacked, certified = (one.mean("seed") for one in sides[width])
    for i, radius in enumerate(RADII):
        low, high = float(certified.certified_accuracy[i]), float(attacked.robust_accuracy[i])
        print(f"width {width}, ε = {radius}: between {low:.2f} and {high:.2f}")

# %%
attacked, certified = sides[8]
ntr.plots.accuracy_against_radius(attacked, certified=certified)

# %%
attacked, certified = sides[128]
ntr.plots.accuracy_against_radius(attacked, certified=certified)

# %% [markdown]
# At the smallest radius both ends are close, and the truth is known to a point or two.
#
# ## 2. Exactly, where networks are tiny
#
# With a dozen units every pattern of gates can be tried. What is exact lies between the two, for each point.

# %%
tiny = ntr.train(ntr.MLP(depth=2, width=6), data, **HOW)
few = (data.x_test[:20], data.y_test[:20])
margins = {
    "certified": ntr.certify(tiny, *few, epsilon=0.03).margin,
    "exact": ntr.certify(tiny, *few, epsilon=0.03, method="exact").margin,
    "attacked": ntr.attack(tiny, *few, epsilon=0.03, methods="pgd").margin,
}
values = {name: np.squeeze(one.to_numpy()).ravel() for name, one in margins.items()}
order = np.argsort(values["exact"])
for name, marker in (("attacked", "v"), ("exact", "_"), ("certified", "^")):
    plt.plot(values[name][order], marker, markersize=4, label=name)
plt.axhline(0, color="black", linewidth=0.5)
plt.xlabel("network and point, by the exact margin")
plt.ylabel("smallest margin in the ball")
plt.legend()
plt.show()
assert (values["certified"] <= values["exact"] + 1e-9).all()
assert (values["exact"] <= values["attacked"] + 1e-5).all()

# %% [markdown]
# ## 3. Training for certificates
#
# Trained against the worst outputs that intervals allow, networks have little between the two sides; the price is
# natural accuracy.

# %%
against = ntr.Adversary(epsilon=0.03, strength=0.3, objective="interval")
attacked, certified = both_sides(ntr.train(ntr.MLP(depth=3, width=24), data, **HOW, adversary=against))
ntr.plots.accuracy_against_radius(attacked, certified=certified)
