"""What all tests share."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from ntkrobust.finite.plan import PROGRAMS


@pytest.fixture(autouse=True, scope="module")
def _programs_of_one_file() -> Iterator[None]:
    """No process keeps the programs of all files: each takes some 70 mappings of memory, and Linux allows 65 530."""
    yield
    PROGRAMS.clear()
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _same_draws_in_any_order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test draws the same numbers whichever tests of its file ran before it, in this process or in another."""
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(0))
