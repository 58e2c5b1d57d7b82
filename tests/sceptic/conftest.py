"""Numbers a sceptic would try to break: each beside the right value, and a table of all of them at the end.

``python -m pytest -m sceptic`` prints it. Every test here states the right value from an independent source, and stands
beside one that plants a fault and shows that the check notices.
"""

from collections.abc import Callable

import pytest

Report = Callable[[str, object, object, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "sceptic":
            item.add_marker(pytest.mark.sceptic)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Report:
    """``figure(example, seen, right, source)``: a row of the table that is printed when all tests are done."""

    def add(example: str, seen: object, right: object, source: str) -> None:
        request.node.user_properties.append(("figure", (example, _short(seen), _short(right), source)))

    return add


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
