"""A real sshd on the loopback interface, and a bundle whose agent does as it is told: what the tests of flash need.

The agent keeps the contract of the real one (one JSON object on the last line, exit codes) and a plan that the test
writes into ROOT/plan.json makes it fail, hang, die or answer in another form; so that every fault can be had at every
verb. Its engine is the file model.onnx: ``build`` copies it to the state folder, ``verify`` compares the two.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgexai.board.canonical_tar import write_tar
from edgexai.board.manifest import write_manifest
from edgexai.types import Row

SSHD = shutil.which("sshd") or next((p for p in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if os.path.exists(p)), None)
MISSING = None if SSHD and shutil.which("ssh-keygen") else "no sshd here: apt-get install openssh-server"

AGENT = """
import argparse, hashlib, json, os, pathlib, shutil, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["doctor", "build", "verify", "measure"])
parser.add_argument("--bundle", type=pathlib.Path)
parser.add_argument("--state", type=pathlib.Path)
parser.add_argument("--json", action="store_true")
asked = parser.parse_args()
root = asked.bundle.parent.parent
plan = json.loads((root / "plan.json").read_text()) if (root / "plan.json").exists() else {}
note = root / "said.log"
with open(note, "a") as log:
    log.write(asked.verb + " " + asked.bundle.name + "\\n")
count = [line.split()[0] for line in note.read_text().splitlines()].count(asked.verb)
what = plan.get(asked.verb) if plan.get("from", 1) <= count else None
def end(code, problems=(), **more):
    told = {"ok": code == 0, "verb": asked.verb, "runtime": "stand-in 1", "problems": list(problems)}
    print(json.dumps({**told, **more}))
    sys.exit(code)
if what == "hang":
    (root / "hanging").write_text(str(os.getpid()))
    time.sleep(120)
if what == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "older":
    print("agent.pyz: error: unknown argument", file=sys.stderr)
    sys.exit(2)
if what == "babble":
    print("all is well")
    sys.exit(0)
if what == "full":
    end(2, ["the disk is full"])
if what == "no":
    end(4, ["decisions differ from the golden vectors"])
engine = asked.state / "engine"
model = (asked.bundle / "model.onnx").read_bytes()
if asked.verb == "build":
    engine.write_bytes(model)
if asked.verb == "verify":
    manifest = json.loads((asked.bundle / "manifest.json").read_text())
    same = hashlib.sha256(model).hexdigest() == manifest["files"]["model.onnx"]["sha256"]
    if not same or engine.read_bytes() != model:
        end(4, ["the engine is not the bundle's"])
if asked.verb == "measure":
    shutil.copyfile(asked.bundle / "board_rows.jsonl", asked.state / "rows.jsonl")
end(0)
"""


def rows() -> tuple[Row, Row]:
    """One row of the workstation's and the board's row of the same number."""
    told = ("natural", "int8-tensorrt", "engine", "clean_acc")
    here = Row(*told, 0.98, "fraction", 100, 0.93, 0.99, "wilson", runtime="onnxruntime 1.31.1 CPU")
    there = Row(*told, 0.97, "fraction", 100, 0.92, 0.99, "wilson", runtime="stand-in 1")
    return here, there


def bundle(
    place: Path, *, model: bytes = b"network one", name: str = "standin", extra: Mapping[str, object] = {}
) -> Path:
    """Writes a bundle in the form that ``edgexai bundle`` gives it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), AGENT)  # without a date: same bytes every time
    here, there = rows()
    files = {
        "agent.pyz": packed.getvalue(),
        "board_rows.jsonl": f"{there.to_json()}\n".encode(),
        "model.onnx": model,
        "probes/a.npy": bytes(range(256)) * 4096,
        "recipe.lock.json": b"{}",
        "rows.jsonl": f"{here.to_json()}\n".encode(),
    }
    body = {
        "name": name, "recipe": name, "arm": "natural", "artefact": "int8-tensorrt", "agent": "0",
        "engine": "model.onnx", "versions": {}, "needs": {}, "measure": {}, "licences": [], "classes": ["a", "b"],
        **extra,
        "files": {n: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for n, data in files.items()},
    }  # fmt: skip
    with open(place, "wb") as stream:
        write_tar(stream, {"manifest.json": write_manifest(body), **dict(sorted(files.items()))})
    return place


