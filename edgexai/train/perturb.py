"""The attack inside a training step: FGSM with a random start, and PGD, under l-infinity or l2, in pixels.

Convention: ``steps`` steps of 2.5 eps / steps, at most 1.25 eps (so one step is the FGSM of Wong et al., arXiv
2001.03994), from a uniform point of the ball; l-infinity steps go along the sign of the gradient, l2 steps along the
gradient itself at unit length (Madry et al., arXiv 1706.06083). Images stay in [0,1]; mean and standard deviation are
the network's own business, so ``eps`` means pixels. Random draws come from the generator of the batch.

``edgexai.attack`` measures networks, from a seed and in eval mode; this is for the inside of a step. The geometry of
l2 is the same code; that of l-infinity works on the change instead of the points, as refinement always did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgexai.attack.ball import Norm, ascent, project
from edgexai.train.share import Share

_LONGEST = 1.25  # of eps, for the default step


@dataclass(frozen=True)
class Adversary:
    """How far, in which norm, and in how many steps.

    Attributes:
        eps: radius, pixels of [0,1]: the largest change of one value (linf), or the Euclidean length of the change of
            a whole image (l2).
        norm: "linf" or "l2".
        steps: gradient steps, at least 1.
        step: length of a step in the unit of ``eps``; None = the default of the module docstring.
    """

    eps: float
    norm: Norm = "linf"
    steps: int = 1
    step: float | None = None

    @property
    def step_length(self) -> float:
        """Of one step, in the unit of ``eps``."""
        return min(_LONGEST, 2.5 / self.steps) * self.eps if self.step is None else self.step

    def start(self, images: Tensor, generator: torch.Generator, *, share: Share | None = None) -> Tensor:
        """A uniform draw from the ball around zero, like ``images`` (N,3,H,W); not yet cut to [0,1].

        Args:
            images: what to start beside.
            generator: CPU generator; all draws come from it.
            share: ``images`` are these rows of a batch that is drawn for as a whole; None = they are the batch.
        """
        share = Share(0, 1, len(images)) if share is None else share
        n, (height, width) = share.whole(len(images)), images.shape[2:]
        if self.norm == "linf":
            draw = share.mine(torch.rand(n, height, width, 3, generator=generator)).to(images.device)
            return (draw.permute(0, 3, 1, 2) * 2 - 1) * self.eps
        draw = share.mine(torch.randn(n, height, width, 3, generator=generator)).to(images.device).permute(0, 3, 1, 2)
        radius = share.mine(torch.rand(n, 1, 1, 1, generator=generator)).to(images.device)
        # a share r of the radius holds r ** (number of values) of the ball's volume
        return ascent(draw, norm="l2") * self.eps * radius ** (1 / images[0].numel())

    def ascend(self, points: Tensor, images: Tensor, gradient: Tensor) -> Tensor:
        """One step up from ``points``, back into the ball around ``images`` and into [0,1]; nothing is modified.

        All are (N,3,H,W). As ``images`` lie in [0,1], cutting to [0,1] moves no value further from its image.
        """
        move = self.step_length * ascent(gradient, norm=self.norm)
        if self.norm == "linf":
            return (images + (points - images + move).clamp(-self.eps, self.eps)).clamp(0, 1)
        return project(points + move, images, eps=self.eps, norm=self.norm)


def perturb(
    objective: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    adversary: Adversary,
    generator: torch.Generator,
    share: Share | None = None,
) -> Tensor:
    """Images changed so that ``objective`` grows.

    Args:
        objective: (N,3,H,W) -> one number, *summed* over images, so that each gradient is its image's own.
        images: (N,3,H,W) in [0,1]; not modified.
        generator: CPU generator; the start is drawn from it.
        share: ``images`` are these rows of a batch that is drawn for as a whole; None = they are the batch.

    Returns:
        (N,3,H,W), detached: the last iterate, in the ball and in [0,1].
    """
    points = (images + adversary.start(images, generator, share=share)).clamp(0, 1)
    for _ in range(adversary.steps):
        points = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(objective(points), points)
        points = adversary.ascend(points.detach(), images, gradient)
    return points
