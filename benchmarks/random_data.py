"""Random data sets, whole and broken, through everything: a result or one sentence each, never a traceback.

``python benchmarks/random_data.py --count 200`` draws so many data sets (shapes, scales from 1e-30 to 1e30, types,
labels, degeneracies, as arrays and in files), loads each, trains two networks of width 8 on it for three steps,
measures and attacks them, computes the infinite ensemble, and verifies a claim, with its report. It prints how each
stage ended: in a result, in one sentence (``InputError``), or otherwise; and exits 1 if one ended otherwise, or in
numbers that can't be right.
"""

from __future__ import annotations

import argparse
import dataclasses
import struct
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

import ntkrobust as ntr
from ntkrobust import data

RESULT, SENTENCE, TRACEBACK, WRONG = "result", "sentence", "traceback", "wrong"
OUTCOMES = (RESULT, SENTENCE, TRACEBACK, WRONG)
STAGES = ("load", "geometry", "train", "measure", "attack", "infinite", "verify")

Rng = np.random.Generator

# n, d: most are of one shape, so that they share compiled programs. Images are of as many pixels.
SHAPES = ((20, 4), (20, 4), (20, 4), (20, 4), (20, 4), (20, 4), (5, 9), (2, 3), (3, 1), (1, 4))


@dataclasses.dataclass
class Case:
    """A data set, and what it was made by.

    Attributes:
        given: what is taken for data.
        x: (n, d) the inputs that it holds; None where the loader can't know.
        digits: relative error with which they are held.
        words: how it was made.
    """

    given: Any
    x: np.ndarray | None
    digits: float
    words: list[str]


# --- inputs


