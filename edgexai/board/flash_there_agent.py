"""Runs one verb of a release's agent on the board and judges its answer.

Part of the tool that ``edgexai flash`` sends (see ``flash_there``): standard library only, Python 3.10.

Convention: the agent ends with one JSON object on the last line of standard output, {"ok", "verb", "runtime",
"problems", ...}, and with an exit code of ``edgexai.errors``. What does not answer so is not believed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from edgexai.errors import EXIT_MISSING, EXIT_USER, GateFailed, MissingCapability, UserError

IN_SERVICE_S = 1800.0
"""What a verification in service may take: one that hangs must not stay what is served."""


def run_agent(
    root: Path, release: str, verb: str, *, python: str = "", watch: bool, within_s: float = IN_SERVICE_S
) -> dict[str, Any]:
    """The agent's answer, only if it says ok.

    Args:
        root: of the board.
        release: whose agent, bundle and state.
        verb: doctor, build, verify or measure.
        python: interpreter; that of this tool when empty.
        watch: stop the agent when standard input ends, which is when the workstation has gone; it sets the limit
            of time then.
        within_s: seconds after which an agent that is not watched is stopped.

    Raises:
        UserError, MissingCapability, GateFailed: as the agent says by its exit code.
        MissingCapability: it does not know the verb, or answers in no agreed form.
        GateFailed: it was killed, took too long, or the workstation has gone.
    """
    bundle, state = root / "releases" / release, root / "state" / release
    state.mkdir(parents=True, exist_ok=True)
    command = [python or sys.executable, str(bundle / "agent.pyz"), verb]
    command += ["--bundle", str(bundle), "--state", str(state), "--json"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+", errors="replace") as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True, cwd=state
        )
        until = time.monotonic() + within_s
        while child.poll() is None:
            lost = watch and select.select([sys.stdin], [], [], 0)[0] and not sys.stdin.readline()
            if lost or (not watch and time.monotonic() > until):
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                why = f"the connection was lost during {verb}" if lost else f"{verb} took more than {within_s:.0f} s"
                raise GateFailed(f"{why}; the agent was stopped")
            time.sleep(0.02)
        out.seek(0)
        errors.seek(0)
        answer, last = _last_json(out), (errors.read().strip().splitlines() or [""])[-1][:300]
    code = child.returncode
    if code == 0 and answer.get("ok") is True and answer.get("verb") == verb:
        return answer
    if code < 0:
        raise GateFailed(f"the agent was killed by signal {-code} during {verb}")
    if answer.get("verb") != verb:
        raise MissingCapability(
            f"the agent does not answer {verb} as agreed (exit code {code}): {last or 'silence'}",
            next_step="make the bundle again with this edgexai: its agent is of another version",
        )
    said = "; ".join(map(str, answer.get("problems", []))) or last or "it gave no reason"
    raise {EXIT_USER: UserError, EXIT_MISSING: MissingCapability}.get(code, GateFailed)(f"{verb}: {said}")


def _last_json(file: IO[str]) -> dict[str, Any]:
    lines = file.read().strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
