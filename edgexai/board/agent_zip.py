"""Builds ``agent.pyz`` from the package's own modules: what the agent imports, and nothing else.

The modules are found by walking the syntax trees from ``board/agent``; one that would need a package which a Jetson
does not have is refused here, not on the board. The same sources give the same bytes.
Standard library only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from edgexai.board.canonical_zip import zip_bytes

_PACKAGE = Path(__file__).resolve().parents[1]
_ON_A_BOARD = {"numpy", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "PIL"}
"""Beside the standard library; all but NumPy are imported when they are used."""
_START = b"#!/usr/bin/env python3\n"
_MAIN = '''"""Starts the agent, or says why it cannot."""

import sys

if sys.version_info < (3, 10):
    said = "Python %d.%d: the agent needs 3.10 or newer" % sys.version_info[:2]
    sys.stderr.write("error: " + said + "\\n")
    if "--json" in sys.argv:
        sys.stdout.write('{"ok": false, "verb": "", "runtime": "", "problems": ["' + said + '"]}\\n')
    sys.exit(3)

from edgexai.board.agent.main import main

sys.exit(main())
'''


def agent_bytes() -> bytes:
    """The zipapp.

    Raises:
        RuntimeError: a module of the agent imports what a board does not have: our bug.
    """
    modules = {p.relative_to(_PACKAGE.parent).as_posix(): p.read_bytes() for p in agent_modules().values()}
    return zip_bytes({"__main__.py": _MAIN.encode(), **modules}, start=_START)


def agent_modules() -> dict[str, Path]:
    """Dotted name -> file of every module that travels, packages' ``__init__`` included.

    Raises:
        RuntimeError: see ``agent_bytes``.
    """
    found: dict[str, Path] = {}
    agent = sorted((_PACKAGE / "board" / "agent").glob("*.py"))
    left = [".".join(p.relative_to(_PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for p in agent]
    while left:
        name = left.pop()
        if name in found:
            continue
        path = _file_of(name)
        if path is None:
            continue  # a name inside a module, not a module
        found[name] = path
        if "." in name:
            left.append(name.rpartition(".")[0])
        for wanted in _imported(ast.parse(path.read_text(encoding="utf-8")), entries=name == "edgexai.engine"):
            top = wanted.partition(".")[0]
            if top == "edgexai":
                left += [wanted, wanted.rpartition(".")[0]]
            elif top not in sys.stdlib_module_names and top not in _ON_A_BOARD:
                raise RuntimeError(f"{name} imports {wanted}: the agent cannot travel with it")
    return dict(sorted(found.items()))


def _file_of(name: str) -> Path | None:
    place = _PACKAGE.parent.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported(tree: ast.AST, *, entries: bool) -> Iterator[str]:
    """Dotted names of all imports but those for type checkers; with ``entries`` also what a registry names."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            wanted = ("import_module", "Entry") if entries else ("import_module",)
            if node.func.id in wanted and isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value.partition(":")[0]
