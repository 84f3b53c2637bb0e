"""The content-addressed store: ``<root>/<stage>/<key>/{files..., meta.json}``.

An entry is written aside (``<key>.part-*``), described, synced and renamed once, so it is whole or absent; only
successes are stored. ``<key>.work/`` keeps checkpoints over a kill or a failure. An entry whose files differ from its
``meta.json`` is reported, dropped and built again, never used.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgexai.errors import UserError
from edgexai.recipe.entry_lock import EntryLock
from edgexai.recipe.environment import environment
from edgexai.recipe.faults import explained
from edgexai.recipe.plan import Node
from edgexai.recipe.verify import META, Verifier, describe, list_files, sealed
from edgexai.types import Progress

_TURN_S = 0.05


class Store:
    """One run's view of the store. Entries it has given out stay locked against removal until ``close``.

    Args:
        root: folder of the store; made on the first build.
        progress: is told of damage and of waiting.
    """

    def __init__(self, root: Path, *, progress: Progress) -> None:
        self.root, self._progress, self._verifier = root, progress, Verifier()
        self._held: dict[tuple[str, str], EntryLock] = {}

    def path(self, node: Node, key: str) -> Path:
        """Where the entry lies or would lie."""
        return self.root / node.stage / key

    def work(self, node: Node, key: str) -> Path:
        """Where the stage's checkpoints lie while it is not finished."""
        return self.root / node.stage / f"{key}.work"

    def find(self, node: Node, key: str) -> Path | None:
        """The entry, checked in full, or None if it is absent or damaged (which is reported). Writes nothing."""
        folder = self.path(node, key)
        if not folder.is_dir():
            return None
        try:
            self._verifier.check(folder, key=key)
        except ValueError as error:
            self._progress({"what": "damaged", "node": node.name, "path": str(folder), "problem": str(error)})
            return None
        return folder

    def hold(self, node: Node, key: str) -> Path | None:
        """``find``, and keeps other runs from removing the entry until ``close``."""
        if not self.path(node, key).is_dir():
            return None
        if (node.stage, key) not in self._held:
            with explained(self.root):
                self._held[node.stage, key] = self._lock(node, key, shared=True)
        found = self.find(node, key)
        if found is None:
            self._release(node, key)
        return found

    def meta(self, node: Node, key: str) -> dict[str, Any]:
        """``meta.json`` of an entry that ``find`` or ``build`` has returned."""
        return self._verifier.meta(self.path(node, key))

    def build(
        self, node: Node, key: str, fill: Callable[[Path, Path], None], *, again: bool = False, device: str = "cpu"
    ) -> tuple[Path, bool]:
        """The entry, made by ``fill`` unless it is there; then held as by ``hold``.

        Args:
            node: what is built.
            key: of ``node``.
            fill: takes the empty ``out`` folder and the ``work`` folder.
            again: drop a stored entry and its checkpoints first.
            device: noted as provenance.

        Returns:
            The folder, and whether ``fill`` ran. Another run may have built it while this one waited.

        Raises:
            UserError: the disk is full or the store cannot be written.
        """
        self._release(node, key)
        final, work = self.path(node, key), self.work(node, key)
        with explained(self.root):
            final.parent.mkdir(parents=True, exist_ok=True)
            mine = self._lock(node, key, shared=False) if again else self._first(node, key)
            if mine is None:
                return final, False
            with mine:
                _sweep(final)
                if again:
                    _drop(final)
                    shutil.rmtree(work, ignore_errors=True)
                built = self.find(node, key) is None
                if built:
                    _drop(final)
                    self._fill(node, key, fill, device=device)
        held = self.hold(node, key)
        if held is None:
            raise UserError(
                f"{node.name}: the stored result vanished or was changed right after it was written: {final}",
                next_step="see whether another program cleans that folder, then run the same command again",
            )
        return held, built

    def clean(self) -> None:
        """Removes what killed runs left: ``.part-*`` folders whose entry nobody is building."""
        for part in self.root.glob("*/*.part-*"):
            try:
                with EntryLock(part.parent / f"{part.name.partition('.part-')[0]}.lock", shared=False):
                    shutil.rmtree(part, ignore_errors=True)
            except OSError:
                continue  # somebody is building it, or the store is read-only: theirs to remove

    def close(self) -> None:
        """Lets go of all entries."""
        for lock in self._held.values():
            lock.close()
        self._held.clear()

    def _fill(self, node: Node, key: str, fill: Callable[[Path, Path], None], *, device: str) -> None:
        final, work = self.path(node, key), self.work(node, key)
        part = final.with_name(f"{key}.part-{secrets.token_hex(4)}")
        work.mkdir(exist_ok=True)
        part.mkdir()
        start = time.monotonic()
        try:
            fill(part, work)
            if not list_files(part):
                raise RuntimeError(f"stage {node.stage} left no file for {node.name}")
            meta = {
                "stage": node.stage,
                "version": node.version,
                "key": key,
                "arm": node.arm,
                "table": dict(node.table),
                "seed": node.seed,
                "files": describe(part),
                "seconds": round(time.monotonic() - start, 3),
                "device": device,
                "environment": environment(),
            }
            (part / META).write_text(json.dumps(sealed(meta), indent=1, sort_keys=True) + "\n", encoding="utf-8")
            _sync(part)
            part.rename(final)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        _sync_folder(final.parent)
        shutil.rmtree(work, ignore_errors=True)

    def _first(self, node: Node, key: str) -> EntryLock | None:
        """The exclusive lock, for whoever comes first; None, with the entry held, once another run has built it.

        Who comes later waits as a reader: a builder goes on reading what it has built until its own run ends, and
        someone waiting to be alone would wait for all of that.
        """
        final, told = self.path(node, key), False
        while True:
            try:
                return EntryLock(_lock_file(final), shared=False)
            except BlockingIOError:
                if final.is_dir():  # damaged: its readers must leave before it is built again
                    return self._lock(node, key, shared=False)
            if not told:
                self._tell_waiting(node)
                told = True
            EntryLock(_lock_file(final), shared=True, on_wait=lambda: None).close()
            if self.hold(node, key) is not None:
                return None
            time.sleep(random.uniform(0.0, _TURN_S))  # the builder ended without a result: who is next?

    def _lock(self, node: Node, key: str, *, shared: bool) -> EntryLock:
        return EntryLock(_lock_file(self.path(node, key)), shared=shared, on_wait=lambda: self._tell_waiting(node))

    def _tell_waiting(self, node: Node) -> None:
        self._progress({"what": "waiting", "node": node.name, "for": "another run that builds or reads the same"})

    def _release(self, node: Node, key: str) -> None:
        if lock := self._held.pop((node.stage, key), None):
            lock.close()


def _lock_file(final: Path) -> Path:
    return final.with_name(f"{final.name}.lock")


def _sweep(final: Path) -> None:
    """Removes parts of dead builds; the caller holds the exclusive lock, so none is alive."""
    for part in final.parent.glob(f"{final.name}.part-*"):
        shutil.rmtree(part, ignore_errors=True)


def _drop(final: Path) -> None:
    """Renamed first: a kill in the middle leaves a part to sweep, never half an entry."""
    if final.exists():
        doomed = final.with_name(f"{final.name}.part-{secrets.token_hex(4)}")
        final.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _sync(folder: Path) -> None:
    for top, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(top, name), "rb") as stream:
                os.fsync(stream.fileno())
        _sync_folder(Path(top))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
