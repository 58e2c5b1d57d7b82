"""Where the statements come from."""

from __future__ import annotations

from typing import Any

SOURCE = (
    "Zhu, Liu, Chrysos, Cevher 2022, Robustness in deep learning: the good, the bad, and the ugly (arXiv 2209.07263)"
)

ABSTRACT: dict[str, Any] = {"source": f"{SOURCE}, abstract", "provenance": "abstract"}
"""Source and provenance of what the abstract says."""
