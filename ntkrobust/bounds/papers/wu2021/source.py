"""Where the statements come from."""

from __future__ import annotations

from typing import Any

SOURCE = "Wu, Chen, Cai, He, Gu 2021, Do wider neural networks really help adversarial robustness? (arXiv 2010.01279)"

ABSTRACT: dict[str, Any] = {"source": f"{SOURCE}, abstract", "provenance": "abstract"}
"""Source and provenance of what the abstract says."""
