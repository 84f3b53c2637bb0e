"""Brings a bundle to the board; a try that was cut short is taken up, not begun again.

Convention: what arrived is asked for with its SHA-256 and goes on from there only where it equals the bundle's own
beginning. ``ssh cat`` carries it, or rsync where it is asked for; the board checks the whole file's digest.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from edgexai.board.flash_calls import Calls, ask, full_disk, last_line
from edgexai.board.ssh import Ssh, end, start
from edgexai.errors import EdgexaiError, GateFailed, UserError

Transfer = Literal["auto", "rsync", "cat"]
QUIET_S = 60
"""Seconds without a byte after which rsync gives up."""
_CONNECTION = (-15, -9, -2, 10, 12, 30, 35, 255)
"""Exit codes of rsync that mean the connection, or rsync itself, was cut."""


def push(
    ssh: Ssh,
    calls: Calls,
    bundle: Path,
    *,
    rsync_there: bool,
    transfer: Transfer = "auto",
    timeout_s: float = 3600,
    say: Callable[[str], None],
) -> int:
    """Brings the bundle to ``calls.part``, unless the board has its release whole.

    Returns:
        Bytes sent; 0 where nothing was needed.

    Raises:
        BoardUnreachable: the connection was lost; what arrived stays there.
        UserError: the board's disk is full, or rsync was asked for and is missing.
    """
    had = ask(ssh, calls.verb("have"), during="push")
    if had["whole"]:
        say("push: the board has this bundle already")
        return 0
    arrived = int(had["bytes"])
    if arrived and (arrived > calls.size or had["sha256"] != _digest(bundle, arrived)):
        arrived = 0
    if arrived == calls.size:
        return 0
    if arrived:
        say(f"push: {arrived} of {calls.size} bytes are there from an earlier try")
    both = rsync_there and shutil.which("rsync") is not None
    if transfer == "rsync" and not both:
        raise UserError("rsync is not on both sides", next_step="leave out --transfer")
    if transfer != "rsync":
        with open(bundle, "rb") as file:
            file.seek(arrived)
            script = calls.receive(append=arrived > 0)
            answer = ssh.run(script, during="push", feed=file, timeout_s=timeout_s)
        code, said = answer.code, answer.err
    else:
        code, said = _rsync(rsync_command(ssh, calls, bundle), timeout_s=timeout_s)
        if code in _CONNECTION and not full_disk(said):
            # rsync's last word is only that ssh failed; ssh's own, before it, says why.
            own = "\n".join(line for line in said.splitlines() if not line.startswith("rsync"))
            raise ssh.lost(own or said, during="push")
    if code:
        raise _failed(ssh, said, code)
    return calls.size - arrived


def rsync_command(ssh: Ssh, calls: Calls, bundle: Path) -> list[str]:
    """The command line that sends the bundle with rsync."""
    words = ["rsync", "--partial", "--inplace", f"--timeout={QUIET_S}", "--rsh", shlex.join(ssh.base())]
    # Relative to the home folder: not every rsync lets the board's shell expand a "~".
    return [*words, str(bundle.absolute()), f"{ssh.host}:{calls.part.removeprefix('~/')}"]


def _rsync(command: list[str], *, timeout_s: float) -> tuple[int, str]:
    with tempfile.TemporaryFile() as out:
        process = start(command, out=out, err=out)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = -15
        finally:
            end(process)
        out.seek(0)
        return code, out.read().decode(errors="replace")


def _failed(ssh: Ssh, said: str, code: int) -> EdgexaiError:
    if full_disk(said):
        return UserError(f"{ssh.host}: push: the board's disk is full", next_step="free some space there")
    return GateFailed(f"{ssh.host}: push: ended with {code}: {last_line(said)}")


def _digest(path: Path, size: int) -> str:
    """SHA-256 of a file's first ``size`` bytes."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while size and (block := file.read(min(size, 1 << 20))):
            found.update(block)
            size -= len(block)
    return found.hexdigest()
