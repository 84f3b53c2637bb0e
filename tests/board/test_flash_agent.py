"""The real agent, with ONNX Runtime in TensorRT's place, over a real sshd: from bundle to rows in one command.

EDGEXAI_BOARD_PYTHON names another interpreter for the board's side, as Python 3.10 with NumPy and ONNX Runtime alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import sshd_loopback as loopback
from small_bundle import small_bundle

from edgexai.cli.main import main
from edgexai.types import Row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(loopback.MISSING is not None, reason=str(loopback.MISSING)),
]


def test_from_bundle_to_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    python = os.environ.get("EDGEXAI_BOARD_PYTHON", sys.executable)
    bundle = small_bundle(tmp_path / "made")
    board = loopback.Board(tmp_path / "board")
    reach = ["--host", "board", "--ssh-config", str(board.config), "--root", str(board.root), "--python", python]
    try:
        code = main(["flash", str(bundle), *reach])
        said = capsys.readouterr()
        assert (code, said.err) == (0, "")
        (engine,) = re.findall(r"^verify: (onnxruntime .*)$", said.out, re.MULTILINE)
        kept = Path(re.search(r"^rows: (\S+)", said.out, re.MULTILINE)[1])  # type: ignore[index]
        rows = [Row.from_json(line) for line in kept.read_text().splitlines()]
        measured = {row.metric for row in rows if row.value is not None}
        assert {"clean_acc", "robust_acc", "latency_ms", "agreement"} <= measured
        assert {row.runtime for row in rows if row.value is not None and row.metric == "clean_acc"} == {engine}
        facts = json.loads((kept.parent / "facts.json").read_text())
        assert facts["agent"]["python"] == facts["python"]
        assert "Not measured on the board:" in (kept.parent / "beside.md").read_text()  # power: no sensor here
        # The other bundle is served until the same bytes stand there again; the board's own probe tells.
        assert board.check().returncode == 0
        model = next((board.root / "current").glob("*.onnx"))
        data = bytearray(model.read_bytes())
        data[len(data) // 2] ^= 1
        model.chmod(0o644)
        model.write_bytes(data)
        assert board.check().returncode == 4
        assert main(["flash", str(bundle), *reach]) == 0
        assert board.check().returncode == 0
        capsys.readouterr()
        assert main(["flash", str(bundle), *reach, "--target", "orin-nano-jp6"]) == 2
        assert "it is no Jetson" in capsys.readouterr().err
    finally:
        board.stop()