class Board:
    """A board on this machine: an sshd of its own, a root folder, and a client configuration that reaches it.

    Args:
        folder: for keys and configuration, and for the board's root.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        self.config, self.log = folder / "ssh_config", folder / "sshd.log"
        folder.mkdir(exist_ok=True)
        for key in ("host", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        known = (folder / "host.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {known}")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile {folder / 'pid'}\n"
            f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 50\n"
        )
        self.write_config()
        self.start()

    def write_config(self, *, key: str = "user", port: int | None = None) -> None:
        """The client's configuration: which key, which port."""
        user = pwd.getpwuid(os.getuid()).pw_name
        self.config.write_text(
            f"Host board\n HostName 127.0.0.1\n Port {port or self.port}\n User {user}\n IdentitiesOnly yes\n"
            f" IdentityFile {self.folder / key}\n UserKnownHostsFile {self.folder / 'known_hosts'}\n LogLevel ERROR\n"
        )

    def start(self) -> None:
        """Starts sshd and waits until it listens."""
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd of root wants its empty folder
        self.sshd = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")],
            stderr=open(self.log, "ab"),  # noqa: SIM115
        )
        for _ in range(200):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"sshd does not listen: {self.log.read_text()}")

    def stop(self) -> None:
        """Ends sshd and every session of it, as a board that loses its network does."""
        self.cut()
        self.sshd.terminate()
        self.sshd.wait()

    def cut(self) -> None:
        """Ends every session; sshd goes on listening."""
        for child in _children(self.sshd.pid):
            for pid in (*_children(child), child):
                try:
                    if "sshd" in Path(f"/proc/{pid}/comm").read_text():
                        os.kill(pid, 9)
                except (ProcessLookupError, FileNotFoundError):
                    continue

    def plan(self, **verbs: object) -> None:
        """What the agent is to do at which verb; nothing: all goes well."""
        self.root.mkdir(exist_ok=True)
        (self.root / "said.log").write_text("")
        (self.root / "plan.json").write_text(json.dumps(verbs))

    def served(self) -> str:
        """Name of the release that is served; "" for none."""
        link = self.root / "current"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else ""

    def check(self) -> subprocess.CompletedProcess[str]:
        """The board's own health check of what it serves, away from any fault that was planned."""
        (self.root / "plan.json").unlink(missing_ok=True)
        command = [sys.executable, str(self.root / "board.pyz"), "check", "--root", str(self.root)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})


def release(path: Path) -> str:
    """The name a bundle's release gets."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def wait_until_gone(program: Path) -> None:
    """Waits for the end of a script's last process: a cutter that is late would cut what comes next."""
    for _ in range(1200):
        running = 0
        for words in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                running += os.fsencode(program) in words.read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
        if not running:
            return
        time.sleep(0.05)
    raise AssertionError(f"{program} is still at work")


def waited_for(note: Path) -> int:
    """The process id that a hanging agent writes down; waits until it does."""
    for _ in range(1200):
        if note.is_file() and note.read_text():
            return int(note.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{note} never came")


def _children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


CUTTER = r"""#!/bin/sh
# Stands before ssh: when a command names $CUT_AT, every session of the test's sshd ends while it runs.
# CUT_BYTES: how much of standard input passes before. SPOIL: what arrives is not what was sent.
cut() {
  for one in $(cat /proc/$SSHD_PID/task/$SSHD_PID/children); do
    for pid in $(cat /proc/$one/task/$one/children) $one; do
      grep -q sshd /proc/$pid/comm && kill -9 $pid
    done
  done
}
arrived() {  # waits, half a minute at most, until some of it is written on the board
  for _ in $(seq 300); do
    for part in "$INCOMING"/*.part; do [ -s "$part" ] && return; done
    sleep 0.1
  done
}
case "$*" in
  *"$CUT_AT"*)
    if [ -n "$SPOIL" ]; then tr '\007' '\010' | "$REAL_SSH" "$@"; exit $?; fi
    if [ -n "$CUT_BYTES" ]; then
      { head -c "$CUT_BYTES"; arrived; cut 2>/dev/null; sleep 1; } | "$REAL_SSH" "$@"
      exit $?
    fi
    (sleep "$CUT_AFTER"; cut) 2>/dev/null >/dev/null &
    exec "$REAL_SSH" "$@" ;;
esac
exec "$REAL_SSH" "$@"
"""


def cutting(
    board: Board, place: Path, at: str, *, after: str = "0.5", size: str = "", spoil: str = ""
) -> dict[str, str]:
    """The environment in which ssh loses its connection at a command that names ``at``."""
    place.mkdir(exist_ok=True)
    (place / "ssh").write_text(CUTTER)
    (place / "ssh").chmod(0o755)
    more = {"CUT_AT": at, "CUT_AFTER": after, "CUT_BYTES": size, "SPOIL": spoil, "SSHD_PID": str(board.sshd.pid)}
    more["INCOMING"] = str(board.root / "incoming")
    return {**more, "REAL_SSH": str(shutil.which("ssh")), "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
