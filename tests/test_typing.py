"""What users write against the public surface passes strict checking of types, and what is wrong there is seen."""

import subprocess
import sys
from pathlib import Path

import pytest

USER = Path(__file__).parent / "typed_use.py"


def complaints(path: Path, cache: Path) -> list[str]:
    """What mypy says of a file under ``--strict``, without settings of this repository."""
    asked = ["--strict", "--config-file=", f"--cache-dir={cache}", "--follow-imports=silent", "--no-error-summary"]
    done = subprocess.run([sys.executable, "-m", "mypy", *asked, str(path)], capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if "error:" in line]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mypy")
    return tmp_path_factory.mktemp("cache")


def test_the_public_surface_is_typed(cache: Path, tmp_path: Path) -> None:
    assert complaints(USER, cache) == []
    planted = tmp_path / "planted.py"
    for right, wrong, code in (
        ("label: str = verdict.label", "label: int = verdict.label", "assignment"),
        ("law.perturbation_stability()", "law.no_such_name()", "attr-defined"),
        ('ntr.Adversary(epsilon=0.05, norm="l2")', 'ntr.Adversary(epsilon="much")', "arg-type"),
        ("found: xr.Dataset = ntr.measure(", "found: int = ntr.measure(", "assignment"),
    ):
        text = USER.read_text(encoding="utf-8")
        assert right in text
        planted.write_text(text.replace(right, wrong), encoding="utf-8")
        (said,) = complaints(planted, cache)
        assert f"[{code}]" in said
