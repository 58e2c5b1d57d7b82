"""Fill the tables of docs/statements from stored results: ``python docs/statements_table.py RESULTS [RESULTS ...]``.

Each RESULTS is a folder that ``ntkrobust verify --out`` wrote. A table stands between ``<!-- table: NAME -->`` and
``<!-- end -->``. Pages say which claims they are about in a paragraph that begins with **Claims.**

With ``--only NAME [NAME ...]`` the other tables are left as they are. Columns and rows of a preset that no folder is
given of stay. With ``--by data`` columns are data sets, and the page is other-data.md.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ntkrobust.bounds.papers.sizes import PRESETS
from ntkrobust.errors import InputError
from ntkrobust.files.atomic import write_text
from ntkrobust.reports import marks, slopes, words
from ntkrobust.reports.stored import read_folder

Verdict = Mapping[str, Any]
Verdicts = Mapping[str, Mapping[str, Verdict]]
"""Preset → id of the claim → verdict, presets from the smallest on."""

FOLDER = Path(__file__).parent / "statements"
OTHER_DATA = "other-data.md"
FLAT = 0.01
"""Below this change of the logarithm, infinite width has no sign to agree with."""

CONTRADICTED = "recollected form contradicted"
"""How the reason begins where what is known from memory only cannot be refuted."""

_TABLE = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
_CLAIMS = re.compile(r"^\*\*Claims\.\*\*(?P<listed>.*?)$", flags=re.MULTILINE)
_ID = re.compile(r"`([\w.]+/[\w./-]+)`")


def claims_of(page: str) -> list[str]:
    """The ids, without readings, that the text of a page says it is about."""
    found = _CLAIMS.search(page)
    return [] if found is None else _ID.findall(found["listed"])


def pages(folder: Path = FOLDER) -> dict[Path, str]:
    """The pages on statements and docs/regimes.md, each with its text; without the index."""
    files = [*sorted(folder.glob("*.md")), folder.parent / "regimes.md"]
    return {path: path.read_text(encoding="utf-8") for path in files if path.name not in ("README.md", OTHER_DATA)}


def read(folders: Iterable[str], by: str = "preset") -> Verdicts:
    """The verdicts of all folders; of two on one claim in one preset the later one counts.

    ``by`` "data" they are by the name of the data set, in the order of the folders.

    Each cell gets what was measured of its ``evidence``, dims ``seed``, and the mean training ``loss`` of its networks.
    """
    found: dict[str, dict[str, Verdict]] = {preset: {} for preset in PRESETS}
    for folder in folders:
        stored = read_folder(folder)
        document, measured = stored.document, stored.evidence["measured"].to_dataset()
        inputs = document["inputs"]
        of_preset = found.setdefault(inputs["preset"] if by == "preset" else _named(inputs["data"]["name"]), {})
        for verdict in document["values"]["verdicts"]:
            for cell in verdict["cells"]:
                cell["evidence"] = measured.isel(cell=cell["evidence_cell"], seed=slice(cell["networks"]))
                cell["loss"] = float(cell["evidence"]["loss"].mean())
            of_preset[verdict["claim"]] = verdict
    return {preset: verdicts for preset, verdicts in found.items() if verdicts}


def _named(data: str) -> str:
    """``digits, even against odd`` of all that a name says of its data."""
    parts = [re.sub(r" \(.*?\)", "", part) for part in data.split(", ")[:2]]
    return ", ".join(parts)


def filled(text: str, page: Sequence[str], verdicts: Verdicts, only: Sequence[str] = ()) -> str:
    """The text of a page with its tables written again.

    Args:
        text: the page.
        page: the claims it is about.
        verdicts: what there is.
        only: the tables to write; all, if empty.

    Raises:
        InputError: a table has a name that means nothing, or no verdicts to show.
    """

    def table(found: re.Match[str]) -> str:
        if found["name"] not in TABLES:
            raise InputError(f"unknown table {found['name']!r}: expected one of {', '.join(TABLES)}")
        if only and found["name"] not in only:
            return found[0]
        rows = TABLES[found["name"]](page, verdicts)
        if len(rows) < 2:
            raise InputError(f"no verdicts for the table {found['name']!r}: give the folders that hold them")
        rows = _with_presets_kept(rows, found[0], verdicts)
        return f"{found[1]}\n{_markdown(rows)}\n\n{found[3]}"

    return _TABLE.sub(table, text)


def _with_presets_kept(rows: list[list[str]], before: str, verdicts: Verdicts) -> list[list[str]]:
    """Columns and rows of presets of which no folder was given are those that stand there."""
    lines = [line.strip("|").split("|") for line in before.splitlines() if line.startswith("|")]
    if not lines:
        return rows
    header, _, *old = ([cell.strip() for cell in line] for line in lines)
    missing = [preset for preset in PRESETS if preset not in verdicts]
    if "preset" in header:
        column = header.index("preset")
        kept = {tuple(row[:column]): row for row in old if row[column] in missing}
        return [kept.get(tuple(row[:column]), row) for row in rows]
    columns = [name for name in header if name in missing]
    if not columns:
        return rows
    claim, reading = rows[0].index("claim"), rows[0].index("reading")
    by_claim = {row[claim]: dict(zip(header, row, strict=True)) for row in old}
    filled = [[*rows[0], *columns]]
    for row in rows[1:]:
        there = by_claim.get(row[claim], {})
        said = _together([row[reading], there.get("reading", row[reading]).split(" / ")[-1]])
        filled.append(
            [*row[:reading], said, *row[reading + 1 :], *(there.get(name, words.MISSING) for name in columns)]
        )
    return filled


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def _of(page: Sequence[str], verdicts: Verdicts) -> list[str]:
    """Ids with their readings, in the order of the page and of the runs."""
    known = list(dict.fromkeys(claim for of_preset in verdicts.values() for claim in of_preset))
    return [claim for base in page for claim in known if words.base_id(claim) == base]


def _largest(claim: str, verdicts: Verdicts) -> tuple[str, Verdict]:
    """The verdict of the largest preset that has one."""
    preset = [preset for preset, of_preset in verdicts.items() if claim in of_preset][-1]
    return preset, verdicts[preset][claim]


def _reading(claim: str, verdicts: Verdicts) -> str:
    """When networks are compared; where that depends on the preset, for each."""
    if "@" not in claim and "/bound" in claim:
        return "arithmetic"
    every = (words.short_reading(of_preset[claim]) for of_preset in verdicts.values() if claim in of_preset)
    return _together(list(every))


def _together(readings: Sequence[str]) -> str:
    said = list(dict.fromkeys(readings))
    numbers, rest = zip(*(one.partition(" ")[::2] for one in said), strict=True)
    # "300 / 500 steps of PGD"
    return f"{' / '.join(numbers)} {rest[0]}".strip() if len(set(rest)) == 1 else " / ".join(said)


def _short(verdict: Verdict | None) -> str:
    if verdict is None:
        return words.MISSING
    label, effect = words.label(verdict), verdict["effect"]
    if verdict["reason"].startswith(CONTRADICTED):
        label = CONTRADICTED
    if effect is None or effect["estimate"] is None:
        return label
    if verdict["label"] == "inconclusive" and verdict["seeds_needed"]:
        label = f"{label} ({words.integer(verdict['seeds_needed'])} seeds)"
    return f"{label} {words.factor(effect)}"


def _by_preset(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """Every claim in every preset that has one of them."""
    claims = _of(page, verdicts)
    shown = {preset: of_preset for preset, of_preset in verdicts.items() if of_preset.keys() & set(claims)}
    rows = [["claim", "reading", *shown]]
    for claim in claims:
        cells = [_short(of_preset.get(claim)) for of_preset in shown.values()]
        rows.append([f"`{claim}`", _reading(claim, verdicts), *cells])
    return rows


def _index(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """The same for the claims of all pages, each with a link to its page."""
    links = {
        claim: f"[{path.stem}]({'../' if path.name == 'regimes.md' else ''}{path.name})"
        for path, text in pages().items()
        for claim in claims_of(text)
    }
    header, *rows = _by_preset(list(links), verdicts)
    return [["page", *header], *([links[words.base_id(row[0].strip("`"))], *row] for row in rows)]


_INITIALIZATIONS = {"lecun": "LeCun: falls", "he": "He: grows", "ntk": "NTK: grows"}
_DEPTH = re.compile(r"zhu2022/depth-(?P<name>lecun|he|ntk)(?P<scaled>-normalized)?/(?P<kind>measured|infinite)@")


def _depth(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """One row for each reading, one column for each initialization.

    Of the presets the last one that has as many initializations as any.
    """
    rows: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for claim in _of(page, verdicts):
        found = _DEPTH.match(claim)
        if found is not None:
            networks = "finite" if found["kind"] == "measured" else "infinite width"
            scale = "normalized" if found["scaled"] else "raw"
            by_preset = rows.setdefault((networks, scale, claim.partition("@")[2].replace("-", " ")), {})
            for preset, of_preset in verdicts.items():
                if claim in of_preset:
                    by_preset.setdefault(preset, {})[found["name"]] = _short(of_preset[claim])
    table = [["networks", "P/ε", "reading", "preset", *_INITIALIZATIONS.values()]]
    for key in sorted(rows, key=lambda key: (key[0], key[1] != "raw")):
        preset = max(reversed(rows[key]), key=lambda preset: len(rows[key][preset]))
        table.append([*key, preset, *(rows[key][preset].get(name, words.MISSING) for name in _INITIALIZATIONS)])
    return table


def _agreement(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """Depth effects of finite networks beside those of infinite width, between neighbouring depths and over all."""
    rows = [["initialization", "width", "depth", "networks, 95 %", "infinite width", "signs", "gap at both depths"]]
    wanted = [claim for claim in _of(page, verdicts) if claim.endswith("/measured@equal-scaled-time")]
    for verdict in (of_preset[claim] for claim in wanted for of_preset in verdicts.values() if claim in of_preset):
        cells = [cell for cell in verdict["cells"] if marks.is_usable(cell) and cell["theory"]]
        pairs = list(itertools.pairwise(cells))
        for first, last in [*pairs, *([(cells[0], cells[-1])] if len(pairs) > 1 else [])]:
            value, half = _log_ratio(first, last)
            limit = math.log(last["theory"] / first["theory"])
            signs = "agree" if value * limit > 0 else "differ"
            if abs(limit) < FLAT:
                signs = "flat"
            elif abs(value) <= half:
                signs = "undecided"
            at = first["coordinates"]
            rows.append(
                [
                    str(at["initialization"]),
                    str(at["width"]),
                    f"{at['depth']} → {last['coordinates']['depth']}",
                    f"×{words.estimate(math.exp(value), (math.exp(value - half), math.exp(value + half)))}",
                    f"×{words.number(math.exp(limit))}",
                    signs,
                    ", ".join(f"{cell['mean'] / cell['theory'] - 1:+.0%}" for cell in (first, last)),
                ]
            )
    return rows


def _log_ratio(first: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[float, float]:
    """log of the ratio of two means, and half of its 95 % interval: relative half-widths add up in squares."""
    relative = [(cell["interval"][1] - cell["interval"][0]) / (2 * cell["mean"]) for cell in (first, last)]
    return math.log(last["mean"] / first["mean"]), math.hypot(*relative)


def _exponents(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """The fitted power of the width, of claims on a trend in width."""
    rows = [["claim", "reading", "preset", "widths", "exponent of the width"]]
    for claim in _of(page, verdicts):
        preset, verdict = _largest(claim, verdicts)
        cells = [cell for cell in verdict["cells"] if marks.counts(cell)]
        if verdict["relation"]["axis"] != "width" or verdict["relation"]["kind"] != "trend" or not cells:
            continue
        widths = [cell["coordinates"]["width"] for cell in cells]
        fitted = slopes.fit(
            [math.log(width) for width in widths],
            [cell["mean"] for cell in cells],
            [cell["interval"] for cell in cells],
        )
        if fitted is not None:
            power = words.estimate(fitted.value, (fitted.low, fitted.high))
            said = _reading(claim, {preset: verdicts[preset]})
            rows.append([f"`{claim}`", said, preset, f"{min(widths)} to {max(widths)}", power])
    return rows


def _training(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """How far the narrowest and the widest networks were trained where that was not what they were stopped at."""
    rows = [["claim", "reading", "preset", "width", "training error"]]
    for claim in _of(page, verdicts):
        preset, verdict = _largest(claim, verdicts)
        if verdict["relation"]["axis"] != "width" or verdict["reading"]["time"] != "equal scaled time":
            continue
        ends = [cell for cell in verdict["cells"] if marks.counts(cell)][:: len(verdict["cells"]) - 1]
        widths = " → ".join(str(cell["coordinates"]["width"]) for cell in ends)
        errors = " → ".join(words.number(2 * cell["loss"] / cell["coordinates"]["n"]) for cell in ends)
        said = _reading(claim, {preset: verdicts[preset]})
        rows.append([f"`{claim}`", said, preset, widths, errors])
    return rows


def _bounds(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """Bounds with what they leave open: how far off an explicit one is, or the constant that these cells ask for."""
    rows = [["claim", "reading", "preset", "verdict", "bound/measured", "constant", "vacuous"]]
    for claim in _of(page, verdicts):
        preset, verdict = _largest(claim, verdicts)
        tightness = verdict["tightness"]
        rows.append(
            [
                f"`{claim}`",
                _reading(claim, {preset: verdicts[preset]}),
                preset,
                _short(verdict | {"vacuous": None}),
                words.MISSING if tightness is None else " to ".join(dict.fromkeys(map(words.number, tightness))),
                words.MISSING if verdict["constant"] is None else words.number(verdict["constant"]["estimate"]),
                {True: "yes", False: "no", None: words.MISSING}[verdict["vacuous"]],
            ]
        )
    return rows


def _adversarial_cells(page: Sequence[str], verdicts: Verdicts) -> dict[tuple[str, str], dict[int, xr.Dataset]]:
    """What was measured of adversarially trained networks: (preset, reading at one strength) → width → evidence.

    Claims share cells, and each kind of claim asks for some of the measures only; all are in the evidence of the cell.
    """
    found: dict[tuple[str, str], dict[int, xr.Dataset]] = {}
    for claim in _of(page, verdicts):
        for preset, verdict in ((preset, of_preset.get(claim)) for preset, of_preset in verdicts.items()):
            if verdict is None or not verdict["reading"].get("adversary"):
                continue
            for cell in verdict["cells"]:
                at = cell["coordinates"]
                said = words.short_reading({**verdict, "grid": {"strength": [at["strength"]]}})
                found.setdefault((preset, said), {})[at["width"]] = cell["evidence"]
    return {key: dict(sorted(found[key].items())) for key in sorted(found, key=_by_strength)}


def _by_strength(key: tuple[str, str]) -> tuple[str, str, float]:
    preset, said = key
    named, _, strength = said.partition(" = ")
    return preset, named, float(strength)


def _mean(values: xr.DataArray) -> tuple[float, float] | None:
    """The mean over networks and its standard error; None where this was not measured."""
    found = values.dropna("seed").values
    return (float(found.mean()), float(found.std(ddof=1) / math.sqrt(len(found)))) if len(found) > 1 else None


def _with_error(value: tuple[float, float] | None, sign: bool = False) -> str:
    """``0.739 ± 0.008``: as many decimals as give the error two digits, three at most."""
    if value is None:
        return words.MISSING
    decimals = min(max(0, 1 - math.floor(math.log10(value[1]))), 3) if value[1] > 0 else 3
    return f"{value[0]:{'+' if sign else ''}.{decimals}f} ± {value[1]:.{decimals}f}".replace("-", "−")


_LEVELS = {
    "natural accuracy": "natural_accuracy",
    "stability": "prediction_stability_by_pgd",
    "stable, of the correct": "stability_given_correct_by_pgd",
    "robust accuracy": "robust_accuracy_by_pgd",
    "local Lipschitz": "local_lipschitz_by_pgd",
    "KL gradient": "kl_gradient_by_pgd",
}


def _levels(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """Means over networks with standard errors, by regularization and width."""
    rows = [["reading", "width", *_LEVELS]]
    for (_, said), by_width in _adversarial_cells(page, verdicts).items():
        for width, evidence in by_width.items():
            rows.append([said, str(width), *(_with_error(_mean(evidence[name])) for name in _LEVELS.values())])
    return rows


def _split(page: Sequence[str], verdicts: Verdicts) -> list[list[str]]:
    """Δlog Rob = Δlog Nat + Δlog P(stable | correct) between widths, each with its standard error.

    Means over networks of logarithms, so that the two parts add up exactly. Networks of different widths share no
    randomness: squares of standard errors add up.
    """
    names = ("robust_accuracy_by_pgd", "natural_accuracy", "stability_given_correct_by_pgd")
    rows = [["reading", "width", "Δlog Rob", "Δlog Nat", "Δlog P(stable given correct)", "moved by"]]
    for (_, said), by_width in _adversarial_cells(page, verdicts).items():
        logs = {
            width: [_mean(xr.apply_ufunc(np.log, evidence[name])) for name in names]
            for width, evidence in by_width.items()
        }
        complete = {width: [one for one in found if one is not None] for width, found in logs.items() if all(found)}
        pairs = list(itertools.pairwise(complete))
        for first, last in [*pairs, *([(min(complete), max(complete))] if len(pairs) > 1 else [])]:
            changes = [
                (after - before, math.hypot(error, error_before))
                for (before, error_before), (after, error) in zip(complete[first], complete[last], strict=True)
            ]
            moved = moved_by(*changes)
            rows.append([said, f"{first} → {last}", *(_with_error(one, sign=True) for one in changes), moved])
    return rows


def moved_by(whole: tuple[float, float], natural: tuple[float, float], stable: tuple[float, float]) -> str:
    """Which of two summands moves the sum; all with standard errors, and seen from two of these on."""
    seen = {name: change for name, (change, error) in (("accuracy", natural), ("stability", stable))
            if abs(change) > 2 * error}  # fmt: skip
    if abs(whole[0]) <= 2 * whole[1]:
        return "neither: they cancel" if len(seen) == 2 else "nothing seen"
    along = {name: change for name, change in seen.items() if change * whole[0] > 0}
    against = "" if len(along) == len(seen) else f", against {next(name for name in seen if name not in along)}"
    return (" and ".join(along) or "undecided") + against


TABLES: dict[str, Callable[[Sequence[str], Verdicts], list[list[str]]]] = {
    "index": _index,
    "verdicts": _by_preset,
    "depth": _depth,
    "agreement": _agreement,
    "exponents": _exponents,
    "training": _training,
    "bounds": _bounds,
    "levels": _levels,
    "split": _split,
}
"""Name → rows of a table, the first one its header, from the claims of a page and the verdicts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="RESULTS")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=[])
    parser.add_argument("--by", choices=("preset", "data"), default="preset")
    args = parser.parse_args()
    verdicts = read(args.folders, args.by)
    for path in sorted(FOLDER.glob("*.md")):
        if (path.name == OTHER_DATA) == (args.by == "data"):
            text = path.read_text(encoding="utf-8")
            write_text(path, filled(text, claims_of(text), verdicts, args.only))
            print(path)


if __name__ == "__main__":
    main()
