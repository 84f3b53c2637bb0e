"""The engines' modules on a board: the standard library and NumPy alone, and Python 3.10."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "edgexai" / "engine"
STAY = {"twin"}  # torch
TRAVEL = sorted(path.stem for path in ENGINE.glob("*.py") if path.stem not in STAY | {"__init__"})

BARE = """
import importlib.abc, sys
class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in sys.stdlib_module_names and root not in ("numpy", "edgexai"):
            raise ImportError(root + " is not on a board")
sys.meta_path.insert(0, Nothing())
import numpy
before = {name for name in sys.modules if name.startswith("edgexai")}
"""


def bare(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BARE + code], capture_output=True, text=True, check=False)


def test_they_import_with_numpy_alone() -> None:
    assert {"cuda", "onnx_runtime", "open", "tensorrt_build", "tensorrt_cache", "tensorrt_run"} <= set(TRAVEL)
    done = bare("".join(f"import edgexai.engine.{name}\n" for name in TRAVEL))
    assert done.returncode == 0, done.stderr


def test_the_blocking_blocks() -> None:
    done = bare("import edgexai.engine.twin\n")
    assert "torch is not on a board" in done.stderr


def test_nothing_of_tensorrt_is_imported_before_it_is_asked_for() -> None:
    done = bare(
        "".join(f"import edgexai.engine.{name}\n" for name in TRAVEL)
        + "assert not {'tensorrt', 'tensorrt_rtx', 'onnxruntime', 'ctypes.cuda'} & set(sys.modules)\n"
        + "from edgexai.engine.tensorrt_library import load_tensorrt\n"
        + "from edgexai.errors import MissingCapability\n"
        + "try:\n    load_tensorrt()\nexcept MissingCapability as error:\n    print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "TensorRT is not here: import tensorrt" in done.stdout
    assert "python3-libnvinfer" in done.stdout


@pytest.mark.parametrize("name", TRAVEL)
def test_python_3_10_reads_them(name: str) -> None:
    tree = ast.parse((ENGINE / f"{name}.py").read_text(), feature_version=(3, 10))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {"tomllib"} & modules
