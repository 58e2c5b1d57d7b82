"""Several data sets side by side: a row per claim, a column per data set, and what they say together in words."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from ntkrobust.files.atomic import write_together
from ntkrobust.files.listing import distinct
from ntkrobust.reports import words

SEVERAL = "several.json"
PAGE = "report.html"
SEVERAL_NAMES = (SEVERAL, PAGE)
"""What lies above the folders of the data sets."""

SCHEMA_VERSION = 1


def folders(names: Sequence[str]) -> list[str]:
    """A folder for each data set: its name in small letters and dashes, with a number where two would be one."""
    return distinct(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "data" for name in names)


def several_document(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What ``several.json`` holds.

    Args:
        documents: names of data sets → what their ``verdicts.json`` holds, about the same claims.
    """
    names = list(documents)
    verdicts = [{one["claim"]: one for one in document["values"]["verdicts"]} for document in documents.values()]
    rows = []
    for claim in dict.fromkeys(claim for of_data in verdicts for claim in of_data):
        on = [
            {"data": name, "label": one["label"], "effect": one["effect"], "reading": one["reading"]["text"],
             "reason": one["reason"]}
            for name, of_data in zip(names, verdicts, strict=True)
            if (one := of_data.get(claim)) is not None
        ]  # fmt: skip
        statement = next(of_data[claim]["statement"] for of_data in verdicts if claim in of_data)
        rows.append({"claim": claim, "statement": statement, "on": on, "said": together(on)})
    places = [
        {"name": name, "folder": place, "described": one["inputs"]["data"]["name"]}
        for (name, one), place in zip(documents.items(), folders(names), strict=True)
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "inputs": {"data": places},
        "values": {"claims": rows},
    }


def together(on: Sequence[Mapping[str, Any]]) -> str:
    """What verdicts on several data sets say together, in one sentence."""
    by_label: dict[str, list[str]] = {}
    for one in on:
        by_label.setdefault(one["label"], []).append(f"{one['data']}{_effect(one)}")
    listed = {label: " and ".join(names) for label, names in by_label.items()}
    if {"supported", "refuted"} <= set(by_label):
        said = f"it holds on {listed['supported']}, and fails on {listed['refuted']}: not a property of networks alone"
        rest = [label for label in by_label if label not in ("supported", "refuted")]
    elif len(by_label) == 1:
        ((label, names),) = by_label.items()
        return f"{label} on {'all ' + str(len(names)) if len(names) > 1 else names[0]}"
    else:
        first, *rest = by_label
        said = f"{first} on {listed[first]}"
    return "; ".join([said, *(f"{label} on {listed[label]}" for label in rest)])


def _effect(one: Mapping[str, Any]) -> str:
    return "" if one["effect"] is None else f" ({words.factor(one['effect'])})"


def several_html(document: Mapping[str, Any], page: bool = False) -> str:
    """The table as HTML; with ``page``, as a page with links to the reports of the data sets."""
    names = [one["name"] for one in document["inputs"]["data"]]
    rows = []
    for row in document["values"]["claims"]:
        by_name = {one["data"]: {**one, "shown": _effect(one)} for one in row["on"]}
        rows.append({**row, "columns": [by_name.get(name) for name in names]})
    return _template().render(data=document["inputs"]["data"], rows=rows, page=page)


@functools.cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader("ntkrobust", "reports"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("several.html.jinja")


def store_several(document: Mapping[str, Any], folder: Path) -> None:
    """Write ``several.json`` and the page into a reserved folder.

    Raises:
        NotWrittenError: they can't be written.
    """
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    write_together(folder, {SEVERAL: f"{text}\n".encode(), PAGE: several_html(document, page=True).encode()})
