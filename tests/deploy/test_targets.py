"""Board targets: the shipped ones are whole and sourced, faulty ones are refused, boards are held to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgexai.board.flash_facts import SPARE_BYTES, compare_facts, l4t_release
from edgexai.cli.main import main
from edgexai.config.shipped import folder
from edgexai.config.targets import read_target, target_names
from edgexai.errors import UserError

ORIN_NANO: dict[str, Any] = {
    "machine": "aarch64",
    "python": "3.10.12",
    "model": "NVIDIA Jetson Orin Nano Developer Kit",
    "l4t": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
    "modules": {"numpy": "1.26.4", "tensorrt": "10.3.0"},
    "free_bytes": 10 << 30,
}
"""As a board with JetPack 6.2 tells it."""


def test_the_targets_that_ship() -> None:
    assert target_names() == ("agx-orin-jp6", "agx-orin-jp7", "agx-thor-jp7", "orin-nano-jp6", "orin-nx-jp6")


@pytest.mark.parametrize("name", target_names())
def test_every_target_agrees_with_what_is_settled(name: str) -> None:
    """TensorRT 10.3 is the oldest; 11.0 to 11.4.0 run on no JetPack; JetPack 6 never gets 11; Python follows Ubuntu."""
    target = read_target(name)
    six = name.endswith("-jp6")
    assert all(version.startswith("6." if six else "7.") for version in target.jetpack)
    assert target.python == ("3.10" if six else "3.12")
    assert all(version.startswith("36." if six else ("38", "39")) for version in target.l4t)
    assert all(version.startswith("10.") for version in target.tensorrt) or not six
    assert target.sm == ("11.0" if "thor" in name else "8.7")
    assert target.dla_usable == (name not in ("orin-nano-jp6", "agx-thor-jp7"))
    assert target.base_image is None or "base_image" in target.unverified
    assert not target.power_modes or any("power modes" in source for source in target.sources)


def test_targets_name_no_registry_and_no_machine() -> None:
    for path in folder("targets").glob("*.toml"):
        assert not re.search(r"[a-z]+\.(io|com)/|/(home|root)/", path.read_text()), path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('cuda = "12.6"', 'cuda = "new"', "cuda"),
        ('cuda = "12.6"', 'cuda = "12.6"\ncudnn = "9"', "cudnn"),
        ("sources = [", "sauces = [", "sources"),
        ('unverified = ["model"', 'unverified = ["modell"', "modell"),
        ("dla_usable = false", "dla_usable = true", "without a DLA core"),
        ("id = 1", "id = 0", "two power modes of one number"),
        ("dla_cores = [0]", "dla_cores = 0", "dla_cores"),
        ("title =", "title", "not TOML"),
    ],
)
def test_a_faulty_target_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = (folder("targets") / "orin-nano-jp6.toml").read_text()
    assert old in text
    path = tmp_path / "x.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=said):
        read_target(str(path))


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(UserError, match='did you mean "orin-nano-jp6"'):
        read_target("orin-nano-jp5")


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flash", "--list-targets"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(target_names())


def test_the_board_it_is_meant_for_passes() -> None:
    found = compare_facts(ORIN_NANO, bundle_bytes=1 << 20, target=read_target("orin-nano-jp6"))
    assert found.faults == ()
    assert "compute capability" in found.unchecked


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine": "x86_64"}, "it is x86_64"),
        ({"model": "NVIDIA Jetson Orin NX"}, 'it is "NVIDIA Jetson Orin NX"'),
        ({"model": ""}, "it is no Jetson"),
        ({"l4t": "# R36 (release), REVISION: 3.0, GCID: 1"}, "Jetson Linux 36.3.0"),
        ({"l4t": "# R36 (release), REVISION: 40.0, GCID: 1"}, "Jetson Linux 36.40.0"),
        ({"python": "3.8.10"}, "the agent needs 3.10"),
        ({"python": "3.12.3"}, "the target has 3.10"),
        ({"modules": {"numpy": "1.26.4"}}, "TensorRT's Python module is missing"),
        ({"modules": {"numpy": "1.26.4", "tensorrt": "8.6.2"}}, "TensorRT 8.6.2"),
        ({"modules": {"tensorrt": "10.3.0"}}, "NumPy is missing"),
        ({"free_bytes": SPARE_BYTES}, "bytes are free"),
    ],
)
def test_any_other_board_is_refused(change: dict[str, Any], said: str) -> None:
    found = compare_facts({**ORIN_NANO, **change}, bundle_bytes=1 << 20, target=read_target("orin-nano-jp6"))
    assert any(said in fault for fault in found.faults), found


def test_without_a_target_only_the_needs_count() -> None:
    plain = {"python": "3.11.2", "machine": "x86_64", "modules": {"numpy": "2.2.6"}, "free_bytes": 10 << 30}
    assert compare_facts(plain, bundle_bytes=1, target=None).faults == ()


def test_jetson_linux_as_it_is_written() -> None:
    assert l4t_release(ORIN_NANO["l4t"]) == "36.4.3"
    assert l4t_release("Ubuntu") == ""