def _duplicates(rng: Rng, x: np.ndarray) -> np.ndarray:
    return x[rng.integers(max(len(x) // 2, 1), size=len(x))]


def _with_entry(value: float) -> Callable[[Rng, np.ndarray], np.ndarray]:
    def planted(rng: Rng, x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[rng.integers(len(x)), rng.integers(x.shape[1])] = value
        return x

    return planted


def _zero_row(rng: Rng, x: np.ndarray) -> np.ndarray:
    return x * (np.arange(len(x)) != rng.integers(len(x)))[:, None]


DEGENERATE: dict[str, Callable[[Rng, np.ndarray], np.ndarray]] = {
    "plain": lambda rng, x: x,
    "duplicates": _duplicates,
    "all points equal": lambda rng, x: np.repeat(x[:1], len(x), axis=0),
    "on a line": lambda rng, x: np.outer(rng.normal(size=len(x)), x[0]),
    "opposite points": lambda rng, x: x * np.where(np.arange(len(x)) % 2, 1, -1)[:, None],
    "a constant column": lambda rng, x: np.concatenate([x[:, 1:], np.full((len(x), 1), 3.0)], axis=1),
    "a column of zeros": lambda rng, x: x * (np.arange(x.shape[1]) != 0),
    "a row of zeros": _zero_row,
    "zeros": lambda rng, x: x * 0,
    "far from the origin": lambda rng, x: x + 1e6,
    "an outlier": _with_entry(1e12),
    "a huge outlier": _with_entry(1e200),
    "columns of other sizes": lambda rng, x: x * 10.0 ** rng.uniform(-8, 8, size=x.shape[1]),
    "rows of other sizes": lambda rng, x: x * 10.0 ** rng.uniform(-8, 8, size=(len(x), 1)),
    "pixels": lambda rng, x: np.floor(255 * rng.random(x.shape)),
    "NaN": _with_entry(np.nan),
    "infinity": _with_entry(-np.inf),
    "subnormal": _with_entry(5e-324),
}

TYPES = ("f8", "f8", "f8", "f4", "f2", ">f8", "longdouble", "i8", "u1", "?", "O")

# --- labels of n points


def _rare(rng: Rng, n: int) -> np.ndarray:
    return (np.arange(n) == rng.integers(n)).astype(int)


LABELS: dict[str, Callable[[Rng, int], Any]] = {
    "two classes": lambda rng, n: rng.permutation(np.arange(n) % 2),
    "three classes": lambda rng, n: rng.permutation(np.arange(n) % 3),
    "classes 5, 6, 7": lambda rng, n: rng.permutation(np.arange(n) % 3) + 5,
    "huge integers": lambda rng, n: rng.permutation(np.arange(n) % 2) + 2**62,
    "signs": lambda rng, n: rng.permutation(np.where(np.arange(n) % 2, 1.0, -1.0)),
    "a rare class": _rare,
    "one class": lambda rng, n: np.full(n, 7),
    "text": lambda rng, n: rng.permutation(np.array(["ant", "bee, or so", 'a "cow"'])[np.arange(n) % 3]),
    "truth values": lambda rng, n: rng.permutation(np.arange(n) % 2 == 0),
    "floats": lambda rng, n: rng.permutation(np.arange(n) % 3).astype(float),
    "floats 0 and 1": lambda rng, n: rng.permutation(np.arange(n) % 2).astype(float),
    "a column": lambda rng, n: rng.permutation(np.arange(n) % 2)[:, None],
    "one-hot": lambda rng, n: np.eye(3)[rng.permutation(np.arange(n) % 3)],
    "one-hot integers": lambda rng, n: np.eye(3, dtype=int)[rng.permutation(np.arange(n) % 3)],
    "real targets": lambda rng, n: rng.normal(size=n),
    "real targets of one sign": lambda rng, n: 100 + rng.random(n),
    "huge targets": lambda rng, n: 1e25 * rng.normal(size=n),
    "targets of zero": lambda rng, n: np.zeros(n),
    "three real targets": lambda rng, n: rng.normal(size=(n, 3)),
    "a class for each point": lambda rng, n: np.arange(n),
    "objects": lambda rng, n: rng.permutation(np.array(["a", "b"], dtype=object)[np.arange(n) % 2]),
    "missing labels": lambda rng, n: np.where(np.arange(n) == n // 2, np.nan, np.arange(n) % 2),
    "None among labels": lambda rng, n: np.where(np.arange(n) == n // 2, None, np.array(["a", "b"])[np.arange(n) % 2]),
    "too few labels": lambda rng, n: np.arange(n - 1) % 2,
}

# --- arrays


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.setflags(write=False)
    return x


CONTAINERS: dict[str, Callable[[np.ndarray], Any]] = {
    "C order": lambda x: x,
    "Fortran order": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "read-only": _read_only,
    "lists": lambda x: x.tolist(),
    "pandas": lambda x: pd.DataFrame(x),
    "xarray": lambda x: xr.DataArray(x),
    "JAX": lambda x: jnp.asarray(x) if x.dtype.kind in "fiu" and x.dtype.isnative and x.dtype.itemsize <= 8 else x,
    "masked without a mask": lambda x: np.ma.array(x),
    "masked": lambda x: np.ma.array(x, mask=np.arange(x.size).reshape(x.shape) == 1),
    "images": lambda x: x.reshape(len(x), -1, 1),
    "images with channels": lambda x: x.reshape(len(x), 1, 1, -1),
    "channels first": lambda x: x.reshape(len(x), 1, 1, -1).repeat(5, axis=3),
    "one-dimensional": lambda x: x[:, 0],
}


def _as_pair(rng: Rng, x: Any, y: Any, folder: Path) -> Any:
    return x, y


def _as_four(rng: Rng, x: Any, y: Any, folder: Path) -> Any:
    n = max(round(0.8 * len(x)), 1)
    if isinstance(x, pd.DataFrame):
        return x.iloc[:n], y[:n], x.iloc[n:], y[n:]
    return x[:n], y[:n], x[n:], y[n:]


def _as_mapping(rng: Rng, x: Any, y: Any, folder: Path) -> Any:
    return {"x_train": x, "y_train": y}


def _as_npz(rng: Rng, x: Any, y: Any, folder: Path) -> Any:
    path = folder / "mine.npz"
    (np.savez if rng.random() < 0.5 else np.savez_compressed)(path, x_train=np.asarray(x), y_train=np.asarray(y))
    return path


def _as_csv(rng: Rng, x: Any, y: Any, folder: Path) -> Any:
    table = pd.DataFrame(np.asarray(x).reshape(len(x), -1)).rename(columns="x{}".format)
    labels = np.asarray(y).reshape(len(y), -1)
    for column in range(labels.shape[1]):
        table[f"y{column}"] = pd.Series(labels[:, column])
    options: dict[str, Any] = {
        "index": bool(rng.random() < 0.3), "header": bool(rng.random() < 0.6), "sep": rng.choice([",", ";", "\t", "|"]),
        "encoding": rng.choice(["utf-8", "utf-8-sig", "utf-16"], p=[0.5, 0.4, 0.1]), "quoting": int(rng.choice([0, 1])),
        "lineterminator": rng.choice(["\n", "\r\n"]), "decimal": rng.choice([".", ","], p=[0.8, 0.2]),
    }  # fmt: skip
    table.to_csv(folder / "mine.csv", **options)
    return folder / "mine.csv"


def _as_idx(rng: Rng, x: Any, y: Any, folder: Path) -> Any:
    pixels = np.clip(np.nan_to_num(np.asarray(x, dtype=float).reshape(len(x), -1)), 0, 255).astype(np.uint8)
    labels = np.arange(len(x) if rng.random() < 0.9 else len(x) + 1).astype(np.uint8) % 3
    for name, array in (("train-images-idx3-ubyte", pixels[:, :, None]), ("train-labels-idx1-ubyte", labels)):
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        (folder / name).write_bytes(header + array.tobytes())
    return f"idx{rng.choice(['', '-parity'])}:{folder}{rng.choice(['', ':pixel', ':raw'])}"


FORMS: tuple[tuple[str, Callable[[Rng, Any, Any, Path], Any]], ...] = (
    ("a pair", _as_pair), ("a pair", _as_pair), ("four arrays", _as_four), ("four arrays", _as_four),
    ("a mapping", _as_mapping), ("an npz", _as_npz), ("an npz", _as_npz), ("a csv", _as_csv), ("a csv", _as_csv),
    ("an idx folder", _as_idx),
)  # fmt: skip


def draw(seed: int, index: int, folder: Path, shapes: Sequence[tuple[int, int]] = SHAPES) -> Case:
    """Data set number ``index`` of a campaign; files are written into ``folder``."""
    rng = np.random.default_rng([seed, index])
    n, d = shapes[rng.integers(len(shapes))]
    # Half of everything is plain, or hardly anything would come through.
    spoil = _chosen(rng, DEGENERATE, 0.6)
    kind = "f8" if rng.random() < 0.5 else str(rng.choice(TYPES))
    scale = 1.0 if rng.random() < 0.6 else 10.0 ** rng.uniform(-30, 30)
    labels = _chosen(rng, LABELS, 0.2)
    container = _chosen(rng, CONTAINERS, 0.6)
    form, make = FORMS[rng.integers(len(FORMS))]
    words = [f"{n} × {d}", spoil, kind, f"scale {scale:.1e}", labels, container, form]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = DEGENERATE[spoil](rng, rng.normal(size=(n, d))) * scale
        x = x.astype(kind)
        y = LABELS[labels](rng, n)
        contained = CONTAINERS[container](x)
        # As far as text and numbers of JAX hold them.
        digits = 1e-3 if form == "a csv" and getattr(contained, "dtype", x.dtype).itemsize < 8 else 1e-12
        held = np.array(contained, dtype=float).reshape(len(contained), -1)
        given = make(rng, contained, y, folder)
    several = form == "a csv" and np.ndim(y) == 2 and np.shape(y)[1] > 1
    return Case(given, None if form == "an idx folder" or several else held, digits, words)


def _chosen(rng: Rng, table: dict[str, Any], plain: float) -> str:
    """The first of a table, or with the rest of the probability any."""
    names = list(table)
    return names[0] if rng.random() < plain else names[rng.integers(len(names))]


# --- what is done with them


class WrongError(Exception):
    """A result that can't be right."""


def _right(condition: object, words: str) -> None:
    if not condition:
        raise WrongError(words)


def _loaded(case: Case) -> data.Dataset:
    found = data.load(case.given)
    inputs = np.vstack([found.x_train, found.x_test])
    if case.x is not None:
        _right(inputs.shape == case.x.shape, f"{case.x.shape} became {inputs.shape}")
        seen, there = (one[np.lexsort(one.T[::-1])] for one in (inputs, case.x))
        _right(np.allclose(seen, there, rtol=case.digits, atol=0), "other inputs than were given")
    _right(np.isfinite(inputs).all() and np.isfinite(found.y_train).all(), "numbers that are not finite")
    return found


def _measured(run: ntr.Run, found: data.Dataset) -> None:
    of_classes = found.task == "classification"
    names = ["jacobian_frobenius", *(["natural_accuracy"] if of_classes else [])]
    measured = ntr.measure(run, found, names)
    is_sound = np.asarray(run.status) != "diverged"
    _right(np.isfinite(measured["jacobian_frobenius"].values[is_sound]).all(), "Jacobians that are not finite")
    if of_classes:
        shares = measured["natural_accuracy"].values[is_sound]
        _right(((shares >= 0) & (shares <= 1)).all(), "accuracies outside [0, 1]")


def _attacked(run: ntr.Run, found: data.Dataset) -> None:
    of_classes = found.task == "classification"
    attacked = ntr.attack(
        run, found if of_classes else found.x_test, epsilon=0.1 * found.scale, methods=["fgsm"], steps=1, queries=2,
        against="true" if of_classes else "predicted",
    )  # fmt: skip
    share = attacked["robust_accuracy" if of_classes else "prediction_stability"].values
    natural = attacked["natural_accuracy"].values
    is_sound = np.asarray(run.status) != "diverged"
    _right((share[is_sound] <= natural[is_sound]).all(), "more robust than right")


def _in_the_limit(net: ntr.MLP, found: data.Dataset) -> None:
    mean = ntr.InfiniteEnsemble(net, found).at(np.inf).mean(found.x_test)
    _right(np.isfinite(mean).all(), "means that are not finite")


def _verified(found: data.Dataset, out: Path | None) -> None:
    claim = ntr.Claim(
        "random/bounded", "the Jacobian is at most 1000", ntr.AtMost(lambda depth: 1000.0), "jacobian_frobenius",
        {"initialization": ["he"], "depth": [2], "width": [8], "n": [min(found.n, 16)]}, ntr.Reading("fixed steps", 3),
    )  # fmt: skip
    verdict = ntr.verify(claim, data=found, seeds=4, points=4, out=out)
    _right(verdict.label in ("supported", "refuted", "inconclusive", "out of scope"), f"the label {verdict.label}")


def stages(case: Case, out: Path | None) -> Iterator[tuple[str, str, str]]:
    """(stage, outcome, words) of what is done with a data set, with a report in ``out``; or of loading alone."""
    found: Any = yield from _ended("load", lambda: _loaded(case))
    if found is None:
        return
    net = ntr.MLP(2, 8, d_out=found.o)
    yield from _ended("geometry", lambda: (found.scale, found.class_distance("linf")))
    run: Any = yield from _ended("train", lambda: ntr.train(net, found, seeds=2, steps=3))
    if run is not None:
        yield from _ended("measure", lambda: _measured(run, found))
        yield from _ended("attack", lambda: _attacked(run, found))
    yield from _ended("infinite", lambda: _in_the_limit(net, found))
    yield from _ended("verify", lambda: _verified(found, out))


def _ended(stage: str, work: Callable[[], Any]) -> Iterator[tuple[str, str, str]]:
    result = None
    try:
        with warnings.catch_warnings():
            # What numpy warns of would be printed beside results.
            warnings.simplefilter("error", RuntimeWarning)
            result = work()
        outcome, words = RESULT, ""
    except ntr.InputError as error:
        sentence = str(error)
        outcome, words = (SENTENCE if sentence and "\n" not in sentence else TRACEBACK), sentence
    except WrongError as error:
        outcome, words = WRONG, str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome, words = TRACEBACK, f"{type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})"
    yield stage, outcome, words
    return result


def campaign(count: int, seed: int, first: int = 0) -> Iterator[tuple[Case, list[tuple[str, str, str]]]]:
    """So many data sets, and how each stage ended."""
    for index in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            case = draw(seed, index, Path(folder))
            yield case, list(stages(case, Path(folder) / "results"))


def verdict_of(ended: list[tuple[str, str, str]]) -> str:
    """The worst that happened to a data set."""
    return max((outcome for _, outcome, _ in ended), key=OUTCOMES.index)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first data set")
    parser.add_argument("--sentences", action="store_true", help="print every sentence")
    asked = parser.parse_args()
    sets: Counter[str] = Counter()
    by_stage = {stage: Counter[str]() for stage in STAGES}
    for index, (case, ended) in enumerate(campaign(asked.count, asked.seed, asked.first), asked.first):
        sets[verdict_of(ended)] += 1
        for stage, outcome, words in ended:
            by_stage[stage][outcome] += 1
            if outcome in (TRACEBACK, WRONG) or (asked.sentences and outcome == SENTENCE):
                print(f"{index} ({', '.join(case.words)}): {stage}: {outcome}: {words}", flush=True)
    print(f"{'':>10}" + "".join(f"{outcome:>11}" for outcome in OUTCOMES))
    for name, counts in {**by_stage, "data sets": sets}.items():
        print(f"{name:>10}" + "".join(f"{counts[outcome]:>11}" for outcome in OUTCOMES))
    return 1 if sets[TRACEBACK] or sets[WRONG] else 0


if __name__ == "__main__":
    raise SystemExit(main())
