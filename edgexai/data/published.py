"""Holds the files at hand against the digests that their publisher gives, as the card lists them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from edgexai.config.card import Card
from edgexai.data.place import Place

_BLOCK_BYTES = 1 << 20


def published(card: Card, place: Place) -> dict[Path, bool]:
    """File -> whether it is the published one, for every large file whose name the card lists.

    Args:
        card: its digests are "md5:..." or "sha256:...".
        place: only ``files`` are looked at.
    """
    return {path: _is(path, card.digests[path.name]) for path in place.files if path.name in card.digests}


def _is(path: Path, digest: str) -> bool:
    kind, _, wanted = digest.partition(":")
    # md5 is what the publishers give; here it finds damage, not an attack.
    h = hashlib.md5(usedforsecurity=False) if kind == "md5" else hashlib.sha256()
    for block in _blocks(path):
        h.update(block)
    return h.hexdigest() == wanted


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block
