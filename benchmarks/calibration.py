"""How often verdicts err: every relation on simulated networks whose truth is known. Writes docs/calibration.md.

    python benchmarks/calibration.py [--repetitions 10000] [--quick] [--flat] [--seed 0] [--workers 2]

What is simulated is the code that judges (`ntkrobust.bounds.verdicts.statement`), on batches of samples. Statements
are put on their boundary, where both errors are most likely ("barely true", "barely false"), and well off it.
"""

import argparse
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy import stats

from ntkrobust.bounds.claims.relations import (
    AtLeast,
    AtMost,
    DecreasesIn,
    Equals,
    OrderAtMost,
    Relation,
    RisesThenFalls,
    ScalesAs,
)
from ntkrobust.bounds.statistics.sequential import SequentialPlan, look_sizes
from ntkrobust.bounds.verdicts import LEVEL, flatness, planning, statement
from ntkrobust.bounds.verdicts.planning import Law, Outcome

PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
TOLERANCE = 0.01
COVERED = 0.05
"""What intervals of 95 % leave out."""

SIZES = (12, 16, 64)


def one() -> float:
    return 1.0


def mirrored(cv: float) -> Law:
    """Skewed to the left."""
    return lambda rng, shape: 2 - planning.lognormal(cv)(rng, shape)


