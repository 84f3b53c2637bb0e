"""The board's half of flash by itself, packed and run as on a board: lock, unpack, swap, way back, and what is kept."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sshd_loopback as loopback

from edgexai.board import flash_there_release
from edgexai.board.flash_there_agent import run_agent
from edgexai.board.flash_there_release import Root
from edgexai.board.flash_tool import pack_tool
from edgexai.errors import GateFailed, UserError

# On a board there is no edgexai: an isolated interpreter proves that the tool needs none, and no site-packages.
PYTHON = [sys.executable, "-I", "-S"]
TOKEN = "0123456789abcdef"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tool = pack_tool()
    root = tmp_path / "root"
    (root / "tools").mkdir(parents=True)
    (root / "tools" / tool.name).write_bytes(tool.content)
    return root


@pytest.fixture
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    """The lock, held by another process as a flash holds it."""
    process = hold(root, TOKEN)
    yield process
    process.communicate()


def command(root: Path, verb: str, *more: str) -> list[str]:
    (tool,) = (root / "tools").glob("*.pyz")
    return [*PYTHON, str(tool), verb, *more]


def hold(root: Path, token: str) -> subprocess.Popen[str]:
    words = command(root, "lock", "--token", token, "--who", "anna@desk")
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.answer = json.loads(process.stdout.readline())  # type: ignore[attr-defined]
    return process


def ask(root: Path, verb: str, *more: str, code: int = 0) -> dict[str, Any]:
    there, here = os.pipe()  # a workstation that lives and says nothing
    try:
        done = subprocess.run(command(root, verb, *more), stdin=there, capture_output=True, text=True, check=False)
    finally:
        os.close(there)
        os.close(here)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert answer["ok"] == (code == 0)
    assert answer["verb"] == verb
    return answer


def arrive(root: Path, bundle: Path) -> list[str]:
    """The bundle where a push leaves it, and the words that name it."""
    data = bundle.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    (root / "incoming").mkdir(exist_ok=True)
    (root / "incoming" / f"{digest}.part").write_bytes(data)
    return ["--sha256", digest, "--bytes", str(len(data)), "--token", TOKEN]


def served(root: Path) -> str:
    return os.path.basename(os.readlink(root / "current"))


def test_the_tool_is_the_same_bytes_every_time_and_small() -> None:
    assert pack_tool() == pack_tool()
    assert len(pack_tool().content) < 100_000


def test_the_tool_needs_the_standard_library_alone(tmp_path: Path) -> None:
    import io

    with zipfile.ZipFile(io.BytesIO(pack_tool().content)) as archive:
        archive.extractall(tmp_path)
    names = [line for path in tmp_path.rglob("*.py") for line in path.read_text().splitlines()]
    wanted = {line.split()[1].partition(".")[0] for line in names if line.startswith(("import ", "from "))}
    assert wanted - {"edgexai"} <= set(sys.stdlib_module_names) | {"__future__"}


def test_three_bundles_one_after_the_other(root: Path, holder: subprocess.Popen[str], tmp_path: Path) -> None:
    names = []
    for number in range(3):
        bundle = loopback.bundle(tmp_path / f"{number}.tar", model=b"network %d" % number)
        words = arrive(root, bundle)
        assert ask(root, "have", *words)["bytes"] == bundle.stat().st_size
        assert ask(root, "unpack", *words)["new"] is True
        assert ask(root, "have", *words)["whole"] is True
        ask(root, "agent", *words, "--agent-verb", "build")
        assert ask(root, "swap", *words)["current"] == loopback.release(bundle)
        names.append(loopback.release(bundle))
    assert ask(root, "status") | {"problems": []} == {
        "verb": "status", "ok": True, "problems": [], "current": names[2], "previous": names[1], "flashing": True,
    }  # fmt: skip
    assert sorted(path.name for path in (root / "releases").iterdir()) == sorted(names[1:])
    assert sorted(path.name for path in (root / "state").iterdir()) == sorted(names[1:])
    holder.communicate()  # the flash is over
    assert ask(root, "rollback")["current"] == names[1]
    assert (served(root), ask(root, "check")["current"]) == (names[1], names[1])
    assert ask(root, "rollback")["current"] == names[2]


def test_what_is_served_stays_where_the_new_one_fails_in_service(
    root: Path, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    good = loopback.bundle(tmp_path / "good.tar")
    words = arrive(root, good)
    ask(root, "unpack", *words)
    ask(root, "agent", *words, "--agent-verb", "build")
    ask(root, "swap", *words)
    bad = arrive(root, loopback.bundle(tmp_path / "bad.tar", model=b"another"))
    ask(root, "unpack", *bad)
    answer = ask(root, "swap", *bad, code=4)  # never built, so it does not verify
    assert "rolled back" in answer["problems"][0]
    assert served(root) == loopback.release(good)
    assert not (root / "previous").is_symlink()
    assert ask(root, "check")["current"] == loopback.release(good)


def test_the_first_one_that_fails_leaves_nothing_served(
    root: Path, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    words = arrive(root, loopback.bundle(tmp_path / "bad.tar"))
    ask(root, "unpack", *words)
    ask(root, "swap", *words, code=4)
    assert not (root / "current").is_symlink()
    ask(root, "check", code=3)


@pytest.mark.parametrize("verb", ["have", "unpack", "swap", "agent"])
def test_nothing_changes_without_the_lock(verb: str, root: Path, tmp_path: Path) -> None:
    words = arrive(root, loopback.bundle(tmp_path / "b.tar"))
    before = sorted(str(path) for path in root.rglob("*"))
    assert "does not hold" in ask(root, verb, *words, code=5)["problems"][0]
    other = hold(root, "another flash")
    assert "does not hold" in ask(root, verb, *words, code=5)["problems"][0]
    other.communicate()
    for own in ("lock", "work"):
        (root / own).unlink()
    assert sorted(str(path) for path in root.rglob("*")) == before


def test_one_lock_at_a_time_and_none_left_behind(root: Path, holder: subprocess.Popen[str]) -> None:
    refused = ask(root, "lock", "--token", "b", "--who", "bert@desk", code=2)
    assert "another flash is at work on this board: anna@desk, since 20" in refused["problems"][0]
    holder.kill()
    holder.wait()
    after = hold(root, "c")
    said = after.answer["stale"]  # type: ignore[attr-defined]
    assert said.startswith("took over a stale lock of anna@desk")
    assert said.endswith("its process is gone")
    after.communicate()
    clean = hold(root, "d")
    assert clean.answer["stale"] == ""  # type: ignore[attr-defined]
    clean.communicate()


def test_no_lock_while_a_step_of_a_lost_flash_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_there_release, "PATIENCE_S", 0.0)
    board = Root(tmp_path)
    with board.working():
        with pytest.raises(UserError, match="still at work on this board"), board.locked({"who": "b"}):
            raise AssertionError("the lock was given")
        with pytest.raises(UserError, match="still at work on this board"), board.working():
            raise AssertionError("two steps at once")
    with board.locked({"who": "c"}) as stale:
        assert stale == ""


def test_a_swap_that_lost_its_flash_ends_before_the_next_begins(
    root: Path, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Else the first, going back, would point to a release that the second has swept away."""
    good, bad = (loopback.bundle(tmp_path / f"{n}.tar", model=n.encode()) for n in ("good", "bad"))
    words = arrive(root, good)
    ask(root, "unpack", *words)
    ask(root, "agent", *words, "--agent-verb", "build")
    ask(root, "swap", *words)
    words = arrive(root, bad)
    ask(root, "unpack", *words)
    (root / "plan.json").write_text(json.dumps({"verify": "hang"}))
    swap = subprocess.Popen(command(root, "swap", *words), stdout=subprocess.PIPE, text=True)
    hanging = loopback.waited_for(root / "hanging")
    assert served(root) == loopback.release(bad)
    holder.kill()
    holder.wait()
    after = subprocess.Popen(
        command(root, "lock", "--token", "b", "--who", "b"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert after.stdout is not None
    assert not select.select([after.stdout], [], [], 1)[0], "the next flash waits"
    os.kill(hanging, signal.SIGKILL)
    assert "rolled back" in json.loads(swap.communicate()[0])["problems"][0]
    assert json.loads(after.stdout.readline())["ok"] is True
    assert served(root) == loopback.release(good)
    after.communicate()


def test_an_agent_that_hangs_in_service_is_stopped(tmp_path: Path) -> None:
    release = tmp_path / "releases" / "a"
    release.mkdir(parents=True)
    (release / "agent.pyz").write_text("import time; time.sleep(60)")
    with pytest.raises(GateFailed, match="verify took more than 1 s; the agent was stopped"):
        run_agent(tmp_path, "a", "verify", watch=False, within_s=1)


def test_a_damaged_bundle_is_thrown_away(root: Path, holder: subprocess.Popen[str], tmp_path: Path) -> None:
    words = arrive(root, loopback.bundle(tmp_path / "b.tar"))
    (part,) = (root / "incoming").iterdir()
    data = bytearray(part.read_bytes())
    data[-2000] ^= 1
    part.write_bytes(data)
    assert "arrived damaged" in ask(root, "unpack", *words, code=4)["problems"][0]
    assert not part.exists()
    assert not (root / "releases").exists()
