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
# # What depth and initialization do to the gradients of trained networks
#
# *The good (width), the bad (depth), and the ugly (initialization)* says: in the lazy regime depth makes networks more
# robust under LeCun initialization and less robust under He and NTK initialization. In the lazy regime networks of
# infinite width have a closed form, also for what robustness is about: the input gradient $\nabla f_t$ after training
# for time $t$ is Gaussian over random initializations, and
# $E\lVert\nabla f_t\rVert^2 = \lVert E\nabla f_t\rVert^2 + \mathrm{tr}\,\mathrm{Cov}\,\nabla f_t$.
# Nothing below is trained or sampled; every number is exact up to rounding.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import ntkrobust as ntr

data = ntr.data.load("digits").subset(500, 200)  # even against odd, rows of unit norm
depths = [2, 3, 4, 6, 8, 10]
kernel_times = np.concatenate([[0.0], np.geomspace(0.03, 1e5, 20)])  # t·λ_max
data

# %% [markdown]
# ## From initialization to convergence
#
# One eigendecomposition serves all times. `InfiniteEnsemble` defaults to the NTK parameterization where the network has
# no width; the `ntk` *initialization* has no limit without one, so it is taken at width 512. Times are in units of
# $1/\lambda_{\max}$ of each network's own kernel.

# %%
networks = {
    "lecun": lambda depth: ntr.MLP(depth, initialization="lecun"),
    "he": lambda depth: ntr.MLP(depth, initialization="he"),
    "ntk": lambda depth: ntr.MLP(depth, 512, initialization="ntk", parameterization="ntk"),
}
rows = []
for initialization, network in networks.items():
    for depth in depths:
        ensemble = ntr.InfiniteEnsemble(network(depth), data.x_train, data.y_train)
        largest = ensemble.conditioning.largest
        # beside the times of one kernel: one time for all networks
        readings = {("t·λ", s): s / largest for s in kernel_times} | {("t", 2.0): 2.0, ("t", np.inf): np.inf}
        for (clock, value), time in readings.items():
            now = ensemble.at(time)
            mean, spread = now.gradient_mean_sq(data.x_test).mean(), now.gradient_variance(data.x_test).mean()
            rows.append((initialization, depth, clock, value, mean, spread, mean + spread))
columns = ["initialization", "depth", "clock", "time", "mean part", "variance part", "second moment"]
table = pd.DataFrame(rows, columns=columns)

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 4), sharex=True)
colours = plt.cm.viridis(np.linspace(0, 0.9, len(depths)))
for axis, initialization in zip(axes, networks, strict=True):
    for depth, colour in zip(depths, colours, strict=True):
        one = table[
            (table.initialization == initialization)
            & (table.depth == depth)
            & (table.clock == "t·λ")
            & (table.time > 0)
        ]
        axis.plot(one.time, one["second moment"], color=colour, label=f"L = {depth}")
    axis.set(xscale="log", yscale="log", xlabel="t·λ_max", title=initialization)
axes[0].set_ylabel(r"$E\|\nabla f_t\|^2$")
axes[2].legend(fontsize=8)
figure.tight_layout()
plt.show()

# %% [markdown]
# Under every initialization the gradient grows while the network fits: the mean part rises from zero, the variance part
# decays. What depth does depends on *when* one looks.
#
# ## The answer depends on the reading

# %%
readings = {"untrained": ("t·λ", 0.0), "t = 2 for all": ("t", 2.0), "converged": ("t", np.inf)}
figure, axes = plt.subplots(1, 3, figsize=(13, 3.8))
summary = {}
for axis, (name, (clock, value)) in zip(axes, readings.items(), strict=True):
    for initialization in networks:
        one = table[(table.initialization == initialization) & (table.clock == clock) & (table.time == value)]
        summary[name, initialization] = one.set_index("depth")["second moment"]
        axis.plot(one.depth, one["second moment"] / one["second moment"].iloc[0], marker="o", label=initialization)
    axis.set(title=name, xlabel="depth L", yscale="log")
axes[0].set_ylabel(r"$E\|\nabla f\|^2$, relative to L = 2")
axes[0].legend()
figure.tight_layout()
plt.show()
by_reading = pd.DataFrame(summary).T
by_reading.round(4)

# %% [markdown]
# * **LeCun**: falls with depth at every reading. "Depth helps" is seen.
# * **He**: flat before training, *grows* when all networks train for the same short time (deeper kernels are faster),
#   and *falls* at convergence. "Depth hurts" is true of the second reading only.
# * **NTK**: flat, grows, grows.

# %%
change = by_reading[10] / by_reading[2]
assert (change.loc[:, "lecun"] < 0.7).all()
assert abs(change["untrained", "he"] - 1) < 1e-9
assert change["t = 2 for all", "he"] > 1.1
assert change["converged", "he"] < 0.7
assert abs(change["untrained", "ntk"] - 1) < 1e-9
assert change["converged", "ntk"] > 1.1

# %% [markdown]
# ## Where it comes from
#
# At convergence the mean part does not depend on the scale of the outputs: LeCun, He and NTK share it, and it falls
# with depth. The variance part is what initialization leaves behind, at its own scale. He's is small beside the mean;
# NTK initialization starts from gradients so large that the variance part wins, and that grows with depth.

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.8))
converged = table[(table.clock == "t") & (table.time == np.inf)]
for axis, initialization in zip(axes, networks, strict=True):
    one = converged[converged.initialization == initialization]
    axis.stackplot(one.depth, one["mean part"], one["variance part"], labels=["mean", "variance"], alpha=0.7)
    axis.set(title=f"{initialization}, converged", xlabel="depth L")
axes[0].set_ylabel(r"$E\|\nabla f_\infty\|^2$")
axes[0].legend()
figure.tight_layout()
plt.show()

# %%
shared = converged.pivot(index="depth", columns="initialization", values="mean part")
assert np.allclose(shared.lecun, shared.he, rtol=1e-6)
assert np.allclose(shared.lecun, shared.ntk, rtol=1e-6)
shared.round(3)

# %% [markdown]
# ## Beyond the mean square
#
# The gradient is Gaussian, so more is at hand: the average perturbation stability $P/\varepsilon$ of the paper, the
# linearised worst case over $\ell_\infty$ balls, and the probability that the predicted class survives a perturbation.

# %%
points = data.x_test[:20]
survivors = []
for depth in (2, 4, 8):
    now = ntr.InfiniteEnsemble(ntr.MLP(depth, initialization="he"), data.x_train, data.y_train).at(np.inf)
    survivors.append(
        {
            "depth": depth,
            "P/ε": now.perturbation_stability(points).mean(),
            "worst case, ℓ∞": now.worst_case(points, "linf").mean(),
            "survives ℓ2 radius 0.1": now.survival_probability(points, 0.1, samples=1000).mean(),
        }
    )
pd.DataFrame(survivors).set_index("depth").round(3)

# %% [markdown]
# Do finite networks do this? `ntkrobust compare` trains them at growing widths and sets them against these predictions.
