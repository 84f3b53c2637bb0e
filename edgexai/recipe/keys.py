"""Keys of the store: SHA-256 of the canonical JSON of everything that decides a stage's output.

What counts: stage, entry version, its table with defaults, seed, the keys of its inputs by role, and ``extra`` (the
data digest; the machine of a timing). Titles, sources, recipe and node names never count, so recipes share entries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgexai.recipe.plan import Node


def canonical(value: Any) -> str:
    """JSON with sorted keys, no spaces and ASCII only: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of ``canonical(value)``, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def node_key(node: Node, input_keys: Mapping[str, str]) -> str:
    """Key of one node.

    Args:
        node: from ``plan``.
        input_keys: role -> key of the node that fills the role.
    """
    return digest(
        {
            "stage": node.stage,
            "version": node.version,
            "table": node.table,
            "seed": node.seed,
            "inputs": dict(input_keys),
            "extra": node.extra,
        }
    )


def plan_keys(nodes: Sequence[Node]) -> dict[str, str]:
    """Node name -> key, for nodes in the order ``plan`` gives (inputs before users)."""
    keys: dict[str, str] = {}
    for node in nodes:
        keys[node.name] = node_key(node, {role: keys[name] for role, name in node.inputs.items()})
    return keys
