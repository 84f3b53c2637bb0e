"""Collects faults of the user's files, so that ten are mended at once instead of one a run."""

from __future__ import annotations

from edgexai.errors import UserError

_SHOWN = 10


class Faults:
    """Faults in the order found.

    Args:
        what: what the faults are of, e.g. "gtsrb".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, where: str, problem: str) -> None:
        """Notes one fault; ``where`` is a file, with ``:line`` where it has lines."""
        self._found.append(f"{where}: {problem}")

    def raise_if_any(self, *, next_step: str) -> None:
        """Ends with every fault, the first ten in words.

        Raises:
            UserError: at least one fault was noted.
        """
        if not self._found:
            return
        shown = self._found[:_SHOWN]
        if more := len(self._found) - len(shown):
            shown.append(f"... and {more} more")
        count = "1 fault" if len(self._found) == 1 else f"{len(self._found)} faults"
        raise UserError(f"{self._what}: {count}", problems=tuple(shown), next_step=next_step)
