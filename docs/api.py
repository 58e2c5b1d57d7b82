"""Write the reference of everything public from its docstrings: ``python docs/api.py``, into docs/api/.

A page for the package and one for each public module. What has no docstring, and a constant without a string below
it, ends the program.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import ntkrobust
from ntkrobust import kernels
from ntkrobust.files.atomic import write_text

FOLDER = Path(__file__).parent / "api"
ROOT = Path(ntkrobust.__file__).parents[1]

PAGES: dict[str, ModuleType] = {
    "ntkrobust": ntkrobust,
    "attacks": ntkrobust.attacks,
    "measures": ntkrobust.measures,
    "claims": ntkrobust.claims,
    "data": ntkrobust.data,
    "plots": ntkrobust.plots,
    "kernels": kernels,
}
"""Name of a page → the module whose ``__all__`` stands on it."""

SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example")
ROLE = re.compile(r":(\w+):`~?([^`]+)`")
CODE = re.compile(r"``(.+?)``")
KEPT = re.compile(r"(`[^`]*`|\$[^$]*\$|\]\([^)]*\))")
ITEM = re.compile(r"([\w*, ]+?): (.*)", flags=re.DOTALL)
LINE = 100
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class UndocumentedError(Exception):
    """Something public has no docstring."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A public name.

    Attributes:
        page: where it is documented: the first page that has it.
        name: as users write it after the module's name.
        value: what it is.
        module: whose ``__all__`` has it.
    """

    page: str
    name: str
    value: Any
    module: ModuleType

    @cached_property
    def is_constant(self) -> bool:
        """Whether it is neither a class nor a function nor a module, so that its docstring stands below it."""
        return not (inspect.isclass(self.value) or inspect.isroutine(self.value) or inspect.ismodule(self.value))

    @cached_property
    def docstring(self) -> str:
        """What is said of it.

        Raises:
            UndocumentedError: nothing is.
        """
        said = constant_docstring(self.module, self.name) if self.is_constant else inspect.getdoc(self.value)
        if inspect.isclass(self.value):
            said = inspect.cleandoc(vars(self.value).get("__doc__") or "")  # never that of its base
        # Dataclasses and named tuples without one are given their signature.
        if not said or not said.strip() or said.startswith(f"{self.name}("):
            raise UndocumentedError(f"{self.page}: {self.name} has no docstring")
        return said

    @cached_property
    def home(self) -> str:
        """The file it is written in, from the root of the repository; "" for a module of another package."""
        file = defining_module(self.module, self.name) if self.is_constant else inspect.getsourcefile(self.value)
        path = Path(str(file)).resolve()
        return path.relative_to(ROOT.resolve()).as_posix() if path.is_relative_to(ROOT.resolve()) else ""


def constant_docstring(module: ModuleType, name: str) -> str | None:
    """The string below the assignment of a constant, in the module that makes it."""
    body = ast.parse(Path(defining_module(module, name)).read_text(encoding="utf-8")).body
    for statement, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        said = below.value if isinstance(below, ast.Expr) else None
        if any(isinstance(one, ast.Name) and one.id == name for one in targets) and isinstance(said, ast.Constant):
            return inspect.cleandoc(str(said.value))
    return None


def defining_module(module: ModuleType, name: str) -> str:
    """The file in which a constant is assigned, by way of ``from … import``."""
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.ImportFrom) and any(name == (one.asname or one.name) for one in statement.names):
            return defining_module(__import__(str(statement.module), fromlist=["_"]), name)
    return str(inspect.getsourcefile(module))


def entries(pages: Mapping[str, ModuleType] = PAGES) -> list[Entry]:
    """Everything public, once, page by page."""
    found: list[Entry] = []
    for page, module in pages.items():
        names = sorted(module.__all__, key=lambda name: (name.lower(), name))
        known = {(one.name, id(one.value)) for one in found}
        for name in names:
            value = getattr(module, name)
            if (name, id(value)) not in known:
                found.append(Entry(page, name, value, module))
    return found


def signature(name: str, value: Any) -> str:
    """How it is called, a parameter a line where one line would be too long."""
    call = inspect.signature(initializer(value))
    parameters = [one for one in call.parameters.values() if one.name != "self"]
    shown = [parameter(one) for one in parameters]
    keywords = [index for index, one in enumerate(parameters) if one.kind is one.KEYWORD_ONLY]
    if keywords and not any(one.kind is one.VAR_POSITIONAL for one in parameters):
        shown.insert(keywords[0], "*")
    returned = "" if inspect.isclass(value) else annotated(call.return_annotation)
    arrow = f" -> {returned}" if returned not in ("", "None") else ""
    line = f"{name}({', '.join(shown)}){arrow}"
    return line if len(line) <= LINE else f"{name}(\n" + "".join(f"    {one},\n" for one in shown) + f"){arrow}"


def initializer(value: Any) -> Any:
    """What says how a class is called: its fields, where an inherited ``__new__`` takes anything."""
    return value.__init__ if inspect.isclass(value) and dataclasses.is_dataclass(value) else value


def parameter(one: inspect.Parameter) -> str:
    """One parameter, as code."""
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    kind = annotated(one.annotation)
    shown = one.default.__name__ if inspect.isclass(one.default) else repr(one.default)
    default = "" if one.default is one.empty else ADDRESS.sub("", shown)
    equals = (" = " if kind else "=") if default else ""
    return f"{stars}{one.name}{f': {kind}' if kind else ''}{equals}{default}"


def annotated(annotation: Any) -> str:
    """An annotation as the code has it; "" for none."""
    if annotation is inspect.Parameter.empty:
        return ""
    annotation = getattr(annotation, "__forward_arg__", annotation)
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


class Links:
    """Where public names are documented, as seen from one page."""

    def __init__(self, found: list[Entry], page: str) -> None:
        places: dict[str, dict[str, str]] = {}
        counts: dict[tuple[str, str], int] = {}
        for one in found:
            anchor = one.name.lower()
            times = counts[one.page, anchor] = counts.get((one.page, anchor), 0) + 1
            file = "" if one.page == page else f"{one.page}.md"
            # GitHub's: a heading that differs from an earlier one in case only has a number.
            places.setdefault(one.name, {})[one.page] = f"{file}#{anchor}{f'-{times - 1}' if times > 1 else ''}"
        self.places, self.page = places, page

    def of(self, name: str, page: str | None = None) -> str | None:
        """The address of a name: that of ``page``, of this one, or of the only one that has it."""
        places = self.places.get(name, {})
        only = next(iter(places.values())) if len(places) == 1 else None
        return places.get(page or self.page, only)

    def reference(self, role: str, target: str) -> str:
        """What stands for a role such as ``:func:`~ntkrobust.data.load``` of a docstring."""
        *path, name = target.removeprefix("ntkrobust.").split(".")
        if path and path[-1][0].isupper():
            return f"`{path[-1]}.{name}`"
        room = path[-1] if path else "ntkrobust" if target.startswith("ntkrobust.") else ""
        address = None if role in ("meth", "attr") else self.of(name, room if room in PAGES else None)
        return f"[`{name}`]({address})" if address else f"`{name}`"


def inline(text: str, links: Links) -> str:
    """A docstring's markup as Markdown; what stands on a page is a link to it."""
    text = ROLE.sub(lambda match: links.reference(match[1], match[2]), text)
    return "".join(
        part if index % 2 else part.replace("*", r"\*").replace("<", r"\<")
        for index, part in enumerate(KEPT.split(CODE.sub(r"`\1`", text)))
    )


