"""Brings a bundle into service on a board over ssh: push, unpack, build, verify, measure, swap, fetch the rows.

Does not flash the operating system: it never writes outside its folder on the board and needs no root there.

Convention: until the swap, nothing of what the board serves is touched. The swap, the verification of what is then
served, and the way back are one process on the board that no lost connection stops. A second flash of the same bundle
takes up where the first one stopped.
"""

from __future__ import annotations

import getpass
import secrets
import shlex
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from edgexai.board.flash_calls import Calls, Lock, ask, judged
from edgexai.board.flash_facts import compare_facts
from edgexai.board.flash_push import Transfer, push, rsync_command
from edgexai.board.flash_tool import pack_tool
from edgexai.board.sign import check_signature
from edgexai.board.ssh import Ssh
from edgexai.board.unpack import digest, unpack
from edgexai.config.targets import read_target
from edgexai.errors import GateFailed, MissingCapability, UserError
from edgexai.types import Row

Say = Callable[[str], None]
AGENT_VERBS = ("doctor", "build", "verify", "measure")


@dataclass(frozen=True)
class Flashed:
    """What came of a flash.

    Attributes:
        release: what the board serves now.
        name: of the bundle.
        rows: the board's own, as its agent wrote them.
        workstation_rows: those that came with the bundle.
        facts: what the board said of itself.
        lock: recipe.lock.json of the bundle, as text; "" where it has none.
    """

    release: str
    name: str
    rows: tuple[Row, ...]
    workstation_rows: tuple[Row, ...]
    facts: dict[str, Any]
    lock: str


@dataclass(frozen=True)
class Order:
    """What is to be flashed where.

    Attributes:
        bundle: the file.
        ssh: the way to the board.
        root: folder on the board.
        python: interpreter on the board.
        target: name of a target the board must be; None takes the bundle's own, if it names one.
        signers: OpenSSH's allowed_signers, one of whom must have signed the bundle; None asks for no signature.
        transfer: how the bundle travels.
        timeout_s: for the longest step, in seconds.
    """

    bundle: Path
    ssh: Ssh
    root: str = "~/edgexai"
    python: str = "python3"
    target: str | None = None
    signers: Path | None = None
    transfer: Transfer = "auto"
    timeout_s: float = 3600


def flash(order: Order, *, say: Say) -> Flashed:
    """Carries out the whole way, in order.

    Args:
        order: what, where.
        say: gets one line per step.

    Raises:
        UserError: the bundle or the target is wrong, the board's disk is full, or another flash is at work.
        MissingCapability: the board lacks something the bundle needs, or its agent is of another version.
        GateFailed: a byte or a decision is not what it should be; what was served is served as before.
        BoardUnreachable: no connection, or it was lost.
    """
    with tempfile.TemporaryDirectory() as scratch:
        calls, manifest, rows, lock = _read(order, Path(scratch) / "bundle")
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    with order.ssh.shared() as ssh:
        wanted = order.target or manifest.get("target")
        facts = _connect(ssh, calls, name=wanted, say=say)
        with Lock(ssh, calls.verb("lock", who=who)) as held:
            if held.stale:
                say(f"lock: {held.stale}")
            sent = push(
                ssh,
                calls,
                order.bundle,
                rsync_there=facts["rsync"],
                transfer=order.transfer,
                timeout_s=order.timeout_s,
                say=say,
            )
            say(f"push: {sent} bytes")
            ask(ssh, calls.verb("unpack"), during="unpack", timeout_s=order.timeout_s)
            say(f"unpack: {calls.release}, every digest as in the bundle")
            measured = _evidence(ssh, calls, held, facts, jetson=bool(wanted), timeout_s=order.timeout_s, say=say)
            held.check()
            ask(ssh, calls.verb("swap"), during="swap", timeout_s=order.timeout_s)
    say(f"swap: the board serves {calls.release}, verified in service")
    return Flashed(calls.release, str(manifest["name"]), measured, rows, facts, lock)


def _connect(ssh: Ssh, calls: Calls, *, name: str | None, say: Say) -> dict[str, Any]:
    """Sends the tool and holds the board's facts against what is needed."""
    target = read_target(name) if name else None
    installed = ssh.run(calls.install(), during="connect", feed=calls.tool.content)
    if installed.code:
        judged(installed, host=ssh.host, during="connect")
    facts = ask(ssh, calls.verb("facts"), during="connect")
    found = compare_facts(facts, bundle_bytes=calls.size, target=target)
    if found.faults:
        said = f"{ssh.host}: the board is not what the bundle needs" + (f" (target {name})" if name else "")
        raise UserError(said, problems=found.faults, next_step="edgexai flash --list-targets" if name else "")
    unchecked = f"; not told by the board, so not checked: {', '.join(found.unchecked)}" if found.unchecked else ""
    say(f"connect: {facts['model'] or facts['machine']}, Python {facts['python']}{unchecked}")
    return facts


