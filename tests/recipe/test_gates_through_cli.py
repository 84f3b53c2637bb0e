"""A gate that fails, as a pipeline sees it: exit code 4, the reason, and both files in the run folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.slow

SHORT = [
    "data.per_class=2",
    "train.epochs=1",
    "export.precision=fp32",
    "export.min_agreement=0.0",
    "measure.n=43",
    "measure.clean_n=43",
    "measure.attacks=[]",
    'measure.explainers=["vg"]',
    "measure.explain_n=4",
]


def test_a_failing_gate_ends_with_4_and_leaves_its_files(tmp_path: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EDGEXAI_")}
    code = "import sys; from edgexai.cli.main import main; sys.exit(main())"
    gates = ["gate.clean_acc=>= 0.999", "gate.size_bytes=<= 1e9", 'gate.robust_acc attack=square=">= 0.5"']
    done = subprocess.run(
        [sys.executable, "-c", code, "recipe", "run", "natural_signs", *SHORT, *gates],
        env={**kept, "EDGEXAI_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 4, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert "clean_acc >= 0.999: the lower bound (wilson)" in done.stderr
    assert re.search(r"is below 0\.999 by 0\.\d+; value", done.stderr)
    assert "gates: 1 of 3 kept; for a pipeline: " in done.stdout
    assert "results.sarif and junit.xml" in done.stdout
    folder = (tmp_path / "runs" / "natural_signs" / "latest").resolve()
    verdicts = {gate["name"]: gate for gate in json.loads((folder / "gates.json").read_text())}
    assert [verdicts[name]["passed"] for name in ("clean_acc", "size_bytes", "robust_acc attack=square")] == [
        False,
        True,
        False,
    ]
    log = json.loads((folder / "results.sarif").read_text())
    failed = {r["ruleId"] for r in log["runs"][0]["results"] if r["level"] == "error"}
    assert failed == {"gate/clean_acc", "gate/robust_acc attack=square"}
    suite = ElementTree.parse(folder / "junit.xml").getroot().find("testsuite[@name='gates']")
    assert suite is not None
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "2")
    assert (folder / "report.html").is_file()
