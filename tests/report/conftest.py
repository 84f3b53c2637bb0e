"""A fabricated run folder and its page, made once. Its numbers test the layout only."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic_run

from edgexai.report.html import write_report


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = synthetic_run.make(tmp_path_factory.mktemp("runs") / "run", title="Signs <script>alert(1)</script> & co")
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def page(run: Path) -> str:
    return (run / "report.html").read_text("utf-8")
