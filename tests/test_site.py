"""The documentation as a site: complete, built strictly, nothing fetched from elsewhere, links that lead somewhere."""

import os
import re
import subprocess
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")

# --- the reading order, which needs no Sphinx


def pages_missing(index: str) -> set[str]:
    """Pages that the reading order leaves out, or names although they are not there."""
    named = {os.path.normpath(f"docs/{one}") for one in re.findall(r"(?m)^- \[[^\]]*\]\(([^)]*)\)", index)}
    there = {path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")} - {"docs/index.md"}
    there |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")}
    return named ^ (there | {"CONTRIBUTING.md", "CHANGELOG.md"})


def test_the_reading_order_has_every_page_once() -> None:
    assert pages_missing(INDEX) == set()
    assert pages_missing(INDEX.replace("verdicts.md", "verdict.md")) == {"docs/verdicts.md", "docs/verdict.md"}
    named = re.findall(r"(?m)^- \[[^\]]*\]\(([^)]*)\)", INDEX)
    assert len(named) == len(set(named))


def links_to_nothing(path: Path, text: str) -> list[str]:
    """Links of a page of Markdown to files that are not there."""
    code = re.compile(r"```.*?```|`[^`\n]*`", flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", code.sub("", text))
    return [one for one in targets if not re.match(r"\w+:", one) and not (path.parent / one).exists()]


def test_links_lead_somewhere_on_the_forge() -> None:
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]
    assert {path.name: links_to_nothing(path, path.read_text(encoding="utf-8")) for path in pages} == {
        path.name: [] for path in pages
    }
    assert links_to_nothing(DOCS / "index.md", "[a](nowhere.md) [b](verdicts.md#x) `[c](code.md)`") == ["nowhere.md"]


# --- the site


def build(source: Path, out: Path) -> subprocess.CompletedProcess:
    """As ``make docs`` does it."""
    asked = [
        "-W",
        "--keep-going",
        "-E",
        "--quiet",
        "-d",
        str(out / "trees"),
        "-c",
        str(DOCS),
        str(source),
        str(out / "site"),
    ]
    return subprocess.run([sys.executable, "-m", "sphinx", *asked], capture_output=True, text=True, cwd=ROOT)


class Page(HTMLParser):
    """What a page links to, loads, and can be linked to by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.names: set[str] = set()
        self.formulas = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.names |= {has["id"]} if has.get("id") else set()
        self.formulas += tag == "math"
        if tag == "a" and has.get("href"):
            self.links.add(str(has["href"]))
        loaded = has.get("href") if tag == "link" and has.get("rel") != "canonical" else has.get("src")
        self.loaded |= {loaded} if loaded else set()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    for name in ("sphinx", "myst_nb", "furo", "latex2mathml", "sphinx_copybutton"):
        pytest.importorskip(name)
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return {path: Page(path.read_text(encoding="utf-8")) for path in (out / "site").resolve().rglob("*.html")}


def leading_nowhere(pages: dict[Path, Page]) -> set[str]:
    """Links from a page to a file, or to a place on a page, that is not there."""
    found = set()
    for path, page in pages.items():
        for link in page.links | page.loaded:
            address, _, place = urllib.parse.unquote(link).partition("#")
            if re.match(r"\w+:", address):
                continue
            target = Path(os.path.normpath(path.parent / address.partition("?")[0])) if address else path
            exists = target.exists() and (not place or target not in pages or place in pages[target].names)
            found |= set() if exists else {f"{path.name}: {link}"}
    return found


def test_the_site_is_whole(site: dict[Path, Page]) -> None:
    names = {path.name for path in site}
    assert {"index.html", "README.html", "first-hour.html", "ntkrobust.html", "checks.py.html"} <= names
    assert leading_nowhere(site) == set()
    first = next(iter(site))
    planted = Page('<a href="nowhere.html">x</a><a href="#nowhere">y</a>')
    assert len(leading_nowhere({**site, first: planted})) >= 2


def test_nothing_is_fetched_from_another_server(site: dict[Path, Page]) -> None:
    elsewhere = re.compile(r"(\w+:)?//")
    assert {one for page in site.values() for one in page.loaded if elsewhere.match(one)} == set()
    assert [one for one in Page('<script src="https://x.org/y.js">').loaded if elsewhere.match(one)]
    styles = [path for folder in {next(iter(site)).parents[0]} for path in folder.rglob("*.css")]
    assert not [path for path in styles if re.search(r"url\([\"']?(https?:)?//", path.read_text(encoding="utf-8"))]


def test_formulas_are_drawn(site: dict[Path, Page]) -> None:
    (page,) = [page for path, page in site.items() if path.name == "exact-law.html"]
    assert page.formulas > 100
    raw = [
        path.name
        for path in site
        if path.parents[0].name != "notebooks"
        and re.search(r"\\(frac|varepsilon|lVert|nabla)\b(?![^<]*\")", _visible(path))
    ]
    assert raw == []


def _visible(path: Path) -> str:
    """A page without code, the LaTeX that goes with formulas, and scripts."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"<(pre|code|script|title)\b.*?</\1>", "", text, flags=re.DOTALL)
    return re.sub(r'(alttext|alt|content)="[^"]*"', "", text)


def test_a_broken_link_ends_the_build(tmp_path: Path, site: dict[Path, Page]) -> None:
    (tmp_path / "README.md").write_text("# Planted\n\n[a](docs/nowhere.md)\n", encoding="utf-8")
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
