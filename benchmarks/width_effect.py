"""How many trained networks ``ntkrobust.width_effect`` saves, over depths, activations and times.

    python benchmarks/width_effect.py

prints m(E‖∇f_t‖²/G_t − 1) with its standard error, that of the plain average over the same trained networks, and how
many times more trained networks the plain average takes for the same error: that of the whole, and that of the share of
trained networks.
"""

from __future__ import annotations

import numpy as np

import ntkrobust as ntr

CASES = ((3, 64, "erf"), (3, 64, "gelu"), (4, 64, "gelu"), (3, 256, "erf"))

TIMES = (1, 3)
"""In units of 1/λ_max."""


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 4)), np.sign(rng.standard_normal((6, 1)))
    for depth, width, activation in CASES:
        net = ntr.MLP(depth=depth, width=width, activation=activation, initialization="lecun", parameterization="ntk")
        ensemble = ntr.InfiniteEnsemble(net, x[:6], y)
        trained = 64 if width < 100 else 32
        for factor in TIMES:
            time = factor / ensemble.conditioning.largest
            found = ntr.width_effect(ensemble, x[6:], time, trained=trained, untrained=1024)
            print(
                f"L={depth} m={width} {activation}, t = {factor}/λ_max, {trained} trained, 1024 untrained", flush=True
            )
            ratio = np.square(found.plain_error / found.trained_error)
            for one in zip(found.value, found.error, found.plain_error, found.networks_saved, ratio, strict=True):
                print(
                    "  {:.2f} ± {:.2f}, plain ± {:.2f}: {:.0f} times fewer, {:.0f} in trained ones alone".format(*one)
                )


if __name__ == "__main__":
    main()