def _evidence(
    ssh: Ssh, calls: Calls, held: Lock, facts: dict[str, Any], *, jetson: bool, timeout_s: float, say: Say
) -> tuple[Row, ...]:
    """Lets the agent look, build, verify and measure; the rows it measured. Its own facts join ``facts``."""

    def agent(verb: str) -> dict[str, Any]:
        held.check()
        answer: dict[str, Any] = ask(ssh, calls.verb("agent", agent_verb=verb), during=verb, timeout_s=timeout_s)[
            "agent"
        ]
        return answer

    doctor = agent("doctor")
    facts["agent"] = doctor.get("facts", {})
    if jetson and not str(doctor.get("runtime", "")).startswith("tensorrt"):
        raise MissingCapability(
            f"{ssh.host}: a target was named, and its runtime is TensorRT; the agent would run {doctor.get('runtime')}",
            next_step="look at the board's JetPack, or flash without a target to run what is there",
        )
    verified: dict[str, Any] = {}
    if facts["current"] == calls.release:
        # Nothing is built over what is served while that is good.
        with suppress(GateFailed, UserError):
            verified = agent("verify")
    if verified:
        say("build: nothing; the board serves this bundle already, and it verifies")
    else:
        say(f"build: {agent('build').get('runtime') or 'done'}")
        verified = agent("verify")
    say(f"verify: {verified.get('runtime') or 'done'}")
    agent("measure")
    left = ssh.run(calls.rows(), during="measure")
    # What the board's own shell start-up says stands before them.
    said = "\n".join(line for line in left.out.splitlines() if line.startswith("{"))
    rows = _rows(said, ssh.host) if left.code == 0 else ()
    if not rows:
        raise GateFailed(f"{ssh.host}: measure left no rows on the board")
    say(f"measure: {len(rows)} rows")
    return rows


def planned(order: Order) -> list[str]:
    """Every command that ``flash`` would give, quoted for a shell, in order; nothing is sent anywhere.

    Raises:
        UserError, GateFailed: the bundle is wrong.
    """
    with tempfile.TemporaryDirectory() as scratch:
        calls = _read(order, Path(scratch) / "bundle")[0]

    def shown(script: str) -> str:
        return shlex.join(order.ssh.command(script))

    who = f"{getpass.getuser()}@{socket.gethostname()}"
    lines = [f"{shown(calls.install())} < {calls.tool.name}", shown(calls.verb("facts"))]
    lines += [f"{shown(calls.verb('lock', who=who))} &", shown(calls.verb("have"))]
    carry = f"{shown(calls.receive(append=False))} < {shlex.quote(str(order.bundle))}"
    lines.append(carry if order.transfer != "rsync" else shlex.join(rsync_command(order.ssh, calls, order.bundle)))
    lines.append(shown(calls.verb("unpack")))
    lines += [shown(calls.verb("agent", agent_verb=verb)) for verb in AGENT_VERBS]
    return [*lines, shown(calls.rows()), shown(calls.verb("swap"))]


def _read(order: Order, place: Path) -> tuple[Calls, dict[str, Any], tuple[Row, ...], str]:
    """The bundle, verified here before a byte of it leaves; its digest is what the board is held to."""
    if order.signers is not None:
        check_signature(order.bundle, signers=order.signers)
    manifest = unpack(order.bundle, place)
    if "agent.pyz" not in manifest["files"]:
        raise UserError(f"{order.bundle}: has no agent.pyz", next_step="make the bundle again: edgexai bundle")
    calls = Calls(
        pack_tool(),
        digest(order.bundle),
        order.bundle.stat().st_size,
        secrets.token_hex(8),
        root=order.root,
        python=order.python,
    )
    rows, lock = place / "rows.jsonl", place / "recipe.lock.json"
    return (
        calls,
        manifest,
        _rows(rows.read_text("utf-8", "replace"), str(order.bundle)) if rows.is_file() else (),
        lock.read_text("utf-8", "replace") if lock.is_file() else "",
    )


def _rows(text: str, source: str) -> tuple[Row, ...]:
    try:
        rows = tuple(Row.from_json(line) for line in text.splitlines() if line.strip())
    except (ValueError, TypeError, KeyError) as error:
        raise GateFailed(f"{source}: rows that this edgexai cannot read: {error}") from error
    if odd := [row for row in rows if not _sound(row)]:
        raise GateFailed(f"{source}: rows that this edgexai cannot read: {str(odd[0])[:200]}")
    return rows


def _sound(row: Row) -> bool:
    """Whether a report can print it: the types of ``Row``, which JSON does not promise."""
    words = (row.arm, row.artefact, row.subject, row.metric, row.unit, row.interval, row.split, row.control)
    numbers = (row.value, row.low, row.high, row.n)
    return (
        all(isinstance(word, str) for word in (*words, row.status, row.reason, row.runtime, *row.flags))
        and all(v is None or (isinstance(v, (int, float)) and isfinite(v)) for v in numbers)
        and isinstance(row.n, int)
        and isinstance(row.detail, dict)
        and (row.value is None) == (row.status != "measured")
    )
