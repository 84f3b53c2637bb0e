"""Digests of entries: quick, remembered, and not fooled."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from edgexai.recipe.verify import Verifier, describe, file_digest, sealed


def entry(folder: Path, sizes: dict[str, int]) -> Path:
    for number, (name, size) in enumerate(sizes.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * size)
    (folder / "meta.json").write_text(json.dumps(sealed({"key": "k", "files": describe(folder)})))
    return folder


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) * 2 + 17)
    (tmp_path / "f").write_bytes(data)
    assert file_digest(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_memo_saves_time_and_sees_changes(tmp_path: Path) -> None:
    folder = entry(tmp_path / "e", {"a": 40 << 20, "b/c": 40 << 20, "d": 20 << 20})
    verifier = Verifier()
    verifier.check(folder, key="k")
    start = time.perf_counter()
    verifier.check(folder, key="k")
    assert time.perf_counter() - start < 0.05
    with (folder / "b" / "c").open("r+b") as stream:
        stream.seek(1 << 20)
        stream.write(b"\x07")
    with pytest.raises(ValueError, match="b/c differs"):
        verifier.check(folder, key="k")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda meta: meta["files"].pop("a"),
        lambda meta: meta.update(key="other"),
        lambda meta: meta["files"]["a"].update(sha256="0" * 64),
        lambda meta: meta.update(files=[]),
    ],
)
def test_changed_meta_is_damage(tmp_path: Path, spoil: object) -> None:
    folder = entry(tmp_path / "e", {"a": 10, "b": 10})
    meta = json.loads((folder / "meta.json").read_text())
    spoil(meta)  # type: ignore[operator]
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match=r"meta\.json"):
        Verifier().check(folder, key="k")


def test_entry_under_another_key_is_damage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another key"):
        Verifier().check(entry(tmp_path / "e", {"a": 1}), key="l")
