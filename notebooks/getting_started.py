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
# # From a statement to a verdict
#
# Does depth hurt the average robustness of ReLU networks under He initialization? The exact law of the input Jacobian
# at initialization answers for untrained networks in closed form; drawn and trained networks answer for themselves.

# %%
import jax
import matplotlib.pyplot as plt

import ntkrobust as ntr

# %% [markdown]
# ## 1. The exact law
#
# `P/ε` is the average perturbation stability of Zhu et al.: how far, per unit of ε, the output moves when the input is
# moved uniformly within a ball. Larger is less robust. At infinite width He initialization keeps it constant in depth;
# at finite width it falls.

# %%
depths = [2, 4, 6, 8, 12, 16]
for width in (16, 64, 256):
    law = [ntr.exact_law(ntr.MLP(depth, width, initialization="he"), d_in=64) for depth in depths]
    plt.plot(depths, [one.perturbation_stability() for one in law], marker="o", label=f"width {width}")
plt.xlabel("depth L")
plt.ylabel("P/ε at initialization, He")
plt.legend()
plt.show()

# %% [markdown]
# The law is a distribution: it can be sampled, and has an atom at zero (all gates of a layer closed).

# %%
law = ntr.exact_law(ntr.MLP(depth=4, width=4), d_in=64)
draws = law.sample(jax.random.key(0), 100_000)
print(f"share of zeros {(draws == 0).mean():.4f}, P(J = 0) = {law.p_zero:.4f}")
print(f"E|∂f| {abs(draws).mean():.5f}, exactly {law.abs_moment():.5f}")

# %% [markdown]
# ## 2. Trained networks
#
# An ensemble on scikit-learn's digits (even against odd, unit-norm pixels), recorded as training goes on.

# %%
data = ntr.data.load("digits").subset(128, 64)
net = ntr.MLP(depth=3, width=64)
run = ntr.train(net, data.x_train, data.y_train, seeds=16, steps=200)
table = ntr.measure(
    run,
    data.x_test,
    ["perturbation_stability", "lazy_ratio", "kernel_change", "natural_accuracy"],
    y_test=data.y_test,
)
table

# %%
for name in ("perturbation_stability", "natural_accuracy", "kernel_change"):
    values = table[name].mean([dim for dim in table[name].dims if dim not in ("seed", "time")])
    plt.plot(table.step.mean("seed"), values.T, color="tab:blue", alpha=0.3)
    plt.plot(table.step.mean("seed"), values.mean("seed"), color="black")
    plt.xscale("symlog")
    plt.xlabel("gradient-descent steps")
    plt.ylabel(name)
    plt.show()

# %% [markdown]
# ## 3. A claim, and its verdict
#
# A claim names a measure, a relation, a grid and a reading (when networks are compared). The verdict comes with an
# effect size, its interval, and the cells behind it.

# %%
claim = ntr.Claim(
    id="mine/he-depth-hurts",
    statement=r"Under He initialization, $P/\varepsilon$ grows with depth before training",
    relation=ntr.IncreasesIn("depth"),
    measure="perturbation_stability",
    grid={"initialization": ("he",), "depth": (2, 4, 6, 8), "width": (32,)},
    theory=lambda net, d_in: ntr.exact_law(net, d_in).perturbation_stability(),
    theory_label="exact law",
    draws=64,
)
verdict = ntr.verify(claim)
verdict

# %%
assert verdict.label == "refuted"
for cell in verdict.cells:
    print(f"depth {cell.coordinates['depth']}: measured {cell.values.mean():.4f}, law {cell.theory:.4f}")
