"""The command: exit codes, laziness, help, faults without a traceback. Every check runs the real program."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgexai import __version__, errors
from edgexai.cli import main as cli
from edgexai.cli.main import main
from edgexai.config.shipped import folder

PROGRAM = [sys.executable, "-c", "import sys; from edgexai.cli.main import main; sys.exit(main())"]


def run(*words: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "EDGEXAI_DATA"} | {"EDGEXAI_HOME": str(home)}
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, env=environment, cwd=cwd, check=False)


@pytest.mark.parametrize(
    "words", [["recipe", "ls"], ["recipe", "ls", "--json"], ["--version"], ["recipe", "show", "quickstart"]]
)
def test_torch_and_numpy_are_never_imported(words: list[str]) -> None:
    code = (
        "import sys\nfrom edgexai.cli.main import main\n"
        f"code = main({words!r})\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'torch', 'numpy', 'onnxruntime', 'PIL', 'matplotlib'}), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"


def test_the_listing_imports_neither_typer_nor_pydantic_nor_rich() -> None:
    code = (
        "import sys\nfrom edgexai.cli.main import main\nmain(['recipe', 'ls'])\n"
        "sys.exit(bool({'typer', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_the_quick_listing_and_the_verb_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "ls"]) == 0
    quick = capsys.readouterr().out
    assert main(["recipe", "ls", "--no-such"]) == 2
    capsys.readouterr()
    from edgexai.cli.recipe import ls

    ls(as_json=False)
    assert capsys.readouterr().out == quick
    assert len(quick.splitlines()) == len(list(folder("recipes").glob("*.toml")))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgexai {__version__}\n"


def test_help_lists_every_noun(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for noun in cli.NOUNS:
        assert (noun in out) == cli._present(noun)


@pytest.mark.parametrize("words", [["recip", "ls"], ["recipe", "lss"], ["recipe", "show"], ["recipe", "ls", "--josn"]])
def test_misspelt_commands_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == errors.EXIT_USER
    assert "Traceback" not in capsys.readouterr().err


def test_a_faulty_override_has_no_traceback(tmp_path: Path) -> None:
    done = run("recipe", "show", "quickstart", "prune.amuont=0.3", home=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: quickstart: 1 problem\n  prune.amuont: unknown key")
    assert "\n  next: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (errors.UserError("u", problems=("p",), next_step="n"), 2, "error: u\n  p\n  next: n\n"),
        (errors.MissingCapability("m"), 3, "error: m\n"),
        (errors.GateFailed("g"), 4, "error: g\n"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/somewhere/x"), 2, "the disk is full at /somewhere/x"),
        (PermissionError(errno.EACCES, "Permission denied", "/somewhere/x"), 2, "/somewhere/x: Permission denied"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_every_error_has_its_exit_code(
    raised: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> int:
        raise raised

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert main(["recipe", "ls"]) == code
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("raised", [ValueError("ours"), OSError(errno.EBADF, "bad"), FileNotFoundError(2, "gone", "x")])
def test_our_own_bugs_keep_their_traceback(raised: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: list[str]) -> int:
        raise raised

    monkeypatch.setattr(cli, "_dispatch", fail)
    with pytest.raises(type(raised)):
        main(["recipe", "ls"])


def test_a_reader_who_leaves_is_no_error(tmp_path: Path) -> None:
    piped = subprocess.Popen([*PROGRAM, "recipe", "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert piped.stdout is not None
    assert piped.stderr is not None
    piped.stdout.close()
    error = piped.stderr.read()
    assert piped.wait(timeout=30) == 0
    assert error == ""


def test_a_full_disk_is_named_when_it_is_really_full(tmp_path: Path) -> None:
    """/dev/full is a device on which every write fails with ENOSPC."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, "recipe", "ls"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_inside_a_verb_ends_with_130_and_one_line() -> None:
    code = (
        "import os, signal, sys\nimport edgexai.config.load as load\nfrom edgexai.cli.main import main\n"
        "def interrupted(*_):\n    os.kill(os.getpid(), signal.SIGINT)\n    signal.pause()\n"
        "load.load_recipe = interrupted\n"
        "sys.exit(main(['recipe', 'show', 'quickstart']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 130
    assert done.stderr == "interrupted; the same command takes up where it stopped\n"


def test_doctor_says_what_is_missing_and_ends_with_3(tmp_path: Path) -> None:
    done = run("doctor", "natural_gtsrb", "--json", home=tmp_path / "home")
    assert done.returncode == 3, done.stderr
    content = json.loads(done.stdout)
    assert content["unmet"] == ["data:gtsrb"]
    assert "--data-root" in done.stderr
    assert "Traceback" not in done.stderr
    names = [finding["name"] for finding in content["findings"]]
    assert len(names) == len(set(names))
    assert set(content["needs"]) <= set(names)
    assert all(finding["here"] or finding["remedy"] for finding in content["findings"])
    assert not (tmp_path / "home").exists()


def test_doctor_finds_nothing_wrong_with_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "quickstart"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("quickstart: can run here")


def test_doctor_refuses_a_recipe_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "quikstart"]) == 2
    assert "did you mean quickstart" in capsys.readouterr().err
