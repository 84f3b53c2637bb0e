"""The board's half of ``edgexai flash``: a tool sent over ssh and kept as ``ROOT/tools/<digest>.pyz``.

Standard library only, Python 3.10: it must run before anything else is there, and after an agent that went wrong.
``ROOT/board.pyz`` points to the newest copy, for services on the board:

    python3 board.pyz check      verify the engine that is served: the health probe of an updater
    python3 board.pyz status     what is served, and what came before
    python3 board.pyz rollback   serve the previous release again, if it verifies

Convention: every verb ends with one JSON object as the last line of standard output, {"ok", "verb", "problems", ...};
exit codes as in ``edgexai.errors``. What changes something demands the lock, by the token of the flash that holds it,
and holds ROOT/work to its own end: nobody gets the lock while a step that lost its flash is still at work.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import platform
import select
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgexai.board.flash_there_agent import run_agent
from edgexai.board.flash_there_release import Root, boot_id
from edgexai.board.unpack import digest
from edgexai.errors import EXIT_USER, BoardUnreachable, EdgexaiError, GateFailed, MissingCapability, UserError

UNKNOWN = "unknown version"
"""Of a module that is here without metadata, as some system packages are."""
_MODULES = {"numpy": ["numpy"], "onnxruntime": ["onnxruntime", "onnxruntime-gpu"], "tensorrt": ["tensorrt"]}
SILENCE_S = 60.0
"""A lock's holder that hears nothing for so long takes its workstation for gone."""


def main(words: list[str]) -> int:
    """Runs one verb and returns its exit code; a full disk or a missing file ends without a traceback."""
    parser = argparse.ArgumentParser(prog="board.pyz", description="The board's half of edgexai flash.")
    parser.add_argument("verb", choices=sorted(_VERBS))
    # Of a tool in ROOT/tools, the folder above.
    parser.add_argument("--root", default=str(Path(sys.argv[0]).resolve().parent.parent))
    for name in ("sha256", "who", "token", "agent-verb"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--bytes", type=int, default=0)
    given = parser.parse_args(words)
    path = Path(given.root).expanduser().absolute()
    answer: dict[str, Any]
    code = 0
    try:
        path.mkdir(parents=True, exist_ok=True)
        answer = _VERBS[given.verb](Root(path), given)
    except EdgexaiError as error:
        answer = {"problems": [error.what, *error.problems], "next": error.next_step}
        code = error.exit_code
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        answer = {"problems": ["the board's disk is full" if full else f"{error.strerror}: {error.filename}"]}
        code = EXIT_USER
    _tell({"verb": given.verb, "ok": code == 0, "problems": [], **answer})
    return code


def facts(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """What the board is, before anything but this tool is sent to it."""
    from importlib import metadata  # a tenth of a second on a board, which the other verbs need not wait
    from importlib.util import find_spec

    modules = {}
    for module, packages in _MODULES.items():
        known = [found.version for name in packages for found in metadata.distributions(name=name)]
        if known:
            modules[module] = known[0]
        elif find_spec(module) is not None:
            modules[module] = UNKNOWN
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "model": _text("/proc/device-tree/model"),
        "l4t": _text("/etc/nv_tegra_release").partition("\n")[0],
        "modules": modules,
        "rsync": shutil.which("rsync") is not None,
        "free_bytes": shutil.disk_usage(root.path).free,
        "current": root.served(),
    }


def lock(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """Holds the lock until standard input ends or falls silent."""
    since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    about = {"who": given.who, "since": since, "pid": os.getpid(), "boot_id": boot_id(), "token": given.token}
    with root.locked(about) as stale:
        _tell({"verb": "lock", "ok": True, "problems": [], "stale": stale})
        while select.select([sys.stdin], [], [], SILENCE_S)[0] and sys.stdin.readline():
            pass
    return {"released": True}


def have(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """How much of a bundle arrived in an earlier try, with its digest, and whether its release is there and whole."""
    with _mine(root, given):
        root.incoming.mkdir(exist_ok=True)
        part = root.part(given.sha256)
        for other in root.incoming.iterdir():  # what a flash of another bundle left is only in the way
            if other != part:
                other.unlink()
        arrived = (
            {"bytes": part.stat().st_size, "sha256": digest(part)} if part.is_file() else {"bytes": 0, "sha256": ""}
        )
        return {**arrived, "whole": root.whole(given.sha256[:12])}


def unpack(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """Makes the release of the bundle that arrived."""
    with _mine(root, given):
        return {"new": root.unpack(given.sha256, size=given.bytes), "release": given.sha256[:12]}


def agent(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """Runs a verb of the release's agent; stops it when the workstation goes."""
    with _mine(root, given):
        return {"agent": run_agent(root.path, given.sha256[:12], given.agent_verb, watch=True)}


def swap(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """Serves the release, verifies it where it is served, and goes back at once where that fails.

    One process of the board's, deaf to the connection: it comes to an end whatever becomes of the workstation.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with _mine(root, given):
        before, earlier, after = root.served(), root.served("previous"), given.sha256[:12]
        os.sync()  # a power cut right after the swap must find the files whole
        try:
            if before and before != after:
                root.serve(before, "previous")
            root.serve(after)
            run_agent(root.path, root.served(), "verify", watch=False)
        except (EdgexaiError, OSError) as failed:
            root.serve(before)
            root.serve(earlier, "previous")
            said = failed.what if isinstance(failed, EdgexaiError) else str(failed)
            raise GateFailed(f"in service the engine did not verify ({said}); rolled back") from failed
        (root.path / "interpreter").write_text(sys.executable)
        root.point("board.pyz", os.path.relpath(Path(sys.argv[0]).resolve(), root.path))
        root.keep_two()
        return {"current": after, "previous": root.served("previous")}


def check(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """Verifies the engine that is served."""
    served = root.served()
    if not served:
        raise MissingCapability(f"no engine is served from {root.path}")
    answer = run_agent(root.path, served, "verify", python=root.interpreter(), watch=False)
    return {"current": served, "agent": answer}


def rollback(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """Serves the previous release again, after it has verified."""
    before, wanted = root.served(), root.served("previous")
    if not wanted:
        raise UserError("there is no previous release to go back to")
    with root.locked({"who": "rollback", "since": "now", "pid": os.getpid(), "boot_id": boot_id()}):
        run_agent(root.path, wanted, "verify", python=root.interpreter(), watch=False)
        root.serve(wanted)
        root.serve(before, "previous")
    return {"current": wanted, "previous": before}


def status(root: Root, given: argparse.Namespace) -> dict[str, Any]:
    """What is served, what came before, and whether a flash is at work."""
    return {"current": root.served(), "previous": root.served("previous"), "flashing": root.held()}


@contextmanager
def _mine(root: Root, given: argparse.Namespace) -> Iterator[None]:
    with root.working():
        if not given.token or root.holder().get("token") != given.token or not root.held():
            raise BoardUnreachable(
                "this flash does not hold the board's lock any more: its connection was lost; nothing was changed",
                next_step="the same command takes up where it stopped",
            )
        yield


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").replace("\0", "").strip()
    except OSError:
        return ""


def _tell(answer: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # nobody listens any more; what was to be done is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_VERBS = {f.__name__: f for f in (facts, lock, have, unpack, agent, swap, check, rollback, status)}
