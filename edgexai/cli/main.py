"""The ``edgexai`` command: finds the noun, imports that noun's module only, and turns errors into exit codes.

Convention: a noun ``x`` is ``cli/x.py`` with a typer ``app``. An app with one command and no group of its own is shown
as that command (``edgexai doctor``), else as a group (``edgexai recipe ls``). Exit codes: see ``errors.py``.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from edgexai import __version__
from edgexai.config.heap import keep_freed_memory
from edgexai.errors import EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED, EdgexaiError, UserError

if TYPE_CHECKING:
    import typer

NOUNS = {
    "recipe": "Recipes: list, show, copy, check, run.",
    "data": "Data sets: list, fetch, check.",
    "explain": "What a classifier looks at: heatmaps for a run or any ONNX file.",
    "measure": "Measure an ONNX engine on a data set's test split.",
    "study": "Many arms and seeds over one store: the tables of the sources, a verdict per claim.",
    "bundle": "Pack what a run ended with, for a board.",
    "verify": "Check a bundle: bytes, signature, golden vectors.",
    "report": "Make a run's report again from its rows.",
    "compare": "Runs side by side: differences, intervals, and what must not be subtracted.",
    "flash": "A bundle onto a board over ssh: build, verify, measure, swap or roll back, rows back home.",
    "bench": "The speed claims, side by side with the peers.",
    "lint": "Whether the board's TensorRT takes an ONNX file, node by node.",
    "doctor": "What this machine can do, what is missing, what would install it.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    Args:
        argv: the words after ``edgexai``; ``sys.argv`` when None, and then the process is the command's own: the
            memory it frees is kept (``config/heap.py``). A caller's process is left as it is.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        keep_freed_memory()
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # here, so that a reader who has gone is noticed while it can be handled
        return code
    except KeyboardInterrupt:
        return _interrupted()
    except EdgexaiError as error:
        _say(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:
        _drop_output()  # the reader (head, less) has gone: nothing is left to say
        return EXIT_DONE
    except OSError as error:
        shown = _machine_fault(error)
        if shown is None:
            raise
        _say(f"error: {shown}")
        try:
            sys.stdout.flush()
        except OSError:  # standard output itself is what is full
            _drop_output()
        return shown.exit_code


def _dispatch(words: list[str]) -> int:
    """Runs the noun; the exit code typer ended with."""
    if words == ["--version"]:
        print(f"edgexai {__version__}")
    elif words in (["recipe", "ls"], ["recipe", "ls", "--json"]):
        from edgexai.cli.listing import print_recipes  # the quick way: typer alone costs more than the listing

        print_recipes(as_json=len(words) == 3)
    else:
        try:
            _root(words)(args=words, prog_name="edgexai")
        except SystemExit as end:  # typer always ends so, also on Ctrl-C
            code = _code(end)
            return _interrupted() if code == EXIT_INTERRUPTED else code
    return EXIT_DONE


def _root(words: Sequence[str]) -> typer.Typer:
    """The command tree: only the asked noun where there is one, all of them for help and for misspellings."""
    import typer

    root = typer.Typer(
        name="edgexai",
        help="recipe -> twin -> engine -> evidence, for small image classifiers on edge boards.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )

    @root.callback()
    def _about(version: bool = typer.Option(False, "--version", help="Show the version and stop.")) -> None:
        """recipe -> twin -> engine -> evidence, for small image classifiers on edge boards."""

    known = [noun for noun in NOUNS if _present(noun)]
    asked = words[:1] if words and words[0] in known else known
    for noun in asked:
        app = import_module(f"edgexai.cli.{noun}").app
        if len(app.registered_commands) == 1 and app.registered_callback is None and not app.registered_groups:
            only = app.registered_commands[0]
            root.command(noun, help=only.help, no_args_is_help=only.no_args_is_help)(only.callback)
        else:
            root.add_typer(app, name=noun, help=NOUNS[noun], no_args_is_help=True)
    return root


def _present(noun: str) -> bool:
    """Whether this installation has the noun (a board's may lack some)."""
    from importlib.util import find_spec

    return find_spec(f"edgexai.cli.{noun}") is not None


def _interrupted() -> int:
    _say("interrupted; the same command takes up where it stopped")
    return EXIT_INTERRUPTED


def _code(end: SystemExit) -> int:
    """The exit code a SystemExit carries."""
    if end.code is None:
        return EXIT_DONE
    return end.code if isinstance(end.code, int) else EXIT_BUG


def _machine_fault(error: OSError) -> UserError | None:
    """A fault of the machine's disks in the user's words; None where it looks like a bug of ours."""
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"the disk is full{where}; nothing half-written is kept",
            next_step="free some space, or set EDGEXAI_HOME to a folder on another disk; then run the same command",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"not allowed to write or read{where}: {error.strerror}",
            next_step="set EDGEXAI_HOME to a folder you may write to",
        )
    return None


def _drop_output() -> None:
    """Sends what is left of standard output nowhere, so that the interpreter does not fail on it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    print(text, file=sys.stderr)
