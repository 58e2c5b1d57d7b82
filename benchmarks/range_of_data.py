"""What the range of the data changes: prediction stability under TRADES by width, attacked inside and outside of it.

    python benchmarks/range_of_data.py idx-parity:FOLDER:pixel --out benchmarks/results/range_of_data_cpu.txt

Networks are trained inside the range of the data (adversarial training takes it from the data set). The same attack
then looks for a change of class inside the range, and in the whole ball.
"""

import argparse
import dataclasses
from pathlib import Path

import jax
import numpy as np

import ntkrobust as ntr

WIDTHS = (64, 256)
SEEDS, POINTS, TRAINING_POINTS = 4, 500, 2000
HOW = {
    "seeds": SEEDS, "steps": 400, "record_steps": (400,), "batch_size": 128, "optimizer": "adam",
    "learning_rate": 1e-3, "loss": "cross_entropy",
}  # fmt: skip
TRADES = ntr.Adversary(0.1, 6.0, objective="trades")


def stability(run: ntr.Run, x: np.ndarray) -> str:
    """Mean over networks with its standard error."""
    found = ntr.measure(run, x, ["prediction_stability"], epsilon=TRADES.epsilon).prediction_stability[:, -1].to_numpy()
    return f"{found.mean():.3f} ± {found.std(ddof=1) / np.sqrt(len(found)):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits:pixel")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    whole = ntr.data.load(options.data)
    data = whole.subset(min(TRAINING_POINTS, whole.n), min(POINTS, len(whole.x_test)))
    lines = [
        f"{data.name}; {data.domain.in_words()}; JAX {jax.__version__}",
        f"Two layers, ReLU, He; Adam {HOW['learning_rate']:g}, {HOW['steps']} steps in batches of {HOW['batch_size']}, "
        f"{SEEDS} seeds; TRADES β = {TRADES.strength:g}, ℓ∞, ε = {TRADES.epsilon:g}, {TRADES.steps} steps.",
        f"{'width':>5}{'natural acc.':>15}{'stability inside':>19}{'in the whole ball':>20}",
    ]
    print("\n".join(lines), flush=True)
    for width in WIDTHS:
        run = ntr.train(ntr.MLP(2, width, data.o), data, adversary=TRADES, **HOW)
        natural = ntr.measure(run, data.x_test, ["natural_accuracy"], y_test=data.y_test).natural_accuracy[:, -1]
        outside = dataclasses.replace(run, bounds=None)
        inside = stability(run, data.x_test)
        lines.append(f"{width:>5}{float(natural.mean()):>15.3f}{inside:>19}{stability(outside, data.x_test):>20}")
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
