"""Zhu et al. 2022: what networks show for its statements, in several readings, and what its bounds say themselves."""

from ntkrobust.bounds.papers.zhu2022 import depth, width
from ntkrobust.bounds.papers.zhu2022.bounds import bounds, orders

__all__ = ["bounds", "depth", "orders", "width"]
