"""Errors a user sees, and the exit code each ends with. Anything else is our bug: exit 1 with a traceback."""

from __future__ import annotations

EXIT_DONE, EXIT_BUG, EXIT_USER, EXIT_MISSING, EXIT_GATE, EXIT_BOARD, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


class EdgexaiError(Exception):
    """Base of every error that is shown without a traceback.

    Args:
        what: what is wrong and where, one line.
        problems: further lines, one fault each (all faults are reported together).
        next_step: what to do now.
    """

    exit_code = EXIT_BUG

    def __init__(self, what: str, *, problems: tuple[str, ...] = (), next_step: str = "") -> None:
        super().__init__(what)
        self.what, self.problems, self.next_step = what, problems, next_step

    def __str__(self) -> str:
        lines = [self.what, *(f"  {p}" for p in self.problems)]
        return "\n".join([*lines, f"  next: {self.next_step}"] if self.next_step else lines)


class UserError(EdgexaiError):
    """The user's input is wrong: a recipe, a path, an image, a CSV, a full disk."""

    exit_code = EXIT_USER


class ShapeError(UserError):
    """An array does not have the shape or type the contract asks for."""


class MissingCapability(EdgexaiError):
    """A runtime, device, data set or package is not here; ``next_step`` says what would install it."""

    exit_code = EXIT_MISSING


class GateFailed(EdgexaiError):
    """A gate or a verification was decided against the artefact."""

    exit_code = EXIT_GATE


class BoardUnreachable(EdgexaiError):
    """The board does not answer, does not let us in, or was lost on the way."""

    exit_code = EXIT_BOARD
