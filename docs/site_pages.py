"""What the site needs beside Sphinx: formulas as MathML, the reading order as navigation, sources as pages.

Nothing on the site is fetched from anywhere: no script draws formulas, and files that pages link to, such as
``ntkrobust/values.py``, are pages with their text.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

ROOT = Path(__file__).resolve().parents[1]
READING_ORDER = "docs/index.md"
SOURCES = "source"
LEXERS = {".py": "python", ".toml": "toml", ".yml": "yaml", ".cff": "yaml"}

# --- formulas


def mathml(formula: str, display: bool) -> str:
    """A formula of LaTeX as MathML, with its LaTeX for those who copy it or hear it read."""
    drawn = convert(formula, display="block" if display else "inline")
    return drawn.replace("<math ", f'<math alttext="{html.escape(formula, quote=True)}" ', 1)


def visit_inline(translator: Any, node: nodes.math) -> None:
    """``$x$``."""
    translator.body.append(mathml(node.astext(), display=False))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """``$$x$$``."""
    translator.body.append(f'<div class="math-block">{mathml(node.astext(), display=True)}</div>\n')
    raise nodes.SkipNode


# --- navigation


def reading_order(text: str) -> Iterator[tuple[str, list[str]]]:
    """(heading, pages) of each section of the page on the reading order."""
    for section in re.split(r"(?m)^## ", text)[1:]:
        heading, _, body = section.partition("\n")
        pages = re.findall(r"(?m)^- \[[^\]]*\]\(([^)]*)\.(?:md|ipynb)\)", body)
        yield heading.strip(), [os.path.normpath(f"docs/{page}") for page in pages]


def navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """The page on the reading order hangs below the first page, and all others below that one, section by section."""
    if name == app.config.root_doc:
        trees = [("", [READING_ORDER.removesuffix(".md")])]
        trees += reading_order((ROOT / READING_ORDER).read_text(encoding="utf-8"))
        source[0] += "".join(
            f"\n```{{toctree}}\n:hidden:\n{heading and f':caption: {heading}'}\n\n"
            + "".join(f"/{page}\n" for page in pages)
            + "```\n"
            for heading, pages in trees
        )


def captions(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Headings of the navigation say their level, which the theme leaves out."""
    drawn = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = drawn.replace('role="heading"', 'role="heading" aria-level="2"')


# --- sources


def link_sources(app: Sphinx, tree: nodes.document) -> None:
    """Links to files and folders of the repository lead to pages that show them."""
    here = app.env.docname
    for node in [*tree.findall(addnodes.download_reference), *tree.findall(addnodes.pending_xref)]:
        target = node["reftarget"].partition("#")[0]
        path = os.path.normpath((PurePosixPath(here).parent / target).as_posix()) if target else ""
        if not path or not (ROOT / path).exists() or path.endswith((".md", ".ipynb")):
            continue
        linked_by(app).setdefault(path, here)
        uri = relative_uri(app.builder.get_target_uri(here), f"{SOURCES}/{path}.html")
        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def linked_by(app: Sphinx) -> dict[str, str]:
    """Path of each file or folder that pages link to → one of these pages."""
    if not hasattr(app.env, "ntkrobust_sources"):
        app.env.ntkrobust_sources = {}  # type: ignore[attr-defined]
    return app.env.ntkrobust_sources  # type: ignore[attr-defined]


def listed(folder: Path) -> list[Path]:
    """What a page on a folder shows of it."""
    return sorted(one for one in folder.rglob("*") if one.suffix in (".py", ".txt") and "__pycache__" not in one.parts)


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each source that is linked to, and for what lies in folders that are."""
    paths = {ROOT / path for path in linked_by(app)}
    paths |= {one for folder in paths if folder.is_dir() for one in listed(folder)}
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        if path.is_dir():
            inside = (one.relative_to(path).as_posix() for one in listed(path))
            items = "".join(f'<li><a href="{path.name}/{one}.html"><code>{one}</code></a></li>' for one in inside)
            body = f"<ul>{items}</ul>"
        else:
            text = path.read_text(encoding="utf-8")
            body = app.builder.highlighter.highlight_block(text, LEXERS.get(path.suffix, "text"), linenos=False)  # type: ignore[attr-defined]
        yield f"{SOURCES}/{name}", {"title": name, "body": f"<h1><code>{name}</code></h1>\n{body}"}, "page.html"


# --- the first page under the name that browsers look for


def index_page(app: Sphinx, exception: Exception | None) -> None:
    """``index.html`` is the first page."""
    if exception is None and app.builder.format == "html":
        first = Path(app.outdir) / f"{app.config.root_doc}.html"
        (first.parent / "index.html").write_bytes(first.read_bytes())


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("source-read", navigation)
    app.connect("doctree-read", link_sources, priority=100)  # before Sphinx copies files that are linked to
    app.connect("html-collect-pages", source_pages)
    app.connect("html-page-context", captions, priority=900)  # after the theme has drawn it
    app.connect("build-finished", index_page)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
