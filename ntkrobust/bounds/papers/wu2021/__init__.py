"""Wu et al. 2021: what networks show for its statements, untrained, naturally and adversarially trained."""

from ntkrobust.bounds.papers.wu2021 import adversarial, natural
from ntkrobust.bounds.papers.wu2021.natural import bounds

__all__ = ["adversarial", "bounds", "natural"]