def sections(docstring: str) -> Iterator[tuple[str, str]]:
    """(title, text) of a docstring; the title of what comes first is empty."""
    heads = "|".join(SECTIONS)
    parts = re.split(rf"(?m)^({heads}):{{1,2}}$", docstring)
    yield "", parts[0].strip()
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        inside = re.match(r"(?:\n|[ \t]+.*(?:\n|$))*", text)
        body = inside[0] if inside else ""
        yield title, textwrap.dedent(body).strip("\n")
        if text[len(body) :].strip():
            yield "", text[len(body) :].strip()


def items(text: str) -> list[str]:
    """The paragraphs of a section that begin at its margin, each with its indented lines."""
    return [textwrap.dedent(one).strip() for one in re.split(r"\n(?=\S)", text)]


def markdown(docstring: str, links: Links) -> Iterator[str]:
    """The blocks of a docstring."""
    for title, text in sections(docstring):
        if title in ("Args", "Attributes", "Raises"):
            yield f"**{title}**"
            yield "\n".join(listed(one, links) for one in items(text))
        elif title == "Example":
            yield f"```python\n{text}\n```"
        else:
            if title:
                yield f"**{title}**"
            yield from prose(text, links)


def listed(item: str, links: Links) -> str:
    """``name: text`` as an item of a list."""
    match = ITEM.match(item)
    if match is None:
        return f"- {flowing(item, links)}"
    return f"- `{match[1]}`: {flowing(match[2], links)}"


def flowing(text: str, links: Links) -> str:
    """A text whose line breaks mean nothing."""
    return inline(" ".join(text.split()), links)


