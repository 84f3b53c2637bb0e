"""Where an engine comes from, in ``<engine>.json`` beside it, bound to it by SHA-256.

Beside and never in front: an engine with bytes before it is one that trtexec and others cannot read. Standard library
only: this travels to the board.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edgexai.errors import UserError

_FORMAT = 1
_REBUILD = "build the engine again from its ONNX"


@dataclass(frozen=True)
class Provenance:
    """One build.

    Attributes:
        engine_sha256, engine_bytes: of the engine file.
        onnx_sha256: of what it was built from.
        library: "tensorrt", or "tensorrt_rtx" whose engines are only a check of the build.
        tensorrt: version.
        gpu: facts of ``cuda.Gpu``; empty where the build needed none.
        platform: processor architecture.
        shapes: tensor name -> [smallest, best, largest] shape of inputs, and the one shape of outputs (-1: the batch).
        options: of ``BuildOptions``.
        build_seconds: wall-clock, of parsing and building.
        placement: what runs on the accelerator and what fell back; empty where none was asked for.
        warnings: what TensorRT warned of.
        metadata: the ONNX file's own: architecture, classes, data, weights.
    """

    engine_sha256: str
    engine_bytes: int
    onnx_sha256: str
    library: str
    tensorrt: str
    gpu: dict[str, Any]
    platform: str
    shapes: dict[str, Any]
    options: dict[str, Any]
    build_seconds: float
    placement: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """With a format number and the SHA-256 of the content."""
        content = asdict(self)
        return json.dumps({"format": _FORMAT, "sha256": _digest(content), **content}, indent=1, sort_keys=True) + "\n"


def sidecar_of(engine: Path) -> Path:
    """``model.engine`` -> ``model.engine.json``."""
    return engine.with_name(engine.name + ".json")


def read_sidecar(engine: Path) -> Provenance | None:
    """The engine's sidecar, checked against the engine's bytes; None where there is none.

    Raises:
        UserError: it is unreadable, was changed, or belongs to another engine.
    """
    path = sidecar_of(engine)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        form, said = content.pop("format"), content.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not an engine's sidecar: {error}", next_step=_REBUILD) from error
    if form != _FORMAT:
        raise UserError(f"{path}: format {form}; this edgexai reads format {_FORMAT}", next_step=_REBUILD)
    known = {f.name for f in fields(Provenance)}
    if set(content) != known or said != _digest(content):
        raise UserError(f"{path}: was changed after it was written", next_step=_REBUILD)
    provenance = Provenance(**content)
    found = sha256_of(engine)
    if found != provenance.engine_sha256:
        raise UserError(
            f"{engine}: its bytes are not those that {path.name} speaks of",
            problems=(f"SHA-256 is {found}", f"expected    {provenance.engine_sha256}"),
            next_step=_REBUILD,
        )
    return provenance


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
