"""The system's own ssh, told to ask nothing: commands on the board, and what their failure means.

Convention: keys only (``BatchMode``), known hosts only (``StrictHostKeyChecking=yes``), a dead connection is noticed
within half a minute. Everything else (port, key, jump host) is the user's ssh configuration. ssh itself ends with 255;
that, or an ssh that was killed, is a board that cannot be reached, and nothing else is.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO

from edgexai.errors import BoardUnreachable, EdgexaiError, MissingCapability, UserError

_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
}
_HOST = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*(@[A-Za-z0-9_.:\[\]-]+)?")
_PATH = re.compile(r"(~/)?[A-Za-z0-9_./-]+")
SSH_FAILED = 255
"""Exit code by which ssh itself failed."""
_MEANINGS = (
    ("host key verification failed", "its host key is not known here", "ssh {host} once and compare the fingerprint"),
    ("identification has changed", "its host key has changed", "find out why, then: ssh-keygen -R {host}"),
    ("permission denied", "it lets no key of yours in", "ssh-copy-id {host}"),
    ("could not resolve", "no such host", "check the name, or give the address"),
    ("connection refused", "nothing listens there", "is sshd running on the board, and the port right?"),
    ("timed out", "no answer", "is the board on, and on this network?"),
    ("no route", "no way there", "is the board on, and on this network?"),
)


@dataclass(frozen=True)
class Answer:
    """What a command on the board left.

    Attributes:
        code: exit code, never ssh's own.
        out, err: its output.
    """

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Ssh:
    """How a board is reached.

    Attributes:
        host: "user@board", or a name of the ssh configuration.
        port: None for ssh's own choice.
        config: an ssh configuration to read instead of the user's.
        control: socket of a connection that several commands share; see ``shared``.
    """

    host: str
    port: int | None = None
    config: Path | None = None
    control: Path | None = None

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise UserError(f'"{self.host}" is not a host', next_step="write user@board, or a name of your ssh config")

    def base(self) -> list[str]:
        """``ssh`` with its options, without the host: what rsync is given."""
        words = ["ssh", *(["-F", str(self.config)] if self.config else [])]
        words += [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
        if self.control:
            words += ["-o", "ControlMaster=auto", "-o", f"ControlPath={self.control}", "-o", "ControlPersist=30"]
        return [*words, *(["-p", str(self.port)] if self.port else [])]

    @contextmanager
    def shared(self) -> Iterator[Ssh]:
        """The same board with one connection for all commands within: keys are shown and checked once."""
        # Short, because a socket's path may have some hundred characters only.
        with tempfile.TemporaryDirectory(prefix="edgexai-", dir="/tmp") as folder:
            ssh = replace(self, control=Path(folder) / "s")
            try:
                yield ssh
            finally:
                with suppress(FileNotFoundError):  # no ssh here, as the first command has said
                    subprocess.run([*ssh.base(), "-O", "exit", self.host], capture_output=True, check=False)

    def command(self, script: str) -> list[str]:
        """The command line that runs a POSIX shell script on the board, whatever the user's login shell is."""
        return [*self.base(), self.host, f"sh -c {shlex.quote(script)}"]

    def run(self, script: str, *, during: str, feed: bytes | BinaryIO | None = None, timeout_s: float = 60) -> Answer:
        """Runs a script on the board and waits for its end.

        Args:
            script: of a POSIX shell.
            during: names the step in what a user reads, e.g. "build".
            feed: its standard input: bytes, or an open file from where it stands. None: open and silent until the
                script ends, so that the board can tell when the workstation goes.
            timeout_s: seconds until it is given up.

        Raises:
            BoardUnreachable: no connection, or it was lost.
            MissingCapability: there is no ssh here.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as fed:
            given: BinaryIO | int = subprocess.PIPE
            if isinstance(feed, bytes):
                fed.write(feed)
                fed.seek(0)
                given = fed
            elif feed is not None:
                given = feed
            # A file, not a pipe we would write to: the time limit then holds for a board that stops reading, too.
            process = start(self.command(script), out=out, err=err, given=given)
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired as error:
                raise BoardUnreachable(
                    f"{self.host}: {during} took more than {timeout_s:.0f} s and was given up"
                ) from error
            finally:
                end(process)
            out.seek(0)
            err.seek(0)
            answer = Answer(code, out.read().decode(errors="replace"), err.read().decode(errors="replace"))
        if code == SSH_FAILED or code < 0:
            raise self.lost(answer.err, during=during)
        return answer

    def open(self, script: str, *, err: IO[bytes]) -> subprocess.Popen[bytes]:
        """Starts a script on the board that goes on until its standard input is closed; its output is a pipe.

        Args:
            script: of a POSIX shell.
            err: where its error stream goes.
        """
        return start(self.command(script), out=subprocess.PIPE, err=err)

    def lost(self, said: str, *, during: str) -> EdgexaiError:
        """What ssh's own failure means, in the user's words.

        Args:
            said: what ssh wrote on its error stream.
            during: the step.
        """
        for sign, meaning, remedy in _MEANINGS:
            if sign in said.lower():
                return BoardUnreachable(
                    f"{self.host}: cannot be reached: {meaning}", next_step=remedy.format(host=self.host)
                )
        last = ([line for line in said.splitlines() if line.strip()] or ["without a word"])[-1].strip()
        return BoardUnreachable(
            f"{self.host}: the connection was lost during {during} ({last[:200]})",
            next_step="the same command takes up where it stopped",
        )


def start(
    command: list[str], *, out: IO[bytes] | int, err: IO[bytes] | int, given: IO[bytes] | int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """Starts ssh or rsync; its standard input is ``given``, an open pipe where nothing is said.

    Raises:
        MissingCapability: the program is not here.
    """
    try:
        return subprocess.Popen(command, stdin=given, stdout=out, stderr=err)
    except FileNotFoundError as error:
        raise MissingCapability(f"there is no {command[0]} here", next_step=f"install {command[0]}") from error


def end(process: subprocess.Popen[bytes], *, within_s: float = 0) -> None:
    """Closes a process's standard input, and stops it if it still runs ``within_s`` seconds later."""
    if process.stdin and not process.stdin.closed:
        with suppress(BrokenPipeError):  # it has gone already; its exit code tells
            process.stdin.close()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.terminate()
    process.wait()


def check_path(path: str, *, what: str) -> str:
    """A path on the board that no shell can misread.

    Raises:
        UserError: it has other characters than letters, digits and ``. _ - /``, or a leading ``~/``.
    """
    if not _PATH.fullmatch(path) or ".." in path.split("/"):
        raise UserError(f'{what} "{path}": letters, digits, ".", "_", "-", "/" and a leading "~/" are allowed')
    return path
