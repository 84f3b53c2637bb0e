"""Packs a bundle: one deterministic tar that holds all a board needs, and the evidence it is to be held against."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexai.board.agent import VERSION
from edgexai.board.agent_zip import agent_bytes
from edgexai.board.canonical_tar import write_tar
from edgexai.board.golden import Golden, write_golden
from edgexai.board.manifest import NAME, write_manifest
from edgexai.board.sbom import licences_text, sbom
from edgexai.errors import UserError

ENGINE, AGENT, LOCK, ROWS = "model.onnx", "agent.pyz", "recipe.lock.json", "rows.jsonl"
_MEASURE_KEYS = {
    "attacks",
    "eps",
    "explainers",
    "fill",
    "lime_samples",
    "saliency",
    "seed",
    "size",
    "square_n",
    "square_queries",
}


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle.

    Attributes:
        name: of the bundle; of the recipe where nothing else is said.
        recipe: name of the recipe.
        arm, artefact: of the deployed network, as in ``types.Row``.
        engine: its ONNX file.
        probes: folder of the probe set.
        golden: vectors and limits.
        lock: bytes of the run's ``recipe.lock.json``.
        rows: the workstation's rows of this network, one JSON object a line.
        classes: names, in the order of the logits.
        measure: the settings of ``agent.pyz measure``: see ``_MEASURE_KEYS``, and "strong_eps" where there is one.
        versions: package -> version of what made the network.
        licences: {"what", "licence"} each.
        target: board it is meant for, or None for any.
    """

    name: str
    recipe: str
    arm: str
    artefact: str
    engine: Path
    probes: Path
    golden: Golden
    lock: bytes
    rows: bytes
    classes: Sequence[str]
    measure: Mapping[str, Any]
    versions: Mapping[str, str]
    licences: Sequence[Mapping[str, str]]
    target: str | None = None


def write_bundle(contents: Contents, out: Path) -> dict[str, Any]:
    """Writes ``out``, whole or not at all, and returns its manifest.

    Raises:
        UserError: settings of the measurements are missing, or a file has a name that a bundle may not hold.
    """
    if missing := sorted(_MEASURE_KEYS - set(contents.measure)):
        raise UserError(f"bundle {contents.name}: measure lacks {', '.join(missing)}")
    members: dict[str, bytes | Path] = {
        ENGINE: contents.engine,
        LOCK: contents.lock,
        ROWS: contents.rows,
        AGENT: agent_bytes(),
        "LICENSES.txt": licences_text(contents.licences),
        **write_golden(contents.golden),
        **_probes(contents.probes),
    }
    members["sbom.json"] = sbom(contents.name, contents.versions, _digests(members))
    manifest = write_manifest(
        {
            "name": contents.name,
            "recipe": contents.recipe,
            "arm": contents.arm,
            "artefact": contents.artefact,
            "engine": ENGINE,
            "agent": VERSION,
            "files": _digests(members),
            "classes": list(contents.classes),
            "measure": dict(contents.measure),
            "versions": dict(contents.versions),
            "licences": [dict(about) for about in contents.licences],
            "needs": {"python": ">=3.10", "runtimes": ["tensorrt", "onnxruntime"]},
            "target": contents.target,
        }
    )
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as stream:
            write_tar(stream, {NAME: manifest, **dict(sorted(members.items()))})
        aside.replace(out)
    except ValueError as error:
        raise UserError(f"bundle {contents.name}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    found: dict[str, Any] = json.loads(manifest)
    return found


def _probes(folder: Path) -> dict[str, bytes | Path]:
    """The probe set without the noisy copies: what they measure is a property of the twin."""
    try:
        head = json.loads((folder / "probes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: not a probe set: {error}") from error
    head["names"].pop("noisy", None)
    files: dict[str, bytes | Path] = {
        f"probes/{path.name}": path for path in folder.glob("*.npy") if not path.name.startswith("noisy")
    }
    return {**files, "probes/probes.json": (json.dumps(head, indent=1, sort_keys=True) + "\n").encode()}


def _digests(members: Mapping[str, bytes | Path]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, source in members.items():
        data = source if isinstance(source, bytes) else source.read_bytes()
        found[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return found
