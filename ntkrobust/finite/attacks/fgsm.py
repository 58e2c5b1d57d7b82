"""The fast gradient sign method, in any norm: one step (Goodfellow et al., arXiv 1412.6572)."""

from __future__ import annotations

from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.balls import Ball, climb
from ntkrobust.finite.attacks.base import Attack
from ntkrobust.finite.attacks.found import Found
from ntkrobust.finite.attacks.gradient import Look, State, Track
from ntkrobust.norms import Norm


class FGSM(Attack):
    """One step of length ε along the steepest direction of the cross entropy."""

    def search(self, target: AttackedNetwork, found: Found) -> Found:
        """The worse of what was found and the end of the step."""
        loss = target.cross_entropy()
        return fgsm(self.norm, lambda x: target.look(x, loss), target.ball, target.judge_seen, found)

    def key_index(self) -> int:
        """Of this package."""
        return 0


def fgsm(norm: Norm, look: Look, ball: Ball, track: Track[State], state: State) -> State:
    """One step of length ε from the input."""
    return track(state, look(climb(norm, ball, ball.centre, look(ball.centre).gradient, ball.radius)))
