"""ONNX Runtime reads ORT_DISABLE_TELEMETRY when it is loaded: the package sets it before, and the user's word stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from edgexai.board.agent_zip import agent_bytes


def told(path: str, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "PYTHONPATH")}
    code = "import edgexai, os, sys; print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | {"PYTHONPATH": path} | environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_reports_to_the_maker_of_the_runtime_are_off_unless_the_user_says() -> None:
    here = str(Path(__file__).resolve().parents[1])
    assert told(here) == "False 1"
    assert told(here, ORT_DISABLE_TELEMETRY="0") == "False 0"


def test_they_are_off_in_the_agent_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "agent.pyz").write_bytes(agent_bytes())
    assert told(str(tmp_path / "agent.pyz")) == "False 1"
