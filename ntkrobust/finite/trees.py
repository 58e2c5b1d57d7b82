"""Pytrees whose nodes of one kind are replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def replaced(tree: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """The pytree with ``by(node)`` in place of every node of this class; everything else stays as it is."""

    def is_kind(node: Any) -> bool:
        return isinstance(node, kind)

    return jax.tree.map(lambda node: by(node) if is_kind(node) else node, tree, is_leaf=is_kind)
