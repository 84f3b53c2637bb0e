"""``edgexai flash`` over a real sshd on the loopback interface: the whole way, and every fault on it.

After each fault the board must serve a verified engine, the one of before, and the user must read one error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sshd_loopback as loopback

from edgexai.board import flash_push
from edgexai.cli.main import main
from edgexai.types import Row

pytestmark = pytest.mark.skipif(loopback.MISSING is not None, reason=str(loopback.MISSING))
PROGRAM = [sys.executable, "-c", "import sys; from edgexai.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loopback.Board]:
    board = loopback.Board(tmp_path_factory.mktemp("sshd"))
    yield board
    board.stop()


@pytest.fixture
def board(machine: loopback.Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loopback.Board:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    machine.root = tmp_path / "root"
    machine.write_config()
    return machine


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return loopback.bundle(tmp_path / "first.tar")


@pytest.fixture(scope="module")
def flashed(machine: loopback.Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a board that serves the first bundle: flashed once, copied for every fault."""
    folder = tmp_path_factory.mktemp("flashed")
    machine.root = folder / "root"
    done = subprocess.run(
        [*PROGRAM, *words(machine, loopback.bundle(folder / "first.tar"))],
        env={**os.environ, "EDGEXAI_HOME": str(folder / "home")},
        check=False,
    )
    assert done.returncode == 0
    return machine.root


@pytest.fixture
def serving(flashed: Path, board: loopback.Board) -> loopback.Board:
    """A board that serves the first bundle."""
    shutil.copytree(flashed, board.root, symlinks=True)
    return board


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return loopback.bundle(tmp_path / "second.tar", model=b"network two")


def words(board: loopback.Board, bundle: Path, *more: str) -> list[str]:
    reach = ["--host", "board", "--ssh-config", str(board.config), "--root", str(board.root)]
    return ["flash", str(bundle), *reach, "--python", sys.executable, *more]


