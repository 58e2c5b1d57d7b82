"""What all tests share."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _same_draws_in_any_order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test draws the same numbers whichever tests of its file ran before it, in this process or in another."""
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(0))
