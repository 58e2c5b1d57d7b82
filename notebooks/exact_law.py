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
# # What is exact before training
#
# The law of the input Jacobian of a ReLU, leaky ReLU or linear network at initialization is known exactly at any width
# and depth ([statement and proof](../docs/exact-law.md)). Below it stands beside networks that were drawn, and answers
# to the hand: move depth, width and initialization, and see what becomes of the average perturbation stability `P/ε`.

# %%
import ipywidgets
import jax
import matplotlib.pyplot as plt
import numpy as np

import ntkrobust as ntr

D = 64
INITIALIZATIONS = ["he", "lecun", "ntk"]


def law_of(depth, width, initialization):
    return ntr.exact_law(ntr.MLP(depth, width, initialization=initialization), d_in=D)


# %% [markdown]
# ## 1. Depth, width, initialization
#
# At infinite width He initialization keeps `P/ε` at every depth, and LeCun initialization multiplies it by 2^(−1/2)
# for each further hidden layer. At finite width there is a factor below one beside that: 1 − 5(L − 1)/(8m) + …,
# whatever the initialization.


# %%
def along_depth(width=32, initialization="he"):
    depths = np.arange(2, 31)
    exact = [law_of(int(depth), width, initialization).perturbation_stability() for depth in depths]
    wide = [law_of(int(depth), 1_000_000, initialization).perturbation_stability() for depth in depths]
    plt.figure(figsize=(6, 3.2))
    plt.plot(depths, exact, color="tab:blue", label=f"width {width}")
    plt.plot(depths, wide, color="black", linestyle="--", label="width 10⁶")
    plt.yscale("log")
    plt.xlabel("depth L")
    plt.ylabel("P/ε at initialization")
    plt.title(initialization)
    plt.legend()
    plt.show()


along_depth()

# %%
_ = ipywidgets.interact(
    along_depth,
    width=ipywidgets.SelectionSlider(options=[1, 2, 4, 8, 16, 32, 64, 128, 512, 2048], value=32),
    initialization=INITIALIZATIONS,
)

# %% [markdown]
# Is the coefficient right? m · (P/ε / its value at infinite width − 1) tends to −5(L − 1)/8:

# %%
for depth in (2, 4, 8):
    limit = law_of(depth, 10**9, "he").perturbation_stability()
    found = [m * (law_of(depth, m, "he").perturbation_stability() / limit - 1) for m in (16, 256, 4096)]
    print(f"depth {depth}: {', '.join(f'{one:.4f}' for one in found)} → {-5 * (depth - 1) / 8:.4f}")
    assert abs(found[-1] + 5 * (depth - 1) / 8) < 0.01

# %% [markdown]
# ## 2. It is a distribution
#
# Thin networks are often flat: all gates of a layer are closed, and the Jacobian is zero. Deep ones are skewed, so that
# the mean is made by few networks. Both can be read off the law, and seen in networks that are drawn.

# %%
x = ntr.data.load("digits").x_test[:1]


def distribution(depth=6, width=8, initialization="he"):
    law = law_of(depth, width, initialization)
    net = ntr.MLP(depth, width, initialization=initialization)
    untrained = ntr.train(net, x, [1.0], seeds=2000, steps=0)
    drawn = ntr.measure(untrained, x, ["jacobian_frobenius"]).jacobian_frobenius.to_numpy().ravel()
    sampled = np.sqrt(np.trace(law.sample_gram(jax.random.key(1), 200_000), axis1=-2, axis2=-1))
    print(f"zero in {np.mean(drawn == 0):.3f} of 2000 networks; the law says {law.p_zero:.4f}")
    edges = np.linspace(-3, 1.5, 40)
    plt.figure(figsize=(6, 3.2))
    plt.hist(np.log10(drawn[drawn > 0]), edges, density=True, alpha=0.4, label="2000 networks")
    plt.hist(np.log10(sampled[sampled > 0]), edges, density=True, histtype="step", label="the law")
    plt.xlabel("log₁₀ ‖J(x)‖, of those that are not zero")
    plt.ylabel("density")
    plt.legend()
    plt.show()
    return drawn, law


drawn, law = distribution()
assert abs(np.mean(drawn == 0) - law.p_zero) < 4 * np.sqrt(law.p_zero * (1 - law.p_zero) / 2000)

# %%
_ = ipywidgets.interact_manual(
    lambda depth, width, initialization: distribution(depth, width, initialization) and None,
    depth=(2, 16),
    width=ipywidgets.SelectionSlider(options=[1, 2, 4, 8, 16, 32, 64], value=8),
    initialization=INITIALIZATIONS,
)

# %% [markdown]
# ## 3. A statement about all of it, judged
#
# `law/…` are claims of the package: the law against networks on a grid. One of one's own, with a planted mistake of
# five percent, is refuted.

# %%
claim = ntr.Claim(
    id="mine/five-percent-off",
    statement=r"$P/\varepsilon$ at initialization is 1.05 times what the exact law says",
    relation=ntr.Equals("1.05 * exact_law", margin=0.02),
    measure="perturbation_stability",
    grid={"initialization": ("he", "lecun"), "depth": (2, 4), "width": (64,)},
    draws=64,
)
verdict = ntr.verify(claim)
assert verdict.label == "refuted"
verdict
