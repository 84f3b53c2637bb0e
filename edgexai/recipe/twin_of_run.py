"""Where the twin of a run's deployed arm lies in the store. Torch-free."""

from __future__ import annotations

import json
from pathlib import Path

from edgexai.errors import UserError
from edgexai.recipe.lock import LOCK


def twin_of_run(run: Path, store: Path) -> Path | None:
    """The folder with ``weights.safetensors`` and ``arch.json`` of the network that the run's engines were made from.

    Args:
        run: a run folder.
        store: root of the store.

    Returns:
        The folder; None where the run has no network, or the store no longer holds it.

    Raises:
        UserError: the run's lock cannot be read.
    """
    try:
        nodes = json.loads((run / LOCK).read_text(encoding="utf-8"))["nodes"]
        by_name = {node["name"]: node for node in nodes}
        # arms in the order of deployment: the last one that is there is what is deployed
        made = [
            n for arm in ("natural", "refined", "pruned") for n in nodes if (n["stage"], n["arm"]) == ("export", arm)
        ]
        source = by_name[made[-1]["inputs"]["network"]] if made else _network(nodes)
        folder = None if source is None else store / source["stage"] / source["key"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{run}: not a run folder: {LOCK} cannot be read ({error})") from error
    return folder if folder is not None and (folder / "weights.safetensors").is_file() else None


def _network(nodes: list[dict[str, str]]) -> dict[str, str] | None:
    trained = [n for n in nodes if n["stage"] in ("train", "refine", "prune") and n["arm"] != "control"]
    return trained[-1] if trained else None
