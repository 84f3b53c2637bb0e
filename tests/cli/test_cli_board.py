"""The board's verbs where they refuse before any work, and where their files go; no board, no sshd."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from edgexai.board.flash import Flashed, _rows
from edgexai.board.ssh import Ssh
from edgexai.cli.flashed import keep
from edgexai.cli.main import main
from edgexai.errors import BoardUnreachable, GateFailed, MissingCapability
from edgexai.types import Row

ROW = Row("natural", "fp32", "engine", "clean_acc", 0.9, "fraction", 10)


@pytest.mark.parametrize("name", ["../../../outside", "/outside", "..", ".hidden", "a/b", "x" * 300, ""])
@pytest.mark.parametrize("host", ["board", ".."])
def test_a_bundle_cannot_choose_where_its_rows_are_kept(name: str, host: str, tmp_path: Path) -> None:
    """Its manifest names it as it likes; nobody has vouched for that name."""
    home = tmp_path / "a" / "b" / "home"
    kept = keep(Flashed("0123456789ab", name, (ROW,), (), {}, ""), host=host, home=home)
    assert kept.rows.resolve().parents[2] == home / "boards"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(home / "boards") for path in written)
    assert len(written) == 4


@pytest.mark.parametrize(
    "change",
    [
        *('"value": "0.9"', '"value": NaN', '"value": null', '"n": "many"', '"n": null', '"detail": [1]'),
        *('"flags": [1]', '"metric": 5', '"reason": {}', '"novel": 1'),
    ],
)
def test_rows_that_no_report_could_print_are_refused(change: str) -> None:
    """They come from a board, or from a bundle that nobody has vouched for."""
    with pytest.raises(GateFailed, match="board: rows that this edgexai cannot read"):
        _rows(f"{ROW.to_json()[:-1]}, {change}}}", "board")
    assert _rows(ROW.to_json(), "board") == (ROW,)


def test_the_run_a_bundle_was_made_from_gets_the_rows(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "r" / "0123456789ab"
    run.mkdir(parents=True)
    lock = json.dumps({"name": "r"})
    (run / "recipe.lock.json").write_text(lock)
    (run / "measurements.jsonl").write_text(f"{ROW.to_json()}\n")
    kept = keep(Flashed("0123456789ab", "r", (ROW,), (), {}, lock), host="nvidia@board", home=tmp_path)
    assert kept.report == run / "report.html"
    assert (run / "boards" / "nvidia@board.jsonl").read_text() == f"{ROW.to_json()}\n"
    other = keep(Flashed("0123456789ab", "r", (ROW,), (), {}, "another lock"), host="nvidia@board", home=tmp_path)
    assert other.report is None


def test_without_ssh_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingCapability, match="there is no ssh here"), Ssh("board").shared() as ssh:
        ssh.run("true", during="connect")


def test_a_board_that_stops_reading_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds, and nobody takes it: the time limit is for this, too."""
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 30\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    begun = time.monotonic()
    with pytest.raises(BoardUnreachable, match="push took more than 1 s"):
        Ssh("board").run("cat", during="push", feed=bytes(1 << 20), timeout_s=1)
    assert time.monotonic() - begun < 25


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--detection", "nowhere/table.md"], "--detection nowhere/table.md: the folder nowhere does not exist"),
        (["--out", "."], "--out .: is a folder"),
        (["--detection", "t.md", "--key", "k"], "leave out --out, --key and --target"),
        (["--key", "nokey"], "nokey: no such key"),
        (["--target", "orin_nano"], "there are: agx-orin-jp6"),
        (["--target", "../x.toml"], "there are: agx-orin-jp6"),
    ],
)
def test_a_bundle_is_refused_before_any_work(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", "no_such_run", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_lock_of_another_edgexai_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    run = tmp_path / "run"
    run.mkdir()
    lock = {"name": "r", "run": "0", "recipe": {"later": {}}, "nodes": [], "environment": {}}
    (run / "recipe.lock.json").write_text(json.dumps(lock))
    (run / "measurements.jsonl").write_text("")
    assert main(["bundle", str(run), "--out", str(tmp_path / "b.tar")]) == 2
    assert "a recipe that this edgexai does not know" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--bundle", "."], ["--bundle", "no/b.tar"], ["--bundle", "b.tar", "--until", "train"]]
)
def test_a_recipe_that_cannot_end_with_its_bundle_is_not_begun(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(["recipe", "run", "natural_signs", *words]) == 2
    assert "--bundle" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
