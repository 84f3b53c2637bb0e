"""The README's commands are run. A ``console`` block counts when the line before it is ``<!-- test -->``, or
``<!-- test: slow -->`` for minutes. Lines that begin with ``$ `` are the commands; what they print is not compared.

The commands of one block run in order, in one shell, in an empty folder with its own ``EDGEXAI_HOME``; ``edgexai`` and
``python`` are those of the environment that runs the tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
_BLOCK = re.compile(
    r"^<!-- test(?P<slow>: slow)? -->[ \t]*\n+```console[ \t]*\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    line: int
    slow: bool
    commands: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """The marked blocks; a command may go on over lines that end in a backslash."""
    found = []
    for match in _BLOCK.finditer(text):
        joined = re.sub(r"\\\n[> ]*", "", match["body"])
        commands = tuple(line[2:] for line in joined.splitlines() if line.startswith("$ "))
        found.append(Block(text[: match.start()].count("\n") + 1, bool(match["slow"]), commands))
    return found


def run_block(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    # The scripts of the tests' own environment come first: a README says "edgexai", not a path to it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(block.commands)],
        cwd=folder,
        env={**os.environ, "PATH": path, "EDGEXAI_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
    )


_FOUND = blocks(README.read_text(encoding="utf-8"))
_CASES = [
    pytest.param(block, id=f"line{block.line}", marks=[pytest.mark.slow] if block.slow else []) for block in _FOUND
]


@pytest.mark.parametrize("block", _CASES)
def test_commands_of_the_readme(block: Block, tmp_path: Path) -> None:
    assert block.commands, f"README.md:{block.line}: a tested block without a command"
    done = run_block(block, tmp_path)
    assert done.returncode == 0, f"README.md:{block.line}\n{done.stdout}\n{done.stderr}"


def test_every_marker_has_its_block() -> None:
    """A marker that is misspelt, or not right above a console block, would silently test nothing."""
    text = README.read_text(encoding="utf-8")
    assert len(re.findall(r"<!--\s*test", text)) == len(_FOUND)


EXAMPLE = """# x
<!-- test -->
```console
$ echo one \\
    two
one two
$ edgexai --version
```

```console
$ exit 7
```
<!-- test: slow -->

```console
$ false
$ true
```
"""


def test_blocks_are_found_and_joined() -> None:
    assert blocks(EXAMPLE) == [
        Block(2, False, ("echo one two", "edgexai --version")),
        Block(13, True, ("false", "true")),
    ]


def test_a_failing_command_fails_its_block(tmp_path: Path) -> None:
    good, bad = blocks(EXAMPLE)
    done = run_block(good, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "one two"
    assert done.stdout.splitlines()[1].startswith("edgexai ")
    assert run_block(bad, tmp_path).returncode != 0
