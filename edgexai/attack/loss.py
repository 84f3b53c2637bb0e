"""What a gradient attack climbs: one loss per image, larger = nearer to a wrong decision.

Sources: the difference of logits ratio (DLR) and its targeted form are Croce & Hein, arXiv 2003.01690, section 4.
Convention: written so that every loss is climbed, targeted ones too. ``margin`` > 0 exactly where the decision is wrong
(targeted: where the target lies above the label), and so is ``dlr``, which divides the margin by a spread of the logits
and so does not change when all logits are scaled or shifted.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch

from edgexai.errors import UserError

LossName: TypeAlias = Literal["ce", "margin", "dlr"]
_TINY = 1e-12


def check_loss(loss: str) -> None:
    """Raises UserError for a name that is none."""
    if loss not in get_args(LossName):
        raise UserError(f'loss = "{loss}": there are {", ".join(get_args(LossName))}')


def image_losses(
    logits: torch.Tensor, labels: torch.Tensor, *, loss: LossName, targets: torch.Tensor | None = None
) -> torch.Tensor:
    """The loss of every image.

    Args:
        logits: (N,K), not probabilities.
        labels: int64 (N,), the true classes.
        loss: "ce" = cross-entropy of the label; "margin" = largest other logit minus the label's; "dlr" = that margin
            over (largest - third logit), or with targets over (largest - mean of third and fourth).
        targets: int64 (N,), other classes to climb towards instead of the largest other one; not with "ce".

    Returns:
        (N,), differentiable.

    Raises:
        UserError: unknown loss, "ce" with targets, or too few classes for "dlr" (3; with targets 4).
    """
    check_loss(loss)
    if loss == "ce":
        if targets is not None:
            raise UserError('loss = "ce" has no targeted form here', next_step='use "dlr" or "margin"')
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    own = logits.gather(1, labels[:, None])[:, 0]
    if targets is None:
        hidden = logits.scatter(1, labels[:, None], float("-inf"))
        margin = hidden.amax(1) - own
    else:
        margin = logits.gather(1, targets[:, None])[:, 0] - own
    if loss == "margin":
        return margin
    needed, classes = 3 if targets is None else 4, logits.shape[1]
    if classes < needed:
        raise UserError(f'loss = "dlr" needs {needed} classes, the model has {classes}', next_step='use loss "margin"')
    top = logits.topk(needed, dim=1).values
    low = top[:, 2] if targets is None else (top[:, 2] + top[:, 3]) / 2
    return margin / (top[:, 0] - low + _TINY)
