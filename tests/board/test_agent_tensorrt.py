"""The agent on a machine whose CUDA and TensorRT are stand-ins (tests/engine/gpu_standin.py): build, verify, measure.

NVIDIA's parser and builder are TensorRT-RTX's own, what the engine computes is ONNX Runtime's: this shows that the way
through the agent is whole and that every row names the runtime, nothing about TensorRT's numbers or speed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_bundle import small_bundle

from edgexai.board.unpack import unpack
from edgexai.types import Row

pytestmark = pytest.mark.slow
ENGINE_TESTS = Path(__file__).resolve().parents[1] / "engine"
TENSORRT = f"""
import ctypes, sys
sys.path.insert(0, {str(ENGINE_TESTS)!r})
import gpu_standin
globals().update(vars(gpu_standin.whole_library(ctypes.CDLL("libcudart.so.12"), version="10.3.0")))
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of such a machine."""
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx")
    monkeypatch.syspath_prepend(str(ENGINE_TESTS))
    import gpu_standin

    folder = tmp_path / "machine"
    folder.mkdir()
    shared = gpu_standin.compiled(folder)
    for name in ("libcuda.so.1", "libcudart.so.12"):
        shutil.copy(shared, folder / name)
    (folder / "tensorrt.py").write_text(TENSORRT)
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}


def test_build_verify_and_measure(machine: dict[str, str], tmp_path: Path) -> None:
    bundle, state = tmp_path / "bundle", tmp_path / "state"
    unpack(small_bundle(tmp_path / "made"), bundle)

    def agent(verb: str, *, code: int = 0) -> dict[str, Any]:
        words = [str(bundle / "agent.pyz"), verb, "--bundle", str(bundle), "--state", str(state), "--json"]
        done = subprocess.run([sys.executable, *words], env=machine, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    assert agent("doctor")["runtime"] == "tensorrt unknown version"  # the stand-in has no metadata
    assert "no engine built from this bundle" in agent("verify", code=2)["problems"][0]
    built = agent("build")
    assert built["runtime"] == "tensorrt 10.3.0 Stand-in Orin"
    engine = state / "engine" / built["engine"]["file"]
    assert engine.is_file()
    before = engine.stat().st_mtime_ns
    assert agent("build")["engine"] == built["engine"]
    assert engine.stat().st_mtime_ns == before, "an engine that is there is not built again"
    verified = agent("verify")
    assert verified["runtime"] == built["runtime"]
    assert verified["statistics"]["disagreements"] == 0
    agent("measure")
    rows = [Row.from_json(line) for line in (state / "rows.jsonl").read_text().splitlines()]
    assert {row.runtime for row in rows} == {built["runtime"]}
    assert {"latency_ms", "latency_device_ms", "robust_acc", "lime_r2"} <= {
        r.metric for r in rows if r.value is not None
    }
    engine.write_bytes(b"another engine")
    assert agent("verify", code=2)["ok"] is False
