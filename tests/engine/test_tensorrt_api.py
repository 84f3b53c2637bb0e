"""No name of TensorRT is used that 10.3, 10.13 or 11.4 lacks: stub, code and type checker, each with a planted fault.

api_names.json lists the members of the classes in these versions; trim_api_names.py made it.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VERSIONS = ("10.3", "10.13", "11.4")
TABLE: dict[str, dict[str, list[str]]] = json.loads((HERE / "api_names.json").read_text())
MODULES = sorted((ROOT / "edgexai" / "engine").glob("tensorrt_*.py"))
STUB = ROOT / "typings" / "tensorrt" / "__init__.pyi"


def members(name: str, version: str) -> set[str]:
    """Of a class in a version; empty where it has no such class."""
    entry = TABLE.get(name, {})
    return {*entry.get("all", ()), *entry[version]} if version in entry else set()


def lacking(name: str, member: str) -> list[str]:
    return [version for version in VERSIONS if member not in members(name, version)]


# Names that some version has and some lacks, in any class: no attribute of our code may be called so, but for two that
# Python's own objects have too.
NOT_EVERYWHERE = {
    member
    for name in TABLE
    for member in set().union(*(members(name, v) for v in VERSIONS))
    if any(member not in members(name, v) for v in VERSIONS)
} - {"name", "update"}


def chains(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, class, member or "") for every ``library.Class`` and ``library.Class.MEMBER``."""
    tree = ast.parse(source)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        if is_library(node.value) and id(node) not in inner:
            yield node.lineno, node.attr, ""
        elif isinstance(node.value, ast.Attribute) and is_library(node.value.value):
            yield node.lineno, node.value.attr, node.attr


def is_library(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("library", "trt")


def faults(source: str) -> list[str]:
    out = []
    for line, name, member in chains(source):
        if name.startswith("__"):
            continue
        if name not in TABLE or set(VERSIONS) - set(TABLE[name]):
            out.append(f"{line}: {name} is not in every version")
        elif member and (without := lacking(name, member)):
            out.append(f"{line}: {name}.{member} is not in {', '.join(without)}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in NOT_EVERYWHERE and not is_library(node.value):
            out.append(f"{node.lineno}: .{node.attr} is not in every version")
    return out


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_code_uses_what_every_version_has(path: Path) -> None:
    assert not faults(path.read_text())


def test_the_reading_finds_something() -> None:
    found = {(name, member) for path in MODULES for _, name, member in chains(path.read_text())}
    assert {("BuilderFlag", "TF32"), ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"), ("OnnxParser", "")} <= found
    assert len(found) > 15


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("config.set_flag(library.BuilderFlag.FP16)", "BuilderFlag.FP16 is not in 11.4"),
        ("library.NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "EXPLICIT_BATCH is not in 11.4"),
        ("class C(library.IInt8EntropyCalibrator2): ...", "IInt8EntropyCalibrator2 is not in every version"),
        ("config.int8_calibrator = c", ".int8_calibrator is not in every version"),
        ("layer.precision = library.DataType.HALF", ".precision is not in every version"),
        ("n = engine.device_memory_size", ".device_memory_size is not in every version"),
        ("library.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY", "SAME_COMPUTE_CAPABILITY is not in 10.3"),
        ("builder.platform_has_fast_int8", ".platform_has_fast_int8 is not in every version"),
        ("library.Bulider(log)", "Bulider is not in every version"),
    ],
)
def test_planted_faults_are_found(planted: str, said: str) -> None:
    assert any(said in fault for fault in faults(planted)), faults(planted)


def test_every_name_of_the_stub_is_in_every_version() -> None:
    """The stub is all that strict mypy lets the code use."""
    found = 0
    for node in ast.parse(STUB.read_text()).body:
        if not isinstance(node, ast.ClassDef) or node.name == "_Enum":
            continue
        assert set(VERSIONS) <= set(TABLE[node.name]), node.name
        for item in node.body:
            if isinstance(item, ast.ClassDef | ast.FunctionDef):
                member = item.name
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                member = item.target.id
            else:
                continue
            if not member.startswith("__"):
                assert not lacking(node.name, member), f"{node.name}.{member}"
                found += 1
    assert found > 60


@pytest.mark.slow
def test_the_type_checker_refuses_what_the_stub_leaves_out(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    planted = tmp_path / "planted.py"
    planted.write_text(
        "import tensorrt as trt\n"
        "def f(c: trt.IBuilderConfig, r: trt.Runtime, e: bytes) -> None:\n"
        "    c.set_flag(trt.BuilderFlag.TF32)\n"
        "    c.set_flag(trt.BuilderFlag.FP16)\n"
        "    r.deserialize_cuda_engine(e).create_execution_context()\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(planted)]
    done = subprocess.run(
        command, env={"MYPYPATH": str(STUB.parents[1])}, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    lines = [line.split("planted.py:")[1].split(":")[0] for line in done.stdout.splitlines() if "error:" in line]
    assert lines == ["4", "5"], done.stdout + done.stderr
