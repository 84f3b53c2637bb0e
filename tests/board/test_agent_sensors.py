"""Power, mode and clocks, read from a folder that looks like a Jetson's kernel; and from one that does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgexai.board.agent.power_rows import power_rows
from edgexai.board.agent.sensors import clocks_mhz, mode_number, power_mode, rails, total_rail, watts_during
from edgexai.measure.subject import Subject
from edgexai.types import Images, Logits


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


MONITOR = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
ORIN = {
    f"{MONITOR}/in1_label": "VDD_IN",
    f"{MONITOR}/in1_input": "5000",
    f"{MONITOR}/curr1_input": "1240",
    f"{MONITOR}/in2_label": "VDD_CPU_GPU_CV",
    f"{MONITOR}/in2_input": "5000",
    f"{MONITOR}/curr2_input": "400",
    f"{MONITOR}/in3_label": "no current beside it",
    f"{MONITOR}/in3_input": "5000",
    "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1510400",
    "sys/class/devfreq/17000000.gpu/cur_freq": "624750000",
}


def engine(images: Images) -> Logits:
    return np.zeros((len(images), 3), np.float32)


WHO = Subject(engine, "natural", "fp32", "engine", "a runtime")
ONE = np.zeros((1, 3, 4, 4), np.float32)


def test_an_orin(tmp_path: Path) -> None:
    root = write(tmp_path, ORIN)
    found = rails(root)
    assert [rail.label for rail in found] == ["VDD_CPU_GPU_CV", "VDD_IN"]
    total = total_rail(found)
    assert total is not None
    assert total.watts() == pytest.approx(6.2)  # 5 V times 1.24 A
    assert power_mode(root) == "2"
    assert clocks_mhz(root) == {"cpu": 1510.4, "gpu": 624.75}
    rows = {(row.metric, row.detail.get("clock")): row for row in power_rows(WHO, ONE, root=root, seconds=0.3)}
    assert rows["power_w", None].value == pytest.approx(6.2)
    assert rows["power_w", None].n >= 2
    assert rows["power_w", None].detail["rail"] == "VDD_IN"
    energy = rows["energy_mj", None].value
    assert energy is not None
    assert 0 < energy < 6.2 * 1000
    assert rows["power_mode", None].value == 2
    assert rows["clock_mhz", "gpu"].value == 624.75
    assert {row.status for row in rows.values()} == {"measured"}


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("pmode:0000", "0"),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_2CORE\n12\n", "12"),
        ("NV Power Mode: MAXN\n", ""),
        ("", ""),
    ],
)
def test_a_mode_without_a_number_is_not_given_one(said: str, number: str) -> None:
    assert mode_number(said) == number


def test_no_sensor_is_said_and_not_guessed(tmp_path: Path) -> None:
    rows = power_rows(WHO, ONE, root=tmp_path, seconds=0.1)
    assert {row.metric for row in rows} == {"power_w", "energy_mj", "power_mode", "clock_mhz"}
    for row in rows:
        assert (row.value, row.n, row.status) == (None, 0, "not measured here")
        assert "on the board:" in row.reason


def test_a_rail_that_is_not_the_whole_module_is_not_taken_for_it(tmp_path: Path) -> None:
    root = write(tmp_path, {name: text.replace("VDD_IN", "VDD_SOC") for name, text in ORIN.items()})
    power = next(row for row in power_rows(WHO, ONE, root=root, seconds=0.1) if row.metric == "power_w")
    assert power.value is None
    assert "VDD_SOC" in power.reason


def test_samples_follow_the_sensor_and_stop_with_it(tmp_path: Path) -> None:
    root = write(tmp_path, ORIN)
    total = total_rail(rails(root))
    assert total is not None
    (root / f"{MONITOR}/curr1_input").write_text("2000\n")
    assert set(watts_during(total, lambda: None, seconds=0.3)) == {10.0}
    (root / f"{MONITOR}/curr1_input").unlink()
    assert watts_during(total, lambda: None, seconds=0.2) == []
