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
# # Does width help? The first order in 1/m
#
# At infinite width, width has no effect. In the kernel regime the next order says which way it goes:
# $E\lVert\nabla f_t\rVert^2 = G_t\,(1 + c_t/m + \dots)$. Where $c_t > 0$ wider networks have smaller gradients. Nothing
# is trained to find $c_t$; at the end networks are, to see whether they agree.

# %%
import matplotlib.pyplot as plt
import numpy as np

import ntkrobust as ntr

data = ntr.data.load("digits").subset(8, 4)  # even against odd, rows of unit norm
net = ntr.MLP(depth=2, activation="erf", initialization="lecun", parameterization="ntk")
times = np.geomspace(0.1, 100, 7)  # t·λ_max


def coefficients(size):
    """c over time, for labels ±size: the mean over test points weighted as the gradients are, and its error."""
    ensemble = ntr.InfiniteEnsemble(net, data.x_train, size * data.y_train)
    found = []
    for time in times / ensemble.conditioning.largest:
        now = ensemble.at(time)
        limit = now.gradient_second_moment(data.x_test)
        sets = now.first_order_width_sets(data.x_test, neurons=512) @ limit / limit.sum()  # independent sets of neurons
        found.append((sets.mean(), sets.std(ddof=1) / np.sqrt(len(sets))))
    return np.array(found).T


# %% [markdown]
# ## The sign turns, and labels decide when
#
# Expectations over neurons know neither times nor labels, so that one set of them serves all curves.

# %%
figure, axes = plt.subplots(figsize=(6, 3.6))
for size in (0.1, 0.3, 1.0):
    c, error = coefficients(size)
    axes.errorbar(times, c, 3 * error, marker="o", ms=3, label=f"|y| = {size}")
    print(f"|y| = {size}: c =", ", ".join(f"{value:.3g}" for value in c))
axes.axhline(0, color="black", lw=0.8)
axes.set(xscale="log", yscale="symlog", xlabel="t·λ_max", ylabel="c")
axes.legend()
# %% [markdown]
# Small labels: the network mostly forgets where it started, and width hurts at first. Large labels: the kernel's
# fluctuation acts on what is learnt, and width helps early. `docs/sign-of-width.md` has the whole picture.
#
# ## A verdict without networks, and one with
#
# A `Quantity` that has the name of a measure is judged in place of the networks. Both statements are the same one.

# %%
theory = ntr.Quantity("jacobian_frobenius_sq", lambda first_order_width: first_order_width, r"G_t(1 + c_t/m)")
grid = {
    "activation": ["erf"],
    "initialization": ["lecun"],
    "parameterization": ["ntk"],
    "depth": [2],
    "width": [64, 256, 1024],
    "n": [8],
}
claims = [
    ntr.Claim(
        f"mine/width-helps/{name}",
        r"$E\lVert\nabla f_t\rVert^2$ falls with width",
        ntr.DecreasesIn("width"),
        measure,
        grid,
        reading=ntr.Reading("equal time", 3.0),
    )
    for name, measure in (("theory", theory), ("networks", "jacobian_frobenius_sq"))
]
verdicts = ntr.verify(claims, data=data, seeds=256)
for verdict in verdicts:
    print(verdict)
assert {verdict.label for verdict in verdicts} == {"supported"}

# %%
for by_theory, by_networks in zip(*(verdict.cells for verdict in verdicts), strict=True):
    m, values = by_theory.coordinates["width"], by_networks.values
    error = values.std(ddof=1) / np.sqrt(len(values))
    print(f"m = {m:4d}: G(1 + c/m) = {by_theory.values.mean():.3f}, networks {values.mean():.3f} ± {error:.3f}")