def refusal(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> int:
    """The exit code of a command that ends with one error and at most its details, in the user's words."""
    capsys.readouterr()
    code = main(words)
    err = capsys.readouterr().err
    lines = err.strip().splitlines()
    assert lines[0].startswith("error: "), err
    assert re.search(said, err), err
    assert "Traceback" not in err
    assert all(line.startswith("  ") for line in lines[1:]), err
    return code


def serves(board: loopback.Board, *bundles: Path) -> bool:
    """The board serves that bundle (or one of them), and it verifies there."""
    return board.served() in [loopback.release(bundle) for bundle in bundles] and board.check().returncode == 0


def test_the_whole_way(
    board: loopback.Board,
    first: Path,
    second: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(words(board, first)) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "does not flash the board's operating system" in said.out
    assert serves(board, first)
    kept = Path(re.search(r"^rows: (\S+)", said.out, re.MULTILINE)[1])  # type: ignore[index]
    assert [Row.from_json(line) for line in kept.read_text().splitlines()] == [loopback.rows()[1]]
    beside = (kept.parent / "beside.md").read_text()
    assert "| 98.0 % (93.0 to 99.0 %), n 100 | 97.0 % (92.0 to 99.0 %), n 100 |" in beside
    # On this board every login says something before anything else.
    loud = tmp_path / "bin"
    loud.mkdir()
    (loud / "ssh").write_text(f'#!/bin/sh\necho "Welcome to {{board}}"\nexec {shutil.which("ssh")} "$@"\n')
    (loud / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{loud}{os.pathsep}{os.environ['PATH']}")
    # The next bundle, for a program to read; and the run it was made from is here, so its report shows the board.
    run = tmp_path / "home" / "runs" / "standin" / "0123456789ab"
    run.mkdir(parents=True)
    (run / "recipe.lock.json").write_text("{}")
    (run / "measurements.jsonl").write_text(f"{loopback.rows()[0].to_json()}\n")
    assert main(words(board, second, "--json", "--transfer", "cat")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["release"] == loopback.release(second)
    page = Path(answer["report"]).read_text()
    assert "On the board board" in page
    assert "97.0 % (92.0 to 99.0 %), n 100" in page
    assert serves(board, second)
    assert os.readlink(board.root / "previous") == f"releases/{loopback.release(first)}"
    assert not list((board.root / "incoming").iterdir())


@pytest.mark.slow
def test_an_engine_that_does_not_verify_is_not_served(
    board: loopback.Board, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.plan(verify="no")
    assert refusal(capsys, words(board, first), "verify: decisions differ from the golden vectors") == 4
    assert board.served() == ""


def test_a_board_that_cannot_be_reached(
    board: loopback.Board, first: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    board.write_config(key="stranger")
    assert refusal(capsys, words(board, first), "it lets no key of yours in") == 5
    board.write_config(port=1)
    assert refusal(capsys, words(board, first), "nothing listens there") == 5
    board.write_config()
    known = (board.folder / "known_hosts").read_text()
    (board.folder / "known_hosts").write_text("")
    assert refusal(capsys, words(board, first), "host key is not known here") == 5
    (board.folder / "known_hosts").write_text(known)
    elsewhere = ["flash", str(first), "--host", "board", "--ssh-config", str(board.config)]
    assert refusal(capsys, [*elsewhere, "--root", "/proc/edgexai"], "mkdir") == 2
    assert refusal(capsys, [*elsewhere, "--root", str(board.root), "--python", "python4"], "python4") == 3
    shutil.rmtree(board.root)
    assert not board.root.exists()


@pytest.mark.parametrize("name", ["agent.pyz", "board_rows.jsonl", "model.onnx", "probes/a.npy", "rows.jsonl"])
def test_a_changed_byte_in_any_file_is_found_before_anything_is_sent(
    name: str, first: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with tarfile.open(first) as tar:
        place = tar.getmember(name).offset_data
    data = bytearray(first.read_bytes())
    data[place + 3] ^= 1
    first.write_bytes(data)
    assert (
        refusal(capsys, ["flash", str(first), "--host", "nobody.invalid"], f"{name} differs from what was written") == 4
    )


def test_options_that_are_wrong(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, ["flash", str(first), "--host", "-oProxyCommand=x"], "not a host") == 2
    assert refusal(capsys, ["flash", str(first), "--host", "b", "--root", "/x; reboot"], "--root") == 2
    assert refusal(capsys, ["flash", str(first), "--host", "b", "--target", "orin_nano_jp6"], "no target") == 2
    assert refusal(capsys, ["flash", str(first) + "x", "--host", "b"], "no such file") == 2


@pytest.mark.slow
def test_a_dry_run_prints_what_a_run_gives(
    board: loopback.Board, first: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The remote scripts of both, the token of the flash taken out; ssh writes down what it is given."""
    log, folder = tmp_path / "given", tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(
        f'#!/bin/sh\nfor last; do :; done\nprintf "%s\\n" "$last" >> {log}\nexec {shutil.which("ssh")} "$@"\n'
    )
    (folder / "ssh").chmod(0o755)
    assert main(words(board, first, "--dry-run", "--transfer", "cat")) == 0
    planned = capsys.readouterr().out
    assert not board.root.exists()
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([*PROGRAM, *words(board, first, "--transfer", "cat")], env=environment, check=False)
    assert done.returncode == 0

    def scripts(text: str) -> list[str]:
        plain = re.sub(r"[0-9a-f]{16}\b", "TOKEN", text.replace("'\"'\"'", "'"))
        return re.findall(r"sh -c '(.*)'", plain)

    assert [line.rstrip("' ") for line in scripts(planned)] == [line.rstrip("' ") for line in scripts(log.read_text())]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "code", "said"),
    [
        ({"doctor": "older"}, 3, "the agent does not answer doctor as agreed .*unknown argument"),
        ({"doctor": "babble"}, 3, "the agent does not answer doctor as agreed"),
        ({"build": "die"}, 4, "the agent was killed by signal 9 during build"),
        ({"build": "full"}, 2, "build: the disk is full"),
        ({"measure": "die"}, 4, "the agent was killed by signal 9 during measure"),
        ({"verify": "no", "from": 2}, 4, "in service the engine did not verify .*rolled back"),
        ({"verify": "die", "from": 2}, 4, "in service the engine did not verify .*rolled back"),
    ],
)
def test_an_agent_at_fault(
    plan: dict[str, object],
    code: int,
    said: str,
    serving: loopback.Board,
    first: Path,
    second: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serving.plan(**plan)
    assert refusal(capsys, words(serving, second), said) == code
    assert serves(serving, first)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["tools", " facts ", " lock ", " have ", " unpack ", "rows.jsonl", " swap "])
def test_a_connection_cut_at_any_step(
    step: str,
    serving: loopback.Board,
    first: Path,
    second: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in loopback.cutting(serving, tmp_path / "bin", step, after="0.1").items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    code = main(words(serving, second))
    err = capsys.readouterr().err
    # Before the lock a cut harms nothing; the swap may be done before it is cut; all else cannot go well.
    assert code == 5 or (code == 0 and step in ("tools", " facts ", " swap ")), err
    if code:
        assert err.startswith("error: board: ")
        assert "Traceback" not in err
        assert serves(serving, first, second)
    monkeypatch.undo()
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    assert main(words(serving, second)) == 0
    assert serves(serving, second)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["doctor", "build", "verify", "measure"])
def test_a_connection_cut_while_the_agent_works(
    verb: str, serving: loopback.Board, first: Path, second: Path, tmp_path: Path
) -> None:
    serving.plan(**{verb: "hang"})
    flash = subprocess.Popen([*PROGRAM, *words(serving, second)], stderr=subprocess.PIPE, text=True)
    agent = loopback.waited_for(serving.root / "hanging")
    serving.cut()
    _, err = flash.communicate(timeout=60)
    assert flash.returncode == 5, err
    assert err.startswith(f"error: board: the connection was lost during {verb}"), err
    assert "Traceback" not in err
    _ends(agent)
    assert serves(serving, first)


@pytest.mark.slow
@pytest.mark.parametrize("transfer", ["cat", "rsync"])
def test_a_push_that_was_cut_goes_on_from_there(
    transfer: str,
    serving: loopback.Board,
    first: Path,
    second: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if transfer == "rsync" and shutil.which("rsync") is None:
        pytest.skip("no rsync here: apt-get install rsync")
    monkeypatch.setattr(flash_push, "QUIET_S", 5)  # so long rsync waits on either side of the cut
    at = "cat >" if transfer == "cat" else "rsync --server"
    for name, value in loopback.cutting(serving, tmp_path / "bin", f"{at}", size="400000").items():
        monkeypatch.setenv(name, value)
    if transfer == "cat":
        monkeypatch.setenv("CUT_AT", f"incoming/{loopback.release(second)}")
    assert refusal(capsys, words(serving, second, "--transfer", transfer), "the connection was lost during push") == 5
    loopback.wait_until_gone(tmp_path / "bin" / "ssh")
    assert serves(serving, first)
    arrived = sum(part.stat().st_size for part in (serving.root / "incoming").iterdir())
    if transfer == "cat":  # what rsync has written when it is cut is its own affair
        assert 0 < arrived < second.stat().st_size
    monkeypatch.undo()
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    capsys.readouterr()
    assert main(words(serving, second, "--transfer", transfer)) == 0
    said = f"push: {arrived} of {second.stat().st_size} bytes are there from an earlier try"
    assert (said in capsys.readouterr().out) == (arrived > 0)
    assert serves(serving, second)


@pytest.mark.slow
def test_bytes_that_change_on_the_way(
    serving: loopback.Board,
    first: Path,
    second: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = f"incoming/{loopback.release(second)}"
    for name, value in loopback.cutting(serving, tmp_path / "bin", at, spoil="1").items():
        monkeypatch.setenv(name, value)
    assert refusal(capsys, words(serving, second, "--transfer", "cat"), "arrived damaged") == 4
    assert serves(serving, first)


@pytest.mark.slow
def test_a_file_that_changes_on_the_board_is_found_and_mended(
    serving: loopback.Board, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = serving.root / "current" / "model.onnx"
    model.write_bytes(b"network 0ne")
    done = serving.check()
    assert done.returncode == 4
    assert "the engine is not the bundle's" in done.stdout
    assert main(words(serving, first)) == 0
    assert serves(serving, first)


@pytest.mark.slow
def test_two_flashes_at_once(
    board: loopback.Board, first: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.plan(build="hang")
    slow = subprocess.Popen([*PROGRAM, *words(board, first)], stderr=subprocess.PIPE, text=True)
    agent = loopback.waited_for(board.root / "hanging")
    assert refusal(capsys, words(board, second), r"another flash is at work on this board: \S+@\S+, since 20") == 2
    os.kill(agent, signal.SIGKILL)
    _, err = slow.communicate(timeout=60)
    assert slow.returncode == 4, err
    assert board.served() == ""


@pytest.mark.slow
def test_a_stale_lock_is_taken_over_and_said(
    board: loopback.Board, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.root.mkdir()
    left = {"who": "anna@desk", "since": "2026-01-01 00:00:00 UTC", "pid": 1 << 22, "boot_id": "another", "token": "x"}
    (board.root / "lock").write_text(json.dumps(left))
    assert main(words(board, first)) == 0
    out = capsys.readouterr().out
    assert "lock: took over a stale lock of anna@desk, 2026-01-01 00:00:00 UTC: the board has restarted since" in out
    assert serves(board, first)
    assert (board.root / "lock").read_text() == ""


@pytest.mark.slow
def test_the_wrong_target(board: loopback.Board, first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, words(board, first, "--target", "orin-nano-jp6"), "it is no Jetson") == 2
    assert board.served() == ""


@pytest.mark.slow
def test_a_full_disk(board: loopback.Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real one, a few megabytes large; too small by the facts, and full in the middle."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        board.root = place / "root"
        first = loopback.bundle(tmp_path / "first.tar")
        assert main(words(board, first)) == 0
        second = loopback.bundle(tmp_path / "second.tar", model=b"two" * (4 << 20))
        assert refusal(capsys, words(board, second), "bytes are free on its disk") == 2
        assert serves(board, first)
        # Passes the look at the disk, and then somebody else fills it.
        third = loopback.bundle(tmp_path / "third.tar", model=b"three" * (1 << 20))
        filler = place / "filler"
        for room in (3 << 20, 8 << 20):
            free = shutil.disk_usage(place).free
            with filler.open("wb") as file:
                file.write(bytes(max(free - room, 0)))
            tool = next((board.root / "tools").glob("*.pyz"))
            assert tool.is_file()
            assert refusal(capsys, [*words(board, third), "--transfer", "cat"], "disk is full|bytes are free") == 2
            assert serves(board, first)
            filler.unlink()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _ends(pid: int) -> None:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} is still there")
