"""The import rule of docs/architecture.md, read from the syntax trees: imports climb only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgexai"
LEVELS = {
    0: ("types", "errors", "registry", "config"),
    1: ("data", "models", "attack", "explain"),
    2: ("train", "export", "engine", "probe", "measure", "prune"),
    3: ("report", "board"),
    4: ("recipe", "bench"),
    5: ("study",),
    6: ("cli",),
    7: ("__main__",),
}
LEVEL = {room: level for level, rooms in LEVELS.items() for room in rooms}
# Rooms of one level that may be used by another of the same level; level 0 is one room in this respect.
BESIDE = {("prune", "train"), ("measure", "engine"), ("measure", "probe"), ("bench", "recipe")}
# Rooms that a machine without torch can import whole; what needs torch in them imports it when it runs.
TORCH_FREE = ("config", "report", "recipe", "study", "cli", "errors", "types", "registry")


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"), path


def room_of(dotted: str) -> str | None:
    """``edgexai.data.pack`` -> ``data``; None for edgexai itself and for other packages."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "edgexai" and len(parts) > 1 else None


def imported(source: str, module: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands, and of every ``Entry("module:name")``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*here[: len(here) - node.level + 1], *([base] if base else [])])
            # "from edgexai import data" names a room in the alias.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif (entry := entry_of(node)) is not None:
            yield node.lineno, entry.replace(":", ".")


def entry_of(node: ast.AST) -> str | None:
    """The text of an ``Entry("module:name", ...)`` call; None for any other node."""
    if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Entry" and node.args):
        return None
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def forbidden(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """One line per import that does not climb."""
    here, faults = room_of(module), []
    for line, name in imported(source, module, is_package=is_package):
        there = room_of(name)
        if here is None or there is None or there == here or there == "__version__":
            continue
        allowed = LEVEL[there] < LEVEL[here] or (here, there) in BESIDE or LEVEL[here] == LEVEL[there] == 0
        if not allowed:
            faults.append(f"{module}:{line}: {here} (level {LEVEL[here]}) imports {name} (level {LEVEL[there]})")
    return faults


def test_every_room_has_a_level() -> None:
    rooms = {room_of(module) for module, _ in modules()} - {None}
    assert rooms <= set(LEVEL), f"no level for {rooms - set(LEVEL)}"
    assert rooms == set(LEVEL)


def test_imports_climb_only() -> None:
    faults = [
        fault
        for module, path in modules()
        for fault in forbidden(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("edgexai.data.pack", "import edgexai.models.store"),
        ("edgexai.explain.lime", "from edgexai.attack import pgd"),
        ("edgexai.train.natural", "def f():\n    from edgexai.recipe.run import run_recipe"),
        ("edgexai.config.load", "from edgexai import data"),
        ("edgexai.config.load", "from ..data import pack"),
        ("edgexai.report.html", "if TYPE_CHECKING:\n    from edgexai.board import bundle"),
        ("edgexai.data", 'X = Entry("edgexai.train.natural:train", 1)'),
        ("edgexai.train.natural", "from edgexai.prune.cut import cut"),
    ],
)
def test_the_rule_catches_offenders(module: str, source: str) -> None:
    assert len(forbidden(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("edgexai.prune.finetune", "from edgexai.train import natural"),
        ("edgexai.measure.accuracy", "from edgexai.engine import twin\nfrom edgexai.probe.read import read"),
        ("edgexai.data.load", "from edgexai.config.recipe import DataTable\nfrom .pack import read\nimport numpy"),
        ("edgexai.errors", "from edgexai.types import Row"),
    ],
)
def test_the_rule_lets_good_imports_pass(module: str, source: str) -> None:
    assert forbidden(source, module) == []


def test_every_registry_entry_names_something_that_exists() -> None:
    """Read from the syntax trees too, so that no optional package is needed."""
    missing = []
    for module, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (entry := entry_of(node)) is None:
                continue
            dotted, _, name = entry.partition(":")
            target = PACKAGE.parent.joinpath(*dotted.split("."))
            file = target.with_suffix(".py") if target.with_suffix(".py").is_file() else target / "__init__.py"
            defined = _defined(file) if file.is_file() else set()
            if name not in defined:
                missing.append(f"{module}: {entry}")
    assert not missing, "\n".join(missing)


def _defined(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_torch_free_rooms_import_without_torch() -> None:
    wanted = [module for module, _ in modules() if room_of(module) in TORCH_FREE]
    # The stage functions are the one place in recipe where the twin is worked on.
    wanted = [module for module in wanted if not module.startswith("edgexai.recipe.stages")]
    code = (
        "import importlib, sys\n"
        f"for name in {wanted!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name + ' imports torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_is_too_long() -> None:
    long = {module: n for module, path in modules() if (n := len(path.read_text().splitlines())) > 350}
    assert not long
