"""The network that ``edgexai explain --against RUN`` holds the methods against: one trained on shuffled labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgexai.errors import MissingCapability, UserError

if TYPE_CHECKING:
    from torch import nn

    from edgexai.cli.explain_model import OpenedModel

_HOW = (
    "edgexai recipe run RECIPE train.shuffle_labels=true train.augment=none train.weight_decay=0 --until train, with "
    "epochs enough to learn them by heart"
)


@dataclass(frozen=True)
class Against:
    """A twin of the same architecture that learnt labels which say nothing.

    Attributes:
        run: as on the command line.
        net: in eval mode.
        learnt: share of its own shuffled training labels that it gets right: what it learnt by heart. One that learnt
            nothing is as good as random weights.
        chance: 1 / classes.
    """

    run: str
    net: nn.Module
    learnt: float
    chance: float


def open_against(name: str, opened: OpenedModel) -> Against:
    """Opens the run.

    Args:
        name: a recipe's name (its latest run) or a run folder.
        opened: what is explained; its twin is the other side.

    Raises:
        MissingCapability: what is explained has no twin.
        UserError: no such run, its labels were not shuffled, or its network is another architecture.
    """
    import torch

    from edgexai.cli.report import find_run
    from edgexai.config.home import default_home
    from edgexai.models import store
    from edgexai.models.base import Network
    from edgexai.recipe.twin_of_run import twin_of_run

    if opened.twin is None:
        raise MissingCapability(
            "--against holds the run's own network against another, and an ONNX file is explained as it is",
            next_step="explain the run whose twin is here, or leave --against out",
        )
    home = default_home()
    run = find_run(name, home)
    folder = twin_of_run(run, home / "store")
    if folder is None:
        raise UserError(f"--against {name}: the network of {run} is not in the store", next_step=_HOW)
    learnt = _learnt(folder)
    if learnt is None:
        raise UserError(f"--against {name}: it was not trained on shuffled labels", next_step=_HOW)
    net, own = store.load(folder).eval(), opened.twin
    if not isinstance(own, Network):
        raise UserError(f"--against: {opened.name} is no network that a recipe trained", next_step="explain a run")
    for what in ("name", "widths", "classes", "size", "own"):
        ours, theirs = getattr(own.arch, what), getattr(net.arch, what)
        if ours != theirs:
            raise UserError(
                f"--against {name}: another architecture: {what} {_short(theirs)}, that of {opened.name} is "
                f"{_short(ours)}",
                next_step="train the same network on shuffled labels; of a pruned run, compare its unpruned sibling",
            )
    known = own.state_dict()
    if all(torch.equal(value, known[key]) for key, value in net.state_dict().items()):
        raise UserError(
            f"--against {name}: that is the very network of {opened.name}",
            next_step="a recipe's name means its latest run, whatever was changed in it: name the folders of the runs",
        )
    return Against(name, net, learnt, 1 / net.arch.classes)


def _learnt(folder: Path) -> float | None:
    try:
        share = json.loads((folder / "summary.json").read_text(encoding="utf-8")).get("shuffled_train_acc")
    except (OSError, ValueError, AttributeError):
        return None
    return float(share) if isinstance(share, int | float) else None


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
