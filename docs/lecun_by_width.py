"""LeCun networks against the closed form, by width: ``python docs/lecun_by_width.py``.

Prints the table that docs/statements/depth-and-initialization.md quotes: P/ε after t·λ_max = 4 at depths 2, 3 and 5,
over that of infinite width at the same time (± one standard error); the change from depth to depth with its 95 %
interval, and in brackets that of infinite width; and how fast the gap at depth 5 closes.
"""

from __future__ import annotations

import math

import numpy as np

import ntkrobust as ntr
from ntkrobust.bounds import statistics

TIME = 4.0
DEPTHS = (2, 3, 5)
NETWORKS = {512: 48, 1024: 48, 2048: 24, 4096: 12}
"""Width → networks of each depth."""


def stability(data: ntr.data.Dataset, depth: int, width: int) -> np.ndarray:
    """P/ε (seed,) of networks, averaged over the test points."""
    run = ntr.train(
        ntr.MLP(depth, width, initialization="lecun"),
        data.x_train,
        data.y_train,
        seeds=NETWORKS[width],
        steps=1000,
        record_kernel_times=[TIME],
    )
    found = ntr.measure(run, data.x_test, ["perturbation_stability"])
    return found["perturbation_stability"].isel(time=-1).mean("point").to_numpy()


def main() -> None:
    data = ntr.data.load("digits").subset(256, 64)
    print("width  networks  P/ε over infinite width, L = 2, 3, 5              change 2 → 3        3 → 5        2 → 5")
    gaps = []
    for width, networks in NETWORKS.items():
        theory, found = [], []
        for depth in DEPTHS:
            net = ntr.MLP(depth, width, initialization="lecun")
            ensemble = ntr.InfiniteEnsemble(net, data.x_train, data.y_train)
            now = ensemble.at(TIME / ensemble.conditioning.largest)
            theory.append(float(np.mean(now.perturbation_stability(data.x_test))))
            found.append(statistics.mean(stability(data, depth, width)))
        pairs = list(zip(found, theory, strict=True))
        over = [f"{one.value / exact:.3f} ± {one.se / exact:.3f}" for one, exact in pairs]
        changes = []
        for a, b in ((0, 1), (1, 2), (0, 2)):
            # Relative half-widths add up in squares.
            half = math.hypot(*((one.interval()[1] - one.value) / one.value for one in (found[a], found[b])))
            change = found[b].value / found[a].value
            low, high = change * math.exp(-half), change * math.exp(half)
            changes.append(f"×{change:.2f} [{low:.2f}, {high:.2f}] ({theory[b] / theory[a]:.3f})")
        print(f"{width:5}  {networks:8}  {', '.join(over):48}  {'  '.join(changes)}", flush=True)
        gaps.append(found[-1].value / theory[-1] - 1)
    slope = np.polyfit(np.log(list(NETWORKS)), np.log(gaps), 1)[0]
    print(f"gap at L = 5: {', '.join(f'{gap:.2f}' for gap in gaps)}, like m^{slope:.2f}")


if __name__ == "__main__":
    main()
