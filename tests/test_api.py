"""The reference in docs/api: as the docstrings are, complete, and with links that lead somewhere."""

import importlib.util
import inspect
import re
import sys
import types
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def of_file(path):
    """A module of a file that no package holds."""
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


api = of_file(DOCS / "api.py")


@pytest.fixture(scope="module")
def pages():
    return api.reference()


def test_it_is_as_the_docstrings_are(pages):
    stored = {path.name: path.read_text(encoding="utf-8") for path in api.FOLDER.iterdir()}
    assert sorted(stored) == sorted(pages)
    for name, text in pages.items():
        assert stored[name] == text, f"{name} is not what the docstrings say: run `python docs/api.py`"


def test_everything_public_is_there(pages):
    for page, module in api.PAGES.items():
        headings = set(re.findall(r"(?m)^## `(\w+)`$", pages[f"{page}.md"]))
        also = set(re.findall(r"\[`(\w+)`\]", pages[f"{page}.md"].partition("\nAlso here: ")[2].partition("\n")[0]))
        assert headings | also == set(module.__all__)


def anchors(text):
    """What the headings of a page are linked by, as GitHub makes it of them."""
    found = []
    for heading in re.findall(r"(?m)^#+ (.*)$", text):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        times = sum(one.partition("-")[0] == anchor for one in found)
        found.append(f"{anchor}-{times}" if times else anchor)
    return set(found)


def test_links_lead_somewhere(pages):
    for name, text in pages.items():
        for file, anchor in re.findall(r"\]\((?!\.\.)([\w.]*)#?([\w-]*)\)", text):
            assert not anchor or anchor in anchors(pages[file or name]), (name, file, anchor)
            assert (file or name) in pages
        for path in re.findall(r"\]\(\.\./\.\./(.*?)\)", text):
            assert (DOCS.parent / path).is_file(), path


def a_page(source, **names):
    """Module of a source, in a file, with ``__all__``."""
    module = types.ModuleType("own")
    exec(source, vars(module))
    module.__all__ = list(names) or [name for name in vars(module) if not name.startswith("_")]
    return module


DOCUMENTED = '''
"""A module."""

class Thing:
    """A thing of :func:`make`, x < *n*.

    Attributes:
        size: how large,
            in metres.
    """

    def grow(self, by: int = 1, *, fast: bool) -> float:
        """Larger by ``by``.

        Raises:
            ValueError: it is too large.
        """

def make(size, /):
    """A thing::

        make(1)
    """
'''


def test_what_a_page_looks_like():
    module = a_page(DOCUMENTED)
    for name in ("Thing", "make"):
        getattr(module, name).__module__ = "ntkrobust.own"
    links = api.Links([api.Entry("own", name, getattr(module, name), module) for name in ("Thing", "make")], "own")
    thing = "\n\n".join(api.markdown(inspect.cleandoc(module.Thing.__doc__), links))
    assert thing == (
        "A thing of [`make`](#make), x \\< \\*n\\*.\n\n**Attributes**\n\n- `size`: how large, in metres."
    )  # fmt: skip
    entry = api.Entry("own", "Thing", module.Thing, module)
    ((name, value),) = api.members(module.Thing, frozenset({module.Thing}))
    assert "\n".join(api.member(entry, name, value, links)) == (
        "### `Thing.grow`\n```python\nThing.grow(by: int = 1, *, fast: bool) -> float\n```\n"
        "Larger by `by`.\n**Raises**\n- `ValueError`: it is too large."
    )
    assert list(api.markdown("A thing::\n\n    make(1)", links)) == ["A thing:", "```python\nmake(1)\n```"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("class Bare:\n    pass\n", "Bare"),
        ("import dataclasses\n@dataclasses.dataclass\nclass Bare:\n    size: int = 1\n", "Bare"),
        ("import typing\nclass Bare(typing.NamedTuple):\n    size: int\n", "Bare"),
        ("class _Base:\n    'Said of another.'\nclass Bare(_Base):\n    pass\n", "Bare"),
        ("def bare(size):\n    return size\n", "bare"),
    ],
)
def test_what_has_no_docstring_is_noticed(source, name):
    module = a_page(source)
    thing = getattr(module, name)
    thing.__module__ = "ntkrobust.own"
    entry = api.Entry("own", name, thing, module)
    with pytest.raises(api.UndocumentedError, match=r"(?i)bare has no docstring"):
        list(api.blocks(entry, frozenset({thing}), api.Links([entry], "own")))


def test_a_method_without_docstring_is_noticed():
    module = a_page("class Thing:\n    'Said.'\n    def bare(self):\n        return 1\n")
    entry = api.Entry("own", "Thing", module.Thing, module)
    with pytest.raises(api.UndocumentedError, match=r"Thing\.bare has no docstring"):
        list(api.member(entry, "bare", module.Thing.bare, api.Links([entry], "own")))


def test_a_constant_is_documented_by_the_string_below_it(tmp_path, monkeypatch):
    (tmp_path / "constants.py").write_text('SAID = 1\n"""One."""\n\nUNSAID = 2\n', encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("constants")
    assert api.Entry("own", "SAID", 1, module).docstring == "One."
    with pytest.raises(api.UndocumentedError, match="UNSAID"):
        api.Entry("own", "UNSAID", 2, module).docstring  # noqa: B018