def prose(text: str, links: Links) -> Iterator[str]:
    """Paragraphs, lists and examples, ``::`` and four spaces before each line."""
    is_example = False
    for paragraph in re.split(r"\n\s*\n", text):
        if is_example and paragraph.startswith("    "):
            yield f"```python\n{textwrap.dedent(paragraph)}\n```"
            continue
        is_example = paragraph.rstrip().endswith("::")
        paragraph = paragraph.rstrip().removesuffix("::") + ":" * is_example
        bullets = re.split(r"\n(?=- )", paragraph)
        if all(one.startswith("- ") for one in bullets):
            yield "\n".join(f"- {flowing(one[2:], links)}" for one in bullets)
        else:
            yield flowing(paragraph, links)


def members(kind: type, public: frozenset[type]) -> Iterator[tuple[str, Any]]:
    """What a class adds to the bases that are public themselves: methods and properties, in the order of the code."""
    inherited = {name for base in kind.__mro__[1:] if base in public for name in dir(base)}
    seen: set[str] = set()
    for owner in kind.__mro__:
        if (owner in public and owner is not kind) or not owner.__module__.startswith("ntkrobust."):
            continue
        for name, value in vars(owner).items():
            function = getattr(value, "__func__", value)
            is_member = inspect.isfunction(function) or isinstance(value, property | cached_property)
            if name.startswith("_") or name in seen | inherited or not is_member:
                continue
            seen.add(name)
            yield name, value


def member(entry: Entry, name: str, value: Any, links: Links) -> Iterator[str]:
    """The blocks of one method or property."""
    said = inspect.getdoc(getattr(entry.value, name))
    if isinstance(value, property | cached_property):
        said, called = inspect.getdoc(value) or said, f"{entry.name}.{name}"
    else:
        called = signature(f"{entry.name}.{name}", getattr(entry.value, name))
    if not said:
        raise UndocumentedError(f"{entry.page}: {entry.name}.{name} has no docstring")
    yield f"### `{entry.name}.{name}`"
    if "(" in called:
        yield f"```python\n{called}\n```"
    yield from markdown(said, links)


def table(values: Mapping[Any, Any]) -> list[str]:
    """What names stand for; of measures also what they say of themselves."""
    if not all(isinstance(one, ntkrobust.Measure) for one in values.values()):
        return ["| name | |", "|---|---|", *(f"| `{key}` | `{one!r}` |" for key, one in values.items())]
    rows = (
        f"| `{key}` | `{one!r}` | {one.side} | {', '.join(one.needs)} | {one.source.replace('|', chr(92) + '|')} |"
        for key, one in values.items()
    )
    return ["| name | | side | needs | source |", "|---|---|---|---|---|", *rows]


def blocks(entry: Entry, public: frozenset[type], links: Links) -> Iterator[str]:
    """The blocks of one public name."""
    value, said = entry.value, entry.docstring
    yield f"## `{entry.name}`"
    if inspect.ismodule(value):
        page = next((page for page, module in PAGES.items() if module is value), None)
        yield flowing(said.partition("\n\n")[0], links) + (f" [All of it]({page}.md)." if page else "")
        return
    if not entry.is_constant:
        yield f"```python\n{signature(entry.name, value)}\n```"
    yield from markdown(said, links)
    if isinstance(value, Mapping):
        yield "\n".join(table(value))
    elif isinstance(value, tuple):
        yield ", ".join(f"`{one}`" for one in value)
    if entry.home:
        yield f"Source: [{entry.home}](../../{entry.home})"
    if inspect.isclass(value):
        for name, one in members(value, public):
            yield from member(entry, name, one, links)


def reference(pages: Mapping[str, ModuleType] = PAGES) -> dict[str, str]:
    """File name → text of every page.

    Raises:
        UndocumentedError: something public has no docstring.
    """
    found = entries(pages)
    public = frozenset(one.value for one in found if inspect.isclass(one.value))
    written = {}
    for page, module in pages.items():
        here, links = [one for one in found if one.page == page], Links(found, page)
        elsewhere = sorted(set(module.__all__) - {one.name for one in here}, key=str.lower)
        called = module.__name__ if page in ("ntkrobust", "kernels") else f"ntkrobust.{page}"
        said = (inspect.getdoc(module) or "").partition("\n\n")[0]
        parts = [f"# `{called}`", flowing(said, links), "Written by `python docs/api.py` from the docstrings.",
                 " · ".join(f"[`{one.name}`]({links.of(one.name)})" for one in here)]  # fmt: skip
        if elsewhere:
            parts.append("Also here: " + ", ".join(f"[`{name}`]({links.of(name)})" for name in elsewhere) + ".")
        parts += [block for one in here for block in blocks(one, public, links)]
        written[f"{page}.md"] = "\n\n".join(parts) + "\n"
    return written


def main() -> None:
    """Write every page."""
    for name, text in reference().items():
        write_text(FOLDER / name, text)
        print(FOLDER / name)


if __name__ == "__main__":
    main()
