"""What is released: versions that agree, a citation file that tools read, clean distributions, completion, CI."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import ntkrobust as ntr

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# --- citation: the part of the schema of the Citation File Format 1.2.0 that such a file can break

CFF_KEYS = {
    "abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords",
    "license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact",
    "repository-code", "title", "type", "url", "version",
}  # fmt: skip
PERSON = {"given-names", "family-names", "name-particle", "name-suffix", "alias", "affiliation", "orcid", "email"}
ENTITY = {"name", "alias", "website", "email", "orcid", "date-start", "date-end", "location"}


def faults_of_citation(text: str) -> list[str]:
    cited = yaml.safe_load(text)
    found = [f"lacks {key}" for key in ("cff-version", "message", "title", "authors") if not cited.get(key)]
    found += [f"unknown {key}" for key in sorted(cited.keys() - CFF_KEYS)]
    found += [] if cited.get("cff-version") == "1.2.0" else ["another version of the format"]
    found += [] if cited.get("type", "software") in ("software", "dataset") else ["the type"]
    if cited.get("version") != ntr.__version__:
        found.append("the version is not that of the package")
    if cited.get("license") != PROJECT["project"]["license"]:
        found.append("the licence is not that of the package")
    for work in (cited, *cited.get("references", ())):
        found += [f"{work.get('title')}: lacks {key}" for key in ("authors", "title", "type") if not work.get(key)]
        for author in work.get("authors", ()):
            kind = ENTITY if "name" in author else PERSON
            found += [f"an author with {key}" for key in sorted(author.keys() - kind)]
        for one in work.get("identifiers", ()):
            found += [] if one.get("type") in ("doi", "url", "swh", "other") and one.get("value") else ["an identifier"]
    return found


def test_the_citation_file_is_valid() -> None:
    assert faults_of_citation(CITATION) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("cff-version: 1.2.0", "cff-version: 1.1.0"),
        ("version: 0.1.0", "version: 0.2.0"),
        ("license: MIT", "license: BSD-3-Clause"),
        ("message:", "massage:"),
        ("family-names: Wu", "surname: Wu"),
        ("type: article", "kind: article"),
        ("type: other", "type: arxiv"),
    ],
)
def test_a_wrong_citation_file_is_noticed(right: str, wrong: str) -> None:
    assert right in CITATION
    assert faults_of_citation(CITATION.replace(right, wrong))


# --- versions


def test_versions_agree() -> None:
    assert PROJECT["project"]["version"] == ntr.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", ntr.__version__)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^## \[(Unreleased|{re.escape(ntr.__version__)})\]", changes)
    assert ntr.__version__ in changes


def supported_pythons() -> list[str]:
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert named[0] == lowest
    return named


# --- workflows of the public forge


def faults_of_workflow(text: str) -> list[str]:
    flow = yaml.safe_load(text)
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    found = [f"{one} is not pinned" for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one)]
    if flow.get("permissions") != {"contents": "read"}:
        found.append("permissions")
    found += [f"{name} has no time limit" for name, job in flow["jobs"].items() if "timeout-minutes" not in job]
    made = " ".join(step.get("run", "") for step in steps)
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    return found + [f"make {one} is no target" for one in re.findall(r"make ([a-z-]+)", made) if one not in targets]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_sound(path: Path) -> None:
    assert faults_of_workflow(path.read_text(encoding="utf-8")) == []


def test_a_workflow_that_is_not_sound_is_noticed() -> None:
    text = WORKFLOWS[-1].read_text(encoding="utf-8")
    for right, wrong in (
        (re.search(r"checkout@[0-9a-f]{40}", text)[0], "checkout@v4"),
        ("contents: read", "contents: write"),
        ("timeout-minutes", "name"),
        ("make test ", "make tests "),
    ):
        assert faults_of_workflow(text.replace(right, wrong)), wrong


def test_the_oldest_and_the_newest_python_run_the_suite() -> None:
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    pythons = flow["jobs"]["suite"]["strategy"]["matrix"]["python"]
    assert pythons == [supported_pythons()[0], supported_pythons()[-1]]
    # and with them the oldest and the newest JAX
    pins = re.findall(r"(?m)^jax==(\d+\.\d+)\S* ; (.*)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert len(pins) == 2
    assert PROJECT["project"]["dependencies"][4] == f"jax>={pins[0][0]}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_issue_forms_have_what_a_form_needs(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem != "config":
        assert {"name", "description", "body"} <= form.keys()
        ids = [part["id"] for part in form["body"]]
        assert len(set(ids)) == len(ids)
        assert all(part["attributes"]["label"] for part in form["body"])


# --- make


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"(?m)^\.PHONY: (.*)$", text)[1].split()
    for asked in (["help"], []):
        said = subprocess.run(["make", "-s", *asked], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert [name for name in targets if not re.search(rf"(?m)^make {name} +\S", said)] == ["interpreter"]


# --- wheel and sdist

TOP = {
    "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "PKG-INFO", "README.md", "benchmarks",
    "constraints.txt", "docs", "notebooks", "ntkrobust", "pyproject.toml", "requirements-overrides.txt", "tests",
    ".gitignore",
}  # fmt: skip
JUNK = re.compile(r"__pycache__|\.pyc$|\.ipynb_checkpoints|\.egg-info|^\.venv|_cache/|\.nc$|\.npz$|(^|/)site/")


def strange(names: list[str]) -> list[str]:
    """What an sdist should not hold."""
    return [name for name in names if name.partition("/")[0] not in TOP or JUNK.search(name)]


def test_distributions_hold_what_they_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    with tarfile.open(tmp_path / build.build_sdist(str(tmp_path))) as archive:
        source = [name.partition("/")[2] for name in archive.getnames()]
    assert strange(source) == []
    assert strange([*source, "ntkrobust/__pycache__/x.pyc", ".venv/bin/python"]) != []
    with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
        built = wheel.namelist()
        entry = wheel.read(f"ntkrobust-{ntr.__version__}.dist-info/entry_points.txt").decode()
    assert "ntkrobust = ntkrobust.cli:main" in entry
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ntkrobust").rglob("*") if path.is_file()}
    ours = {name for name in here if not JUNK.search(name)}
    assert {name for name in built if ".dist-info/" not in name} == ours
    assert ours <= set(source)
    assert {"ntkrobust/py.typed", "ntkrobust/reports/report.css"} <= ours


# --- completion


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in ("ntkrobust", *words))
    asked = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _ntkrobust; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_choices(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    asked = [sys.executable, "-m", "ntkrobust", "--install-completion", "--shell", "bash", "--output", str(script)]
    done = subprocess.run(asked, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert str(script) in done.stdout
    assert "install" not in completed(script, "")
    assert completed(script, "ver") == ["verify"]
    assert completed(script, "law", "--de") == ["--depth"]
    assert completed(script, "verify", "--preset", "st") == ["standard"]
    assert completed(script, "nothing-like-it") == []
