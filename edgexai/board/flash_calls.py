"""Every command that ``edgexai flash`` gives the board, in one place: what ``--dry-run`` prints is what runs.

Convention: a script here is for a POSIX shell on the board; paths in it were checked (``check_path``), other words are
quoted. Steps are named as a reader sees them.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from edgexai.board.flash_tool import Tool
from edgexai.board.ssh import SSH_FAILED, Answer, Ssh, check_path, end
from edgexai.errors import (
    EXIT_BOARD,
    EXIT_MISSING,
    EXIT_USER,
    BoardUnreachable,
    EdgexaiError,
    GateFailed,
    MissingCapability,
    UserError,
)

HEARTBEAT_S = 5.0
GOODBYE_S = 5.0
"""What the board gets to free its lock, so that the next flash finds it free."""
_NO_PROGRAM = (126, 127)
_KINDS: dict[int, type[EdgexaiError]] = {
    EXIT_USER: UserError,
    EXIT_MISSING: MissingCapability,
    EXIT_BOARD: BoardUnreachable,
}


@dataclass(frozen=True)
class Calls:
    """The scripts of one flash.

    Attributes:
        tool: the board's half.
        sha256: of the bundle.
        size: of the bundle, in bytes.
        token: tells this flash from all others.
        root: folder on the board.
        python: interpreter on the board.
    """

    tool: Tool
    sha256: str
    size: int
    token: str
    root: str = "~/edgexai"
    python: str = "python3"

    def __post_init__(self) -> None:
        check_path(self.root, what="--root")
        check_path(self.python, what="--python")

    @property
    def release(self) -> str:
        """Name of the release this bundle becomes."""
        return self.sha256[:12]

    @property
    def part(self) -> str:
        """Where the bundle arrives."""
        return f"{self.root}/incoming/{self.sha256}.part"

    def install(self) -> str:
        """Receives the tool on standard input; only a whole one gets its name."""
        place = f"{self.root}/tools/{self.tool.name}"
        aside = f"{place}.{self.token}"
        return (
            f"mkdir -p {self.root}/tools && cat > {aside} && "
            f"test $(wc -c < {aside}) -eq {len(self.tool.content)} && mv {aside} {place}"
        )

    def verb(self, verb: str, *, who: str = "", agent_verb: str = "") -> str:
        """A verb of the tool; see ``flash_there``."""
        words = {"sha256": self.sha256, "bytes": str(self.size), "token": self.token, "who": who}
        words |= {"agent-verb": agent_verb}
        told = " ".join(f"--{name} {shlex.quote(value)}" for name, value in words.items() if value)
        return f"{self.python} {self.root}/tools/{self.tool.name} {verb} --root {self.root} {told}"

    def receive(self, *, append: bool) -> str:
        """Receives the bundle, or the rest of it, on standard input."""
        return f"cat {'>>' if append else '>'} {self.part}"

    def rows(self) -> str:
        """Prints the rows the agent measured."""
        return f"cat {self.root}/state/{self.release}/rows.jsonl"


def ask(ssh: Ssh, script: str, *, during: str, timeout_s: float = 60) -> dict[str, Any]:
    """Runs a verb of the tool and returns its JSON.

    Args:
        ssh: the way to the board.
        script: from ``Calls.verb``.
        during: the step, for the user.
        timeout_s: seconds until it is given up.

    Raises:
        UserError, MissingCapability, GateFailed: the board says no, as its exit code has it.
        BoardUnreachable: the connection was lost.
    """
    return judged(ssh.run(script, during=during, timeout_s=timeout_s), host=ssh.host, during=during)


def judged(answer: Answer, *, host: str, during: str) -> dict[str, Any]:
    """The JSON on the last line of an answer, if it says ok; raises as ``ask``."""
    said = _last_json(answer.out)
    if answer.code == 0 and said.get("ok") is True:
        return said
    if full_disk(answer.err):
        raise UserError(f"{host}: {during}: the board's disk is full", next_step="free some space there")
    if answer.code in _NO_PROGRAM:
        raise MissingCapability(
            f"{host}: {during}: {last_line(answer.err)}", next_step="name the interpreter: --python"
        )
    if any(word in answer.err for word in ("mkdir:", "denied", "Read-only")):
        raise UserError(f"{host}: {during}: {last_line(answer.err)}", next_step="name a folder of yours there: --root")
    if not said:
        raise GateFailed(f"{host}: {during}: no answer (exit code {answer.code}): {last_line(answer.err)}")
    problems = [str(problem) for problem in said.get("problems", [])] or ["it gave no reason"]
    raise _KINDS.get(answer.code, GateFailed)(
        f"{host}: {during}: {problems[0]}", problems=tuple(problems[1:]), next_step=str(said.get("next", ""))
    )


def full_disk(said: str) -> bool:
    """Whether an error stream tells of a full disk."""
    return "No space left" in said or "quota exceeded" in said.lower()


def last_line(said: str) -> str:
    """The last line of an error stream, short."""
    return ([line.strip() for line in said.splitlines() if line.strip()] or ["without a word"])[-1][:200]


class Lock:
    """Holds the board's lock for the length of a ``with``; heartbeats tell the board that this workstation lives.

    Args:
        ssh: the way to the board.
        script: the verb ``lock``.

    Attributes:
        stale: what was said of a holder that had died; "" where there was none.
    """

    def __init__(self, ssh: Ssh, script: str) -> None:
        self.ssh, self.script, self.stale = ssh, script, ""
        self._over = threading.Event()

    def __enter__(self) -> Lock:
        with tempfile.TemporaryFile() as err:
            self._process = self.ssh.open(self.script, err=err)
            first, said = "", dict[str, Any]()
            # What the board's own shell start-up says comes before.
            while not said and self._process.stdout and (line := self._process.stdout.readline()):
                first = line.decode(errors="replace")
                said = _last_json(first)
            if not said.get("ok"):
                code = self._process.wait()
                end(self._process)
                err.seek(0)
                told = err.read().decode(errors="replace")
                if code < 0 or code == SSH_FAILED:
                    raise self.ssh.lost(told, during="lock")
                judged(Answer(code, first, told), host=self.ssh.host, during="lock")
                raise GateFailed(f"{self.ssh.host}: lock: no answer")
        self.stale = str(said.get("stale", ""))
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        end(self._process, within_s=GOODBYE_S)

    def check(self) -> None:
        """Raises BoardUnreachable where the connection that holds the lock was lost."""
        if self._process.poll() is not None:
            raise BoardUnreachable(
                f"{self.ssh.host}: the connection that held the board's lock was lost",
                next_step="the same command takes up where it stopped",
            )

    def _beat(self) -> None:
        stdin = self._process.stdin
        while stdin is not None and not self._over.wait(HEARTBEAT_S):
            try:
                stdin.write(b"\n")
                stdin.flush()
            except (OSError, ValueError):  # the connection is gone, or the pipe closed; check() says so
                return


def _last_json(text: str) -> dict[str, Any]:
    lines = text.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
