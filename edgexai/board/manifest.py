"""``manifest.json``: what a bundle holds, byte for byte, and what it asks of a board.

Canonical JSON (sorted keys, one space of indent, a newline at the end) with a digest of itself under "seal": any
changed byte is found. The seal is no signature: who can rewrite the whole bundle can seal it again; see ``sign.py``.
Standard library only: the board reads it too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from edgexai.board.canonical_tar import is_safe_name
from edgexai.errors import GateFailed, MissingCapability, UserError

NAME = "manifest.json"
FORMAT = 1
"""Raised when a bundle changes so that an older agent could misread it."""
MOST_BYTES = 4 << 20
"""Of the manifest itself."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Never a path: a bundle does not choose which file of the reader's is opened."""
_WORDS = {"name": str, "recipe": str, "arm": str, "artefact": str, "agent": str, "engine": str}
_TABLES = {"versions": dict, "needs": dict, "measure": dict, "licences": list, "classes": list}


def write_manifest(body: Mapping[str, Any]) -> bytes:
    """The file's bytes: ``body`` with "format" and "seal"."""
    whole = {**body, "format": FORMAT}
    return _canonical({**whole, "seal": _seal(whole)})


def read_manifest(data: bytes) -> dict[str, Any]:
    """The manifest, checked for form, format and seal.

    Raises:
        UserError: not a manifest.
        MissingCapability: of a newer format than this agent knows.
        GateFailed: changed after it was written.
    """
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{NAME} is not JSON: this is no bundle") from error
    if not isinstance(found, dict) or not isinstance(found.get("format"), int) or isinstance(found["format"], bool):
        raise UserError(f"{NAME} has no format number: this is no bundle")
    if found["format"] > FORMAT:
        raise MissingCapability(
            f"the bundle has format {found['format']}, this agent reads format {FORMAT}",
            next_step="use the agent.pyz that the bundle carries, or a newer edgexai",
        )
    sealed = {key: value for key, value in found.items() if key != "seal"}
    try:
        same = found["format"] == FORMAT and data == _canonical(found) and found.get("seal") == _seal(sealed)
    except (ValueError, RecursionError):  # lone surrogates, numbers that are none
        same = False
    if not same:
        raise GateFailed(f"{NAME} was changed after it was written", next_step="get the bundle again from its source")
    _check_form(found)
    return found


def _check_form(found: dict[str, Any]) -> None:
    files = found.get("files")
    if not isinstance(files, dict) or not files:
        raise UserError(f"{NAME} lists no files")
    for name, about in files.items():
        if not is_safe_name(name) or name == NAME:
            raise UserError(f"{NAME} lists {name!r}: not a name a bundle may hold")
        if not isinstance(about, dict) or set(about) != {"sha256", "bytes"}:
            raise UserError(f"{NAME}: {name} needs exactly sha256 and bytes")
        size, digest = about["bytes"], about["sha256"]
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 8**11:
            raise UserError(f"{NAME}: {name} has no size")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise UserError(f"{NAME}: {name} has no SHA-256")
    folded = [name.lower() for name in files]
    tops = {parent for name in folded for parent in _parents(name)}
    if len(set(folded)) < len(folded) or tops & set(folded):
        raise UserError(f"{NAME} lists two files that would fall on one another")
    for key, kind in {**_WORDS, **_TABLES}.items():
        if not isinstance(found.get(key), kind):
            raise UserError(f'{NAME}: "{key}" is missing or no {kind.__name__}')
    target = found.get("target")
    if target is not None and (not isinstance(target, str) or not _TARGET.fullmatch(target)):
        raise UserError(f"{NAME}: the target {target!r} is not the name of a board")
    if found["engine"] not in files:
        raise UserError(f"{NAME}: the engine {found['engine']!r} is not among the files")


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:k]) for k in range(1, len(parts))]


def _canonical(found: Mapping[str, Any]) -> bytes:
    return (json.dumps(found, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(body)).hexdigest()
