"""What of a recipe is stored already: one line a node. Nothing is computed or written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edgexai.config.load import LoadedRecipe
from edgexai.recipe import SOURCE_DIGEST, STAGES
from edgexai.recipe.run import planned
from edgexai.recipe.store import Store
from edgexai.registry import Entry


class NodeStatus(NamedTuple):
    """One node of the plan.

    Attributes:
        node: its name.
        stage: its stage.
        key: first 12 hexadecimal digits.
        stored: an undamaged entry is there.
        size_bytes: of the entry's files, or of the checkpoint; 0 without either.
        checkpoint: an interrupted run left work to take up.
        problem: what is damaged; "" if nothing is.
    """

    node: str
    stage: str
    key: str
    stored: bool
    size_bytes: int
    checkpoint: bool
    problem: str


def recipe_status(
    loaded: LoadedRecipe,
    *,
    home: Path,
    data_root: Path | None = None,
    device: str = "cpu",
    stages: Mapping[str, Entry] = STAGES,
    source_digest: Entry = SOURCE_DIGEST,
) -> list[NodeStatus]:
    """Status of every node, in the order in which they run; every stored file is checked.

    Args:
        loaded: the recipe.
        home: ``EDGEXAI_HOME``.
        data_root: where data sets lie.
        device: timings on "cpu" and "cuda" are different entries.
        stages: registry of stage functions.
        source_digest: registry entry of the data's digest.

    Raises:
        MissingCapability: the data are not on this machine.
    """
    problems: dict[str, str] = {}

    def note(event: Mapping[str, Any]) -> None:
        problems[str(event["node"])] = str(event["problem"])

    nodes, keys = planned(
        loaded, home=home, device=device, data_root=data_root, stages=stages, source_digest=source_digest, write=False
    )
    store = Store(home / "store", progress=note)
    rows = []
    for node in nodes:
        key = keys[node.name]
        found = store.find(node, key)
        left = store.work(node, key)
        size = _size_bytes(left if found is None else found)
        checkpoint = found is None and left.is_dir() and any(left.iterdir())
        rows.append(
            NodeStatus(
                node.name, node.stage, key[:12], found is not None, size, checkpoint, problems.get(node.name, "")
            )
        )
    return rows


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