def exact_law(depth: int, width: int, d: int) -> Law:
    """‖∇f‖ of random ReLU networks: χ_d times the square roots of χ²_Bin(m, 1/2), one per hidden layer."""

    def squared(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.chisquare(d, shape)
        for _ in range(depth - 1):
            values *= rng.chisquare(np.maximum(rng.binomial(width, 0.5, shape), 1))
        return np.sqrt(values)

    mean = float(np.mean([squared(np.random.default_rng(k), (500_000,)).mean() for k in range(4)]))
    return lambda rng, shape: squared(rng, shape) / mean


def with_dead(share: float, cv: float) -> Law:
    """Some networks are dead, the others lognormal."""
    alive = planning.lognormal(cv)
    return lambda rng, shape: alive(rng, shape) * (rng.random(shape) >= share) / (1 - share)


LAWS: Mapping[str, Callable[[], Law]] = {
    "normal, CV 0.2": functools.partial(planning.normal, 0.2),
    "lognormal, CV 0.4": functools.partial(planning.lognormal, 0.4),
    "lognormal, CV 0.8": functools.partial(planning.lognormal, 0.8),
    "skewed to the left, CV 0.3": functools.partial(mirrored, 0.3),
    "exact law, L = 8, m = 32": functools.partial(exact_law, 8, 32, 10),
    "exact law, L = 8, m = 16": functools.partial(exact_law, 8, 16, 10),
}


@dataclasses.dataclass(frozen=True)
class Truths:
    """Means of the cells in four worlds; what is stated is 1 in each cell, widths double from cell to cell."""

    relation: Relation
    true: tuple[float, ...]
    barely_true: tuple[float, ...]
    barely_false: tuple[float, ...]
    false: tuple[float, ...]

    def worlds(self) -> Iterable[tuple[str, tuple[float, ...], Outcome]]:
        """Name, means, and the outcome that would be an error."""
        yield "true", self.true, "refuted"
        yield "barely true", self.barely_true, "refuted"
        yield "barely false", self.barely_false, "supported"
        yield "false", self.false, "supported"


def powers(*exponents: float) -> tuple[float, ...]:
    """Means whose exponents between consecutive cells are these."""
    return tuple(float(mean) for mean in 2.0 ** np.cumsum([0.0, *exponents]))


GROWTH = OrderAtMost(one).growth
FALLS = DecreasesIn("width")
TRUTHS = {
    "equals": Truths(Equals(one, 0.1), (1.0,) * 4, (0.9, 1.1, 1.1, 0.9), (1.0, 1.0, 1.0, 1.1), (1.0, 1.0, 1.0, 1.4)),
    "at most": Truths(AtMost(one), (0.7,) * 4, (1.0,) * 4, (0.3, 0.3, 0.3, 1.0), (0.3, 0.3, 0.3, 1.4)),
    "at least": Truths(AtLeast(one), (1.4,) * 4, (1.0,) * 4, (3.0, 3.0, 3.0, 1.0), (3.0, 3.0, 3.0, 0.7)),
    "order at most": Truths(
        OrderAtMost(one),
        (1.0,) * 4,
        tuple(GROWTH**k for k in range(4)),
        tuple(GROWTH**k for k in range(4)),
        tuple(1.3**k for k in range(4)),
    ),
    "scales as": Truths(
        ScalesAs("width", -0.5, 0.2, over="neighbours"),
        powers(-0.5, -0.5, -0.5),
        powers(-0.3, -0.7, -0.3),
        powers(-0.5, -0.5, -0.3),
        powers(-0.5, -0.5, 0.2),
    ),
    "decreases in": Truths(
        FALLS,
        (1.0, 0.8, 0.6, 0.5),
        (1.0, 1.0 + FALLS.margin, 1.0 + FALLS.margin, 1.0),
        (1.0, 0.3, 0.3 * (1 + FALLS.margin), 0.1),
        (1.0, 0.3, 0.5, 0.1),
    ),
    "rises, then falls": Truths(
        RisesThenFalls("width"),
        (0.4, 0.7, 1.0, 0.7, 0.4),
        (1.0, 1.0, 1.0, 1.0, 1.0),
        (0.2, 0.5, 1.0, 1.0, 1.0),
        (0.2, 0.4, 0.6, 0.8, 1.0),
    ),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A rate: how often something happened in so many repetitions."""

    table: str
    labels: tuple[str, ...]
    count: int
    repetitions: int
    figures: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        return self.count / self.repetitions

    def end(self, side: int) -> float:
        """95 % Clopper-Pearson end: the upper for side 1, the lower for −1."""
        if side > 0:
            return (
                1.0
                if self.count == self.repetitions
                else stats.beta.ppf(0.975, self.count + 1, self.repetitions - self.count)
            )
        return 0.0 if self.count == 0 else float(stats.beta.ppf(0.025, self.count, self.repetitions - self.count + 1))


def errors(relation: str, law: str, n: int, repetitions: int, rng: np.random.Generator) -> list[Row]:
    """False refutations and false supports at a fixed number of networks."""
    truths, draw = TRUTHS[relation], LAWS[law]()
    rows = []
    for world, means, wrong in truths.worlds():
        claim = planning.simulated_claim(truths.relation, len(means))
        cells = planning.simulated_cells(means, draw, (repetitions, n), rng)
        count = int(np.sum(planning.p_values(claim, cells, wrong) <= LEVEL))
        rows.append(Row("errors", (relation, law, str(n), world), count, repetitions))
    return rows


PILOTS = {"lognormal, CV 0.2": (planning.lognormal, 0.2), "normal, CV 0.2": (planning.normal, 0.2),
          "lognormal, CV 0.4": (planning.lognormal, 0.4), "lognormal, CV 0.8": (planning.lognormal, 0.8)}  # fmt: skip


def promised(relation: str, law: str, n: int, repetitions: int, rng: np.random.Generator) -> list[Row]:
    """Power at the effect that the estimate before the run promises to show with probability 0.9."""
    form, (make, cv) = TRUTHS[relation].relation, PILOTS[law]
    cells = len(TRUTHS[relation].true)
    rows = []
    for outcome in ("supported", "refuted"):
        effect = planning.detectable_effect(form, cv=cv, n=n, outcome=outcome, cells=cells)
        if not _possible(form, effect, outcome):
            rows.append(Row("power", (relation, law, str(n), outcome), 0, 0, (math.inf,)))
            continue
        real, means = planning.ground_truth(form, effect, outcome, cells)
        sample = planning.simulated_cells(means, make(cv), (repetitions, n), rng)
        count = int(np.sum(planning.p_values(planning.simulated_claim(real, cells), sample, outcome) <= LEVEL))
        rows.append(Row("power", (relation, law, str(n), outcome), count, repetitions, (effect,)))
    return rows


def _possible(relation: Relation, effect: float, outcome: Outcome) -> bool:
    return math.isfinite(effect) and not (
        isinstance(relation, Equals | ScalesAs) and outcome == "supported" and effect >= 2
    )


def sequential(relation: str, law: str, n_max: int, repetitions: int, rng: np.random.Generator) -> list[Row]:
    """Errors with three looks, and the share of networks used at the design effect and at twice it."""
    truths, draw = TRUTHS[relation], LAWS[law]()
    looks = SequentialPlan(look_sizes(n_max))
    rows = []
    for world, means, wrong in truths.worlds():
        if world.startswith("barely"):
            decided, _ = _in_looks(truths.relation, means, draw, looks, repetitions, rng)
            rows.append(Row("sequential", (relation, law, str(n_max), world), int(np.sum(decided[wrong])), repetitions))
    return rows


def savings(relation: str, law: str, n_max: int, repetitions: int, rng: np.random.Generator) -> list[Row]:
    """Networks used, over those of the fixed design, where the effect is what it was designed for or twice that."""
    form, (make, cv) = TRUTHS[relation].relation, PILOTS[law]
    cells = len(TRUTHS[relation].true)
    looks = SequentialPlan(look_sizes(n_max))
    rows = []
    for outcome in ("supported", "refuted"):
        design = planning.detectable_effect(form, cv=cv, n=n_max, outcome=outcome, cells=cells)
        for factor in (1, 2):
            if not _possible(form, design**factor, outcome):
                continue
            real, means = planning.ground_truth(form, design**factor, outcome, cells)
            decided, used = _in_looks(real, means, make(cv), looks, repetitions, rng)
            labels = (relation, law, str(n_max), outcome, f"{factor}×")
            rows.append(
                Row("savings", labels, int(np.sum(decided[outcome])), repetitions, (float(used.mean()) / n_max,))
            )
    return rows


def _in_looks(
    relation: Relation,
    means: tuple[float, ...] | list[float],
    draw: Law,
    looks: SequentialPlan,
    repetitions: int,
    rng: np.random.Generator,
) -> tuple[dict[Outcome, np.ndarray], np.ndarray]:
    """Which repetitions end in each outcome, and the networks per cell they take."""
    claim = planning.simulated_claim(relation, len(means))
    whole = planning.simulated_cells(means, draw, (repetitions, looks.sizes[-1]), rng)
    smallest: dict[str, np.ndarray | float] = {"holds": 1.0, "fails": 1.0}
    used = np.full(repetitions, looks.sizes[-1])
    open_ones = np.ones(repetitions, dtype=bool)
    decided: dict[Outcome, np.ndarray] = {}
    for look, n in enumerate(looks.sizes):
        stated = statement(claim, [dataclasses.replace(cell, values=cell.values[:, :n]) for cell in whole])
        for kind in ("holds", "fails"):
            p = np.array([getattr(part, f"p_{kind}")() for part in stated.parts])
            smallest[kind] = np.minimum(smallest[kind], looks.p_values(p, look))
        refuted = stated.p_refute(np.asarray(smallest["fails"])) <= LEVEL
        supported = (stated.p_support(np.asarray(smallest["holds"])) <= LEVEL) & ~refuted
        before = decided or {"refuted": ~open_ones, "supported": ~open_ones}
        decided = {
            "refuted": np.where(open_ones, refuted, before["refuted"]),
            "supported": np.where(open_ones, supported, before["supported"]),
        }
        used[open_ones & (refuted | supported)] = n
        open_ones &= ~(refuted | supported)
    return decided, used


def unseen(law: str, n: int, repetitions: int, rng: np.random.Generator) -> list[Row]:
    """A bound that holds with equality, where a share of the networks is dead: false refutations in one cell."""
    share = float(law)
    claim = planning.simulated_claim(AtMost(one), 1)
    cells = planning.simulated_cells([1.0], with_dead(share, 0.2), (repetitions, n), rng)
    count = int(np.sum(planning.p_values(claim, cells, "refuted") <= LEVEL))
    return [Row("unseen", (law, str(n)), count, repetitions, ((1 - share) ** n,))]


FLAT_MARGIN = 0.1
FLAT_SIZES = (64, 256)
FLAT: Mapping[str, Relation] = {
    "trend": DecreasesIn("width", flat=FLAT_MARGIN),
    "exponent": ScalesAs("width", -0.5, 0.2, flat=FLAT_MARGIN),
}
FLAT_WORLDS = {"no change": 1.0, "the margin": 1 + FLAT_MARGIN, "twice the margin": 1 + 2 * FLAT_MARGIN}
"""Name → the change from the first of three cells to the last, in equal steps: of all pairs only the ends differ by so
much, which is where "flat" is most likely said of what is not."""


def flat(kind: str, law: str, n: int, repetitions: int, rng: np.random.Generator) -> list[Row]:
    """How often "flat" is said, and how often the 95 % interval of the change over the range holds the true one."""
    draw, claim, rows = LAWS[law](), planning.simulated_claim(FLAT[kind], 3), []
    for world, change in FLAT_WORLDS.items():
        means = change ** (np.arange(3) / 2)
        cells = planning.simulated_cells(means, draw, (repetitions, n), rng)
        stated = flatness(claim, cells)
        assert stated is not None
        said = stated.p_support(np.array([part.p_holds() for part in stated.parts])) <= LEVEL
        rows.append(Row("flat", (kind, law, str(n), world), int(np.sum(said)), repetitions))
        # The interval inverts two one-sided tests: it holds what neither rejects.
        of = next(part.comparison for part in stated.parts if part.whole)
        true = change if kind == "trend" else math.exp(math.log(change) / math.log(4))  # as a factor: e to the power
        inside = (of.p_above(true) > COVERED / 2) & (of.p_below(true) > COVERED / 2)
        rows.append(Row("coverage", (kind, law, str(n), world), int(np.sum(inside)), repetitions))
    return rows


def flat_tasks(quick: bool) -> list[tuple[str, tuple]]:
    laws, sizes = (list(LAWS)[:1], FLAT_SIZES[:1]) if quick else (list(LAWS), FLAT_SIZES)
    return [("flat", (kind, law, n)) for kind in FLAT for law in laws for n in sizes]


def tasks(quick: bool) -> list[tuple[str, tuple]]:
    laws = list(LAWS)[1:3] if quick else list(LAWS)
    sizes = SIZES[:1] if quick else SIZES
    found: list[tuple[str, tuple]] = []
    for relation in TRUTHS:
        found += [("errors", (relation, law, n)) for law in laws for n in sizes]
        found += [
            ("promised", (relation, law, n))
            for law in list(PILOTS)[1 : 2 if quick else None]
            for n in (16, 64)[: 1 if quick else 2]
        ]
        found += [
            ("sequential", (relation, law, n))
            for law in laws[: 1 if quick else 4]
            for n in ((36,) if quick else (36, 64))
        ]
        found += [("savings", (relation, "lognormal, CV 0.2", n)) for n in ((36,) if quick else (36, 64))]
    return found + [("unseen", (str(share), n)) for share in (0.02, 0.1, 0.3) for n in (*sizes, 256)]


def work(job: tuple[str, tuple, int, int]) -> list[Row]:
    kind, arguments, repetitions, seed = job
    return globals()[kind](*arguments, repetitions, np.random.default_rng(seed))


def calibrate(todo: list[tuple[str, tuple]], repetitions: int, seed: int, workers: int) -> list[Row]:
    """All rows; each task has its own stream, so they don't depend on the number of workers."""
    seeds = np.random.SeedSequence(seed).generate_state(len(todo))
    jobs = [(kind, arguments, repetitions, int(s)) for (kind, arguments), s in zip(todo, seeds, strict=True)]
    if workers == 1:
        return [row for job in jobs for row in work(job)]
    with ProcessPoolExecutor(workers) as pool:
        return [row for rows in pool.map(work, jobs) for row in rows]


def _is_promised(row: Row) -> bool:
    return row.repetitions > 0 and row.table != "unseen" and (row.table != "savings" or row.labels[-1] == "2×")


def problems(rows: list[Row]) -> list[str]:
    """What is worse than promised."""
    found = []
    for row in rows:
        is_false = row.table == "flat" and row.labels[-1] != "no change"
        if (row.table in ("errors", "sequential") or is_false) and row.end(+1) > LEVEL + TOLERANCE:
            found.append(f"{row.table} {', '.join(row.labels)}: {row.rate:.4f}, up to {row.end(+1):.4f}")
        if row.table == "power" and row.repetitions and row.end(+1) < 0.9:
            found.append(f"power {', '.join(row.labels)}: {row.rate:.4f} at ×{row.figures[0]:.3f}")
        if row.table == "coverage" and row.end(+1) < 1 - COVERED - TOLERANCE:
            found.append(f"coverage {', '.join(row.labels)}: {row.rate:.4f}")
        if row.table == "savings" and row.labels[-1] == "2×" and row.figures[0] > 0.7:
            found.append(f"savings {', '.join(row.labels)}: {row.figures[0]:.3f} of the networks")
    return found


def table(header: list[str], lines: Iterable[Iterable[str]]) -> str:
    return "\n".join(
        [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(line)} |" for line in lines)]
    )


def page(rows: list[Row], repetitions: int, seed: int, seconds: float) -> str:
    """The tables in Markdown."""
    by = {
        name: [row for row in rows if row.table == name]
        for name in ("errors", "power", "sequential", "savings", "unseen")
    }

    def worst(name: str, key: Callable[[Row], tuple]) -> dict[tuple, list[Row]]:
        groups: dict[tuple, list[Row]] = {}
        for row in by[name]:
            groups.setdefault(key(row), []).append(row)
        return groups

    def percent(row: Row) -> str:
        return f"{100 * row.rate:.2f} ({100 * row.end(+1):.2f})"

    order = ("true", "barely true", "barely false", "false")
    error_lines = [
        [*labels, *(percent(next(row for row in group if row.labels[3] == world)) for world in order)]
        for labels, group in worst("errors", lambda row: row.labels[:3]).items()
    ]
    sequential_lines = [
        [*labels, *(percent(row) for row in group)]
        for labels, group in worst("sequential", lambda row: row.labels[:3]).items()
    ]
    power_lines = [
        [
            *row.labels,
            f"{row.figures[0]:.3f}" if row.repetitions else "–",
            f"{100 * row.rate:.1f}" if row.repetitions else "–",
        ]
        for row in by["power"]
    ]
    savings_lines = [[*row.labels, f"{100 * row.rate:.1f}", f"{row.figures[0]:.2f}"] for row in by["savings"]]
    unseen_lines = [[*row.labels, percent(row), f"{100 * row.figures[0]:.1f}"] for row in by["unseen"]]
    verdict = [f"{world}: {'refuted' if 'true' in world else 'supported'}" for world in order]
    where = ["relation", "law", "networks"]
    looks = ["relation", "law", "networks at most"]
    sections = [
        ("Errors, in percent (upper end of the 95 % interval)", [*where, *verdict], error_lines),
        ("Power at the promised effect, in percent", [*where, "outcome", "effect", "power"], power_lines),
        (
            "Errors with three looks, in percent (upper end of the 95 % interval)",
            [*looks, *verdict[1:3]],
            sequential_lines,
        ),
        (
            "Networks used in looks, over those of the fixed design",
            [*looks, "outcome", "effect over design", "power, %", "networks used"],
            savings_lines,
        ),
        (
            "Dead networks that no sample shows",
            ["share of dead networks", "networks", "bound with equality: refuted, %", "no dead one in the sample, %"],
            unseen_lines,
        ),
    ]
    fixed, early = (100 * max(row.rate for row in by[name]) for name in ("errors", "sequential"))
    ratio = max(row.figures[0] for row in by["savings"] if row.labels[-1] == "2×")
    summary = (
        f"`python benchmarks/calibration.py --repetitions {repetitions} --seed {seed}`: {repetitions} repetitions per "
        f"figure, {seconds:.0f} s.\nLargest rate of a false verdict: {fixed:.2f} % in fixed designs, {early:.2f} % in "
        f"looks.\nLargest share of the fixed design's networks that looks take at twice the design effect: {ratio:.2f}."
        f"\nWorse than promised: {len(problems(rows))} of {sum(map(_is_promised, rows))} figures "
        "(dead networks that no sample shows are not among them)."
    )
    return "\n\n".join([summary, *(f"## {title}\n\n{table(*rest)}" for title, *rest in sections)])


def flat_page(rows: list[Row], repetitions: int, seed: int, seconds: float) -> str:
    """The table about the label ``flat`` in Markdown."""
    found = {(row.table, *row.labels): row for row in rows}

    def cell(name: str, labels: tuple[str, ...], world: str) -> str:
        row = found[name, *labels, world]
        return f"{100 * row.rate:.2f} ({100 * row.end(+1 if name == 'flat' else -1):.2f})"

    groups = dict.fromkeys(row.labels[:3] for row in rows)
    lines = [
        [
            *labels,
            *(cell("flat", labels, world) for world in FLAT_WORLDS),
            *(cell("coverage", labels, world) for world in list(FLAT_WORLDS)[:2]),
        ]
        for labels in groups
    ]
    header = ["said of", "law", "networks", *(f"{world}: flat" for world in FLAT_WORLDS)]
    header += [f"{world}: covered" for world in list(FLAT_WORLDS)[:2]]
    false = [row.rate for row in rows if row.table == "flat" and row.labels[-1] != "no change"]
    covered = [row.rate for row in rows if row.table == "coverage"]
    summary = (
        f"`python benchmarks/calibration.py --flat --repetitions {repetitions} --seed {seed}`: {repetitions} "
        f"repetitions per figure, {seconds:.0f} s.\nLargest rate of a false `flat`: {100 * max(false):.2f} %. Lowest "
        f"coverage of the 95 % intervals beside it: {100 * min(covered):.2f} %.\nWorse than promised: "
        f"{len(problems(rows))} of {len(false) + len(covered)} figures."
    )
    title = '## The label "flat", in percent (upper end of the 95 % interval; of coverages the lower end)'
    return "\n\n".join([summary, title, table(header, lines)])


def written(text: str, name: str, block: str) -> str:
    """A page with another block of this name."""
    begin, end = BEGIN.format(name), END.format(name)
    return f"{text[: text.index(begin)]}{begin}\n\n{block}\n\n{text[text.index(end) :]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="few laws and sizes; prints, writes nothing")
    parser.add_argument("--flat", action="store_true", help="the label flat alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    blocks = {"calibration": (tasks, page), "flat": (flat_tasks, flat_page)}
    for name in ("flat",) if options.flat else blocks:
        todo, in_words = blocks[name]
        started = time.perf_counter()
        rows = calibrate(todo(options.quick), options.repetitions, options.seed, options.workers)
        block = in_words(rows, options.repetitions, options.seed, time.perf_counter() - started)
        for problem in problems(rows):
            print(problem)
        if options.quick:
            print(block)
        else:
            PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), name, block), encoding="utf-8")
            print(f"wrote {PAGE.relative_to(Path.cwd())}" if PAGE.is_relative_to(Path.cwd()) else f"wrote {PAGE}")


if __name__ == "__main__":
    main()
