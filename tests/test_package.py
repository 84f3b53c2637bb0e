"""The wheel carries what the repository has: recipes, dataset cards, board targets, the report's template.

Built with hatchling alone, so no network is needed, and then used unpacked, away from the repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install 'edgexai[dev]'")

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = {"recipes": "_recipes", "datasets": "_datasets", "deploy/targets": "_targets"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("folder", sorted(SHIPPED))
def test_the_wheel_has_every_shipped_file_unchanged(unpacked: Path, folder: str) -> None:
    here = {path.name: path.read_bytes() for path in (REPOSITORY / folder).glob("*.toml")}
    there = {path.name: path.read_bytes() for path in (unpacked / "edgexai" / SHIPPED[folder]).glob("*.toml")}
    assert there == here
    if folder != "deploy/targets":
        assert len(here) >= 3


def test_the_wheel_has_every_file_of_the_package(unpacked: Path) -> None:
    def listed(root: Path) -> set[str]:
        kept = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {str(path.relative_to(root)) for path in kept}

    extra = {name for name in listed(unpacked / "edgexai") if not name.startswith(tuple(SHIPPED.values()))}
    assert extra == listed(REPOSITORY / "edgexai")
    assert "py.typed" in extra


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert len(tops) == 2
    assert "edgexai" in tops
    assert all(top == "edgexai" or top.endswith(".dist-info") for top in tops)


def test_the_unpacked_wheel_lists_and_checks_its_own_recipes(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import sys, edgexai\nfrom edgexai.cli.main import main\nfrom edgexai.config.shipped import folder\n"
        "print(edgexai.__file__, folder('recipes'), folder('datasets'), folder('targets'), sep='\\n')\n"
        "sys.exit(main(['recipe', 'validate', '--all']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked), "EDGEXAI_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    places, checked = done.stdout.splitlines()[:4], done.stdout.splitlines()[4:]
    assert all(place.startswith(str(unpacked)) for place in places)
    assert len(checked) == len(list((REPOSITORY / "recipes").glob("*.toml"))) >= 15


def test_the_editable_folders_are_used_here() -> None:
    from edgexai.config.shipped import folder

    assert folder("recipes") == REPOSITORY / "recipes"
    assert folder("datasets") == REPOSITORY / "datasets"
    assert folder("targets") == REPOSITORY / "deploy" / "targets"


def test_the_version_is_told_once() -> None:
    import edgexai

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert edgexai.__version__ == project["version"]
    extras = project["optional-dependencies"]
    # A GPU machine's packages must never come along with another extra.
    others = [line for name, lines in extras.items() if name != "trt" for line in lines]
    assert not [line for line in others if line.startswith("tensorrt")]
