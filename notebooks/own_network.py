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
# # A network of one's own
#
# Anything that is a function of parameters and a point is trained, measured, attacked and judged like the networks of
# the package: two functions, a class, or a module of flax, equinox or stax ([bring your
# own](../docs/bring-your-own.md)). Here it is a small attention over the rows of an image, written in JAX, on digits.

# %%
import jax

import ntkrobust as ntr

data = ntr.data.load("digits-3-vs-rest").subset(200, 60)
ROWS, COLUMNS = 8, 8

# %% [markdown]
# ## 1. Two functions, and a width
#
# `init` is given a key and zeros (1, d); `apply` gives f(x) (n, o). As functions of the width they are a family, which
# claims can range over.


# %%
def attention(width):
    def init(key, x):
        sizes = {"query": (COLUMNS, width), "key": (COLUMNS, width), "value": (COLUMNS, width), "out": (width, 1)}
        keys = dict(zip(sizes, jax.random.split(key, len(sizes)), strict=True))
        return {name: jax.random.normal(keys[name], size) / size[0] ** 0.5 for name, size in sizes.items()}

    def apply(parameters, x):
        rows = x.reshape(-1, ROWS, COLUMNS)
        query, key, value = (rows @ parameters[name] for name in ("query", "key", "value"))
        weights = jax.nn.softmax(query @ key.swapaxes(1, 2) / width**0.5)
        return jax.nn.relu(weights @ value).mean(axis=1) @ parameters["out"]

    return init, apply


net = ntr.from_function(*attention(32))
net.count_parameters(data.d)

# %% [markdown]
# ## 2. An ensemble, trained and attacked

# %%
how = {"steps": 200, "optimizer": "adam", "learning_rate": 0.01, "seeds": 8}
run = ntr.train(net, data, **how, record_steps=[0, 20, 50, 100, 200])
course = ntr.measure(run, data, ["kernel_change"])
ntr.plots.time_course(course, "kernel_change", against="step")

# %%
RADII = [0.02, 0.05, 0.1, 0.2]
attacked = ntr.attack(run, data, epsilon=RADII, methods=("pgd", "square"))
ntr.plots.accuracy_against_radius(attacked)

# %% [markdown]
# The strength of the attack is checked by its own results: whether gradients are masked, and whether Square, which uses
# none, finds more than PGD.

# %%
print(f"largest gain of Square over gradients: {float(attacked.square_gain.max()):.3f}")
assert (attacked.outside == 0).all()

# %% [markdown]
# ## 3. Beside a network of the package
#
# The same numbers for a fully connected network: which of the two is less robust at equal accuracy is a question for a
# claim, not for two pictures.

# %%
plain = ntr.train(ntr.MLP(depth=3, width=32), data, **how)
both = {"attention": attacked, "fully connected": ntr.attack(plain, data, epsilon=RADII, methods="pgd")}
ntr.plots.accuracy_against_radius(both)

# %% [markdown]
# ## 4. A claim about it


# %%
def attention_of(width):
    return ntr.from_function(*attention(width))


claim = ntr.Claim(
    id="mine/attention-gets-steeper",
    statement=r"After 100 steps of Adam, $E\|\nabla f\|^2$ of the attention grows with its width",
    relation=ntr.IncreasesIn("width"),
    measure="jacobian_frobenius_sq",
    grid={"network": [attention_of], "width": [8, 32, 128], "n": 100},
    reading=ntr.Reading("fixed steps", 100, optimizer="adam", learning_rate=0.01),
)
ntr.verify(claim, data="digits-3-vs-rest")
