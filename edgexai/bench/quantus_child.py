"""The other interpreter, in which Quantus lives: started once, asked in turn with our own code."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import edgexai
from edgexai.errors import MissingCapability

VARIABLE = "EDGEXAI_QUANTUS_PYTHON"
_INSTALL = (
    'python3 -m venv DIR; DIR/bin/pip install edgexai "quantus==0.5.3" "numpy<2.4"; then set '
    f"{VARIABLE} to DIR/bin/python"
)


class QuantusChild:
    """Use as a context manager.

    Args:
        folder: holds arrays.npz and network/ (see ``quantus_side``).

    Raises:
        MissingCapability: no such interpreter, or Quantus does not import in it.
    """

    def __init__(self, folder: Path) -> None:
        python = os.environ.get(VARIABLE)
        if not python:
            raise MissingCapability(
                f"{VARIABLE} is not set: Quantus needs an interpreter of its own", next_step=_INSTALL
            )
        here = Path(edgexai.__file__).resolve().parent
        command = [python, str(here / "bench" / "quantus_side.py"), str(folder)]
        quiet = {**os.environ, "PYTHONPATH": str(here.parent), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet
            )
        except OSError as error:
            raise MissingCapability(f"{VARIABLE} = {python}: {error.strerror}", next_step=_INSTALL) from error
        self.versions: dict[str, str] = self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        """Orders one measurement: {"seconds": of it alone, "values": ...}."""
        stdin = self._process.stdin
        if stdin is None:
            raise MissingCapability("Quantus' interpreter has no input")
        stdin.write(json.dumps({"do": what}) + "\n")
        stdin.flush()
        answer: dict[str, Any] = self._answer()
        return answer

    def _answer(self) -> Any:
        stdout = self._process.stdout
        line = "" if stdout is None else stdout.readline()
        while line and not line.startswith("{"):  # Quantus prints warnings to standard output
            line = "" if stdout is None else stdout.readline()
        if not line:
            _, said = self._process.communicate()
            raise MissingCapability(f"Quantus' interpreter ended: {said.strip()[-300:]}", next_step=_INSTALL)
        return json.loads(line)

    def __enter__(self) -> QuantusChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.communicate()
