"""Pages and docstrings speak to a reader who was never here: what holds, not how the work went."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "statements").glob("*.md")]

HISTORY = re.compile(
    r"\b(?:(?<!From )this version|earlier version|another hour|acceptance runs?|previously|until now|recently|yesterday"
    r"|in the version that|(?:were|was) asked(?! for))\b"
    r"|\bTried\b(?! are)|\btried without\b|\b[Nn]ow\b(?!\s*[.=(])|\bwe (?:tried|used to)\b"
)
"""What tells of the work in place of what holds."""

NOW = re.compile(r"\bnow\b", flags=re.IGNORECASE)
"""Of code it says at which moment, of a page that there was another time."""

CODE = re.compile(r"```.*?```|~~~.*?~~~|`[^`\n]*`|\$[^$\n]*\$", flags=re.DOTALL)


def history(text: str) -> list[str]:
    """What a text says of the work, each with what stands around it."""
    plain = CODE.sub(" ", text)
    return [plain[max(0, one.start() - 40) : one.end() + 40].replace("\n", " ") for one in HISTORY.finditer(plain)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_tell_no_history(path: Path) -> None:
    assert history(path.read_text(encoding="utf-8")) == []


def docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def test_docstrings_tell_no_history() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): told
        for path in (ROOT / "ntkrobust").rglob("*.py")
        if (
            told := [one for said in docstrings(path.read_text(encoding="utf-8")) for one in history(NOW.sub("", said))]
        )
    }
    assert found == {}


@pytest.mark.parametrize(
    "said",
    [
        "| asked | AMD EPYC, an earlier version | Xeon, this version |",
        "width 16 reached 50 % in another hour",
        "Tried: points along rows",
        "The acceptance runs of §4 are tests",
        "working in place takes 598 now",
        "17 %, where less than 20 were asked",
        "Previously the estimate was off",
    ],
)
def test_history_is_noticed(said: str) -> None:
    assert history(f"It holds. {said}, and on. `now = 3` is code.".replace("Previously", "previously"))


def test_what_holds_is_no_history() -> None:
    assert history("Losses are tried from the lowest up. All claims asked for in one run. `now.mean(x)`; $now$") == []


# --- what is known from recollection says so where it stands


def unmarked(page: str, claims: dict[str, str]) -> list[str]:
    """Claims known from recollection that a page names in a section which doesn't say so."""
    sections = re.split(r"(?m)^#+ ", page)
    return [
        name
        for name, provenance in claims.items()
        for section in sections
        if provenance == "recollection" and f"`{name}" in section and not re.search(r"recollect", section)
    ]


def test_recollections_say_so_where_they_stand() -> None:
    from ntkrobust.bounds.papers.catalogue import catalogue

    known = {claim.base_id: claim.provenance for claim in catalogue()}
    assert "recollection" in known.values()
    for path in (ROOT / "docs" / "statements").glob("*.md"):
        assert unmarked(path.read_text(encoding="utf-8"), known) == [], path.name
    name = next(name for name, provenance in known.items() if provenance == "recollection")
    assert unmarked(f"# A\n\n`{name}` is supported.\n\n# B\n\nrecollected\n", known) == [name]
