"""``python3 agent.pyz doctor|unpack|build|verify|measure|classify``: the agent's command line.

Convention: lines for people go to standard error; with ``--json`` the last line on standard output is one JSON object
``{"ok", "verb", "runtime", "problems", "agent", ...}``. Exit codes are those of ``errors.py``: 0 done, 1 our bug,
2 input, 3 something is missing, 4 verification failed, 130 interrupted. Imports NumPy only through the verbs, so that
``doctor`` can say that it is missing.
"""

from __future__ import annotations

import argparse
import errno
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgexai.board.agent import VERSION
from edgexai.board.manifest import FORMAT
from edgexai.errors import EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED, EXIT_USER, EdgexaiError, MissingCapability, UserError

Verb = Callable[[argparse.Namespace, dict[str, Any]], None]
"""Takes the arguments and the answer to fill; raises where it cannot do its work."""

_VERBS = {
    "doctor": "what this board is and has, and what the bundle needs of it",
    "unpack": "open a bundle's tar safely",
    "build": "build the engine for this board, where the runtime needs one",
    "verify": "hold every file against the manifest, and the engine against the golden vectors",
    "measure": "measure the engine on the bundle's probes, with the workstation's own code",
    "classify": "decide on image files",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    asked = _parser().parse_args(words)
    answer: dict[str, Any] = {"ok": False, "verb": asked.verb, "runtime": "", "problems": [], "agent": VERSION}
    try:
        code = _answered(asked, answer)
    except KeyboardInterrupt:
        answer["problems"], code = ["interrupted"], EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  whatever happens, whoever asked by --json gets an answer
        answer["problems"], code = [f"a bug in the agent: {type(error).__name__}: {error}"], EXIT_BUG
        traceback.print_exc(file=sys.stderr)
    answer["ok"] = code == EXIT_DONE
    if asked.json:
        sys.stdout.write(json.dumps(answer, sort_keys=True) + "\n")
        sys.stdout.flush()
    return code


def _answered(asked: argparse.Namespace, answer: dict[str, Any]) -> int:
    try:
        if asked.verb not in ("doctor", "unpack") and find_spec("numpy") is None:
            raise MissingCapability("NumPy is not installed", next_step="sudo apt-get install python3-numpy")
        verb: Verb = getattr(import_module(f"edgexai.board.agent.{asked.verb}"), asked.verb)
        verb(asked, answer)
    except EdgexaiError as error:
        sys.stderr.write(f"error: {error}\n")
        answer["problems"] = [error.what, *error.problems]
        if error.next_step:
            answer["next"] = error.next_step
        return error.exit_code
    except OSError as error:
        shown = _machine_fault(error)
        if shown is None:
            raise
        sys.stderr.write(f"error: {shown}\n")
        answer["problems"], answer["next"] = [shown.what], shown.next_step
        return EXIT_USER
    return EXIT_DONE


def _machine_fault(error: OSError) -> UserError | None:
    """A fault of the board's disk in the user's words; None where it looks like a bug of ours."""
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk is full{where}; nothing half-written is kept", next_step="free some space")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"not allowed to read or write{where}: {error.strerror}", next_step="look at its owner")
    return None


def _parser() -> argparse.ArgumentParser:
    about = f"edgexai agent {VERSION} (bundle format {FORMAT})"
    parser = argparse.ArgumentParser(prog="agent.pyz", description=about)
    parser.add_argument("--version", action="version", version=about)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, what in _VERBS.items():
        verb = verbs.add_parser(name, help=what, description=what)
        verb.add_argument("--json", action="store_true", help="end with one JSON object on standard output")
        if name == "unpack":
            verb.add_argument("file", type=Path, help="the bundle's tar")
            verb.add_argument("folder", type=Path, help="to make")
            continue
        verb.add_argument("--bundle", type=Path, required=name != "doctor", help="folder of the unpacked bundle")
        verb.add_argument("--state", type=Path, required=name != "doctor", help="folder for what the agent makes")
        verb.add_argument("--runtime", choices=("auto", "tensorrt", "onnxruntime"), default="auto")
        verb.add_argument("--threads", type=int, default=0, help="of ONNX Runtime; 0 = one per core")
        if name == "measure":
            verb.add_argument("--limit", type=int, default=0, help="probe images at most, for a look; 0 = all")
        if name == "classify":
            verb.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="PNG, PPM, NPY; others need Pillow")
    return parser
