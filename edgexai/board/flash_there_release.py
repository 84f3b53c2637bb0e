"""Releases on the board: what is served, what is whole, making one of a bundle that arrived, and the lock.

Part of the tool that ``edgexai flash`` sends (see ``flash_there``): standard library only, Python 3.10.

Convention: ROOT/releases/<id> with <id> the first 12 hex digits of the bundle's SHA-256; ROOT/current and ROOT/previous
are relative symbolic links that only ever change by one rename. ROOT/lock is held by ``flock`` for the length of a
flash, so that the kernel frees it whatever becomes of its holder; ROOT/work likewise by each step that changes
something, because a step may outlive the connection that held the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edgexai.board.unpack import check_unpacked, digest, unpack
from edgexai.errors import EdgexaiError, GateFailed, UserError

PATIENCE_S = 15.0
"""How long the lock waits for the last step of a flash whose connection was lost."""
_GLANCE_S = 1.0
"""How long it waits for one who only looked whether it is held."""


class Root:
    """The folder on the board that holds everything.

    Args:
        path: absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.releases, self.incoming = path, path / "releases", path / "incoming"

    def served(self, link: str = "current") -> str:
        """Name of the release that "current" or "previous" points to; "" where it points nowhere."""
        place = self.path / link
        return Path(os.readlink(place)).name if place.is_symlink() and place.exists() else ""

    def serve(self, release: str, link: str = "current") -> None:
        """Points the link to a release in one rename; takes it away for ""."""
        if release:
            self.point(link, f"releases/{release}")
        else:
            (self.path / link).unlink(missing_ok=True)

    def point(self, link: str, target: str) -> None:
        """Points a symbolic link elsewhere in one rename; it is never missing in between."""
        aside = self.path / f".{link}.{os.getpid()}"
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        os.replace(aside, self.path / link)

    def interpreter(self) -> str:
        """The Python that the served engine was verified with; "" where that is not known, or gone."""
        note = self.path / "interpreter"
        path = note.read_text().strip() if note.is_file() else ""
        return path if os.access(path, os.X_OK) else ""

    def keep_two(self) -> None:
        """Removes releases, and their state, that are neither served nor the ones before."""
        kept = {self.served(), self.served("previous")}
        for folder in (self.releases, self.path / "state"):
            for old in folder.iterdir() if folder.is_dir() else ():
                if old.name not in kept:
                    shutil.rmtree(old, ignore_errors=True)

    def part(self, sha256: str) -> Path:
        """Where a bundle of that digest arrives."""
        return self.incoming / f"{sha256}.part"

    def whole(self, release: str) -> bool:
        """Whether a release is there and every file as its manifest says."""
        try:
            check_unpacked(self.releases / release)
        except EdgexaiError:
            return False
        return True

    def unpack(self, sha256: str, *, size: int) -> bool:
        """Makes the release of the bundle that arrived: written aside, checked, renamed once.

        Args:
            sha256: of the bundle, as the workstation has verified it.
            size: in bytes.

        Returns:
            False where the release was there already, and whole.

        Raises:
            GateFailed: the bundle or one of its files is not what was sent.
            UserError: the disk cannot hold it.
        """
        part, release = self.part(sha256), self.releases / sha256[:12]
        if not part.is_file() and self.whole(release.name):
            return False
        if not part.is_file() or part.stat().st_size != size or digest(part) != sha256:
            part.unlink(missing_ok=True)
            raise GateFailed("the bundle arrived damaged: its SHA-256 is not the workstation's")
        self.releases.mkdir(exist_ok=True)
        aside = self.releases / f".{release.name}.new"
        self._sweep()
        try:
            unpack(part, aside)
            if release.exists():  # only a damaged one comes here; it is gone for no longer than two renames
                release.rename(self.releases / f".{release.name}.damaged")
            aside.rename(release)
        finally:
            self._sweep()
        part.unlink()
        return True

    def _sweep(self) -> None:
        for left in self.releases.glob(".*"):
            shutil.rmtree(left)

    @contextmanager
    def locked(self, about: Mapping[str, Any]) -> Iterator[str]:
        """Holds ROOT/lock.

        Args:
            about: written into it: who, since, pid, boot_id, token.

        Yields:
            What is known of a holder that died without freeing it; "" where there was none.

        Raises:
            UserError: somebody holds it, or the last step of one who held it is not at its end.
        """
        with open(self.path / "lock", "a+") as file:
            taken = _taken(file, within_s=_GLANCE_S)
            left = self.holder()
            if not taken:
                who, since = left.get("who", "somebody"), left.get("since", "an unknown time")
                raise UserError(f"another flash is at work on this board: {who}, since {since}")
            file.truncate(0)
            file.write(json.dumps(dict(about)))
            file.flush()
            try:
                # After the token is written: a step that begins now sees it, and one that began before is waited for.
                with self.working(within_s=PATIENCE_S):
                    pass
                yield f"took over a stale lock of {left.get('who')}, {left.get('since')}: {_why(left)}" if left else ""
            finally:
                file.truncate(0)

    @contextmanager
    def working(self, *, within_s: float = 0.0) -> Iterator[None]:
        """Holds ROOT/work for one step that changes something.

        Args:
            within_s: seconds to wait for another step's end.

        Raises:
            UserError: the last step of another flash, whose connection was lost, is not at its end.
        """
        with open(self.path / "work", "a") as file:
            if not _taken(file, within_s=within_s):
                raise UserError(
                    "a step of an earlier flash, whose connection was lost, is still at work on this board",
                    next_step="wait for its end, then give the same command",
                )
            yield

    def holder(self) -> dict[str, Any]:
        """What the lock's holder wrote; {} where nobody holds it or it died long ago and cleanly."""
        try:
            content = json.loads((self.path / "lock").read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def held(self) -> bool:
        """Whether a flash is at work."""
        if not (self.path / "lock").is_file():
            return False
        with open(self.path / "lock") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def boot_id() -> str:
    """Changes with every start of the board."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _why(left: Mapping[str, Any]) -> str:
    if left.get("boot_id") != boot_id():
        return "the board has restarted since"
    return "its process holds it no more" if Path(f"/proc/{left.get('pid')}").exists() else "its process is gone"


def _taken(file: IO[str], *, within_s: float) -> bool:
    """Whether a file's lock could be had; it is freed when the file is closed."""
    until = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
