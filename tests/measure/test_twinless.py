"""``edgexai measure`` of foreign files: numbers worked out by hand, one process against shares, a kill and a resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from foreign_files import NAMES, classifier, colours
from PIL import Image

from edgexai.cli.main import main
from edgexai.config.card import OwnFiles
from edgexai.data.faults import Faults
from edgexai.data.own_scan import scan
from edgexai.errors import UserError
from edgexai.measure.class_order import output_of
from edgexai.measure.twinless_rows import NO_TWIN, TIMED
from edgexai.report.evidence import Evidence
from edgexai.types import Row

SMALL = [
    *("--attack-n", "9", "--square-n", "6", "--square-queries", "20", "--explain-n", "9", "--rise-masks", "32"),
    *("--corruptions", "fog,contrast", "--corruption-n", "9", "--severities", "1,5"),
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGEXAI_DATA", raising=False)
    assert main(["data", "add", "colours", str(colours(tmp_path / "colours"))]) == 0
    return tmp_path / "home"


def rows_of(path: Path) -> list[Row]:
    return [Row.from_json(line) for line in path.read_text().splitlines()]


def untimed(path: Path) -> list[str]:
    """Rows as text, without those that time something."""
    return [row.to_json() for row in rows_of(path) if row.metric not in TIMED]


def test_accuracy_is_the_plain_computation(tmp_path: Path) -> None:
    """Decoded and classified once more with nothing of ours but the split."""
    out = tmp_path / "rows.jsonl"
    assert main(["measure", str(classifier(tmp_path / "m.onnx")), "--data", "colours", "--out", str(out), *SMALL]) == 0
    found = scan(OwnFiles(path=str(tmp_path / "colours"), layout="folders"), faults=Faults(""))
    from edgexai.config.recipe import DataTable
    from edgexai.data.own import load_own

    table = DataTable(name="colours", size=16)
    test = load_own(table, seed=0, data_root=None, progress=None)["test"]
    assert len(found.images) == 60
    right = (test.images.astype(np.float64).mean((1, 2))[:, ::-1]).argmax(1) == test.labels
    rows = rows_of(out)
    clean = [row for row in rows if row.metric == "clean_acc"]
    assert [(row.value, row.n, row.arm) for row in clean] == [(right.mean(), 12, "foreign")]
    assert right.mean() > 0.5
    per_class = {row.detail["class"]: row.value for row in rows if row.metric == "class_acc"}
    assert per_class == {name: right[test.labels == k].mean() for k, name in enumerate(NAMES)}


def test_a_foreign_file_is_measured_in_full_and_says_what_needs_a_twin(tmp_path: Path, home: Path) -> None:
    out, folder = tmp_path / "rows.jsonl", tmp_path / "run"
    command = ["measure", str(classifier(tmp_path / "m.onnx")), "--data", "colours"]
    assert main([*command, "--out", str(out), "--report", str(folder), *SMALL]) == 0
    rows = rows_of(out)
    attacks = {(row.detail["attack"], row.status) for row in rows if row.metric == "robust_acc"}
    assert attacks == {
        ("noise", "measured"), ("square", "measured"), ("fgsm", "skipped"), ("pgd", "skipped"), ("apgd", "skipped"),
    }  # fmt: skip
    skipped = [row for row in rows if row.status == "skipped"]
    assert all(row.reason.startswith(NO_TWIN) and row.value is None for row in skipped)
    measured = {
        (row.metric, row.detail.get("explainer")) for row in rows if row.status == "measured" and "map" in row.detail
    }
    for name in ("lime", "rise", "occlusion"):
        assert {("saliency_gini", name), ("deletion_auc", name), ("insertion_auc", name)} <= measured
        assert any(row.metric == "road_gap" and row.detail["explainer"] == name for row in rows)
    bad = {(r.detail["corruption"], r.detail["severity"]) for r in rows if r.metric == "corruption_acc"}
    assert bad == {("fog", 1), ("fog", 5), ("contrast", 1), ("contrast", 5), ("mean", "all")}
    # Contrast shrinks all colours towards their common mean: the largest stays the largest.
    value = {(r.detail["corruption"], r.detail["severity"]): r.value for r in rows if r.metric == "corruption_acc"}
    assert value["contrast", 1] is not None
    assert {row.metric for row in rows} >= {"latency_ms", "throughput", "size_bytes"}
    page = (folder / "report.html").read_text()
    assert "m.onnx on colours" in page
    assert NO_TWIN in page
    # What stands first is what was measured, not the gap that a twin would fill.
    assert Evidence(rows).main_explainer("road_gap") == "lime"
    assert (folder / "measurements.jsonl").read_text() == out.read_text()
    assert {"calibration_error", "aurc", "selective_acc"} <= {row.metric for row in rows}
    weakest = next(row for row in rows if row.metric == "class_acc" and "taken_for" in row.detail)
    assert weakest.detail["taken_for"] in set(NAMES) - {weakest.detail["class"]}
    with np.load(folder / "pictures" / "foreign.npz") as pictures:
        assert pictures["images"].shape == (9, 16, 16, 3)
        decided = pictures["images"].astype(np.float64).mean((1, 2))[:, ::-1].argmax(1)
        np.testing.assert_array_equal(pictures["pred_engine"], decided)
        assert {"engine__lime", "engine__rise", "engine__occlusion"} < set(pictures.files)
    looked = [json.loads(line) for line in (home / "test_evaluations.jsonl").read_text().splitlines()]
    assert {line["data"] for line in looked} >= {"colours/test", "colours/fog_5"}


def test_layout_softmax_and_class_order_do_not_change_the_rows(tmp_path: Path) -> None:
    options = ["--data", "colours", "--attacks", "noise", "--explainers", "none", "--corruptions", "none"]
    names = tmp_path / "names.txt"
    # Output 0 is red, 1 none of the classes, 2 is blue, 3 is green, by name, by another spelling, by number.
    names.write_text("red\nnothing\n BLUE \n1\n")
    files = {
        "plain": classifier(tmp_path / "plain.onnx"),
        "nhwc": classifier(tmp_path / "nhwc.onnx", layout="nhwc", softmax=True),
        "shuffled": classifier(tmp_path / "shuffled.onnx", order=(0, -1, 2, 1)),
    }
    values = {}
    for name, path in files.items():
        more = ["--classes", str(names)] if name == "shuffled" else []
        assert main(["measure", str(path), *options, *more, "--out", str(tmp_path / name)]) == 0
        values[name] = [
            (r.metric, r.detail.get("class"), r.detail.get("eps"), r.value)
            for r in rows_of(tmp_path / name)
            if r.metric in ("clean_acc", "class_acc", "robust_acc") and r.value is not None
        ]
    assert values["plain"] == values["nhwc"] == values["shuffled"]
    # Without the list the same file is another classifier: that the list is used is seen in the numbers.
    assert main(["measure", str(files["shuffled"]), *options]) == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("red\nblue\n", "names 2 outputs, the engine has 3"),
        ("red\nblue\nyellow\n", "no line for class 1, 'green'"),
        ("red\nblue\nred\n", "line 3: 'red' is also line 1"),
        ("red\nblue\ngren\n", "is it 'gren'?"),
    ],
)
def test_class_lists_that_do_not_fit_are_refused(
    lines: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(lines)
    path = str(classifier(tmp_path / "m.onnx"))
    assert main(["measure", path, "--data", "colours", "--classes", str(names)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--attacks", "pgd"], 2, 'attack "pgd": needs no twin: noise, square'),
        (["--explainers", "ig"], 2, 'explainer "ig" needs gradients, and there is no twin'),
        (["--corruptions", "rain"], 2, 'corruption "rain" is unknown'),
        (["--eps", "8"], 2, 'eps "8"'),
        (["--shards", "4/3"], 2, "wanted k/n"),
        (["--size", "32"], 2, "takes 16x16 pixels, not 32x32"),
        (["--device", "cuda"], 3, ""),
    ],
)
def test_what_cannot_be_measured_is_refused(
    options: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", str(classifier(tmp_path / "m.onnx")), "--data", "colours", *options]) == code
    assert said in capsys.readouterr().err


def test_three_shares_give_the_rows_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["measure", str(classifier(tmp_path / "m.onnx")), "--data", "colours", *SMALL]
    assert main([*command, "--out", str(tmp_path / "one.jsonl")]) == 0
    parts = []
    for k in (3, 1, 2):  # homes of their own: machines that share nothing
        monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / f"home{k}"))
        assert main(["data", "add", "colours", str(tmp_path / "colours")]) == 0
        parts.append(str(tmp_path / f"part{k}.npz"))
        assert main([*command, "--shards", f"{k}/3", "--out", parts[-1]]) == 0
    capsys.readouterr()
    assert main(["measure", *parts[:2], "--merge"]) == 2
    assert "batches are in none of these parts" in capsys.readouterr().err
    assert main(["measure", *parts, "--merge", "--out", str(tmp_path / "three.jsonl")]) == 0
    assert untimed(tmp_path / "three.jsonl") == untimed(tmp_path / "one.jsonl")
    other = ["measure", str(tmp_path / "m.onnx"), "--data", "colours", *SMALL, "--seed", "1"]
    assert main([*other, "--shards", "1/3", "--out", str(tmp_path / "other.npz")]) == 0
    capsys.readouterr()
    assert main(["measure", *parts[1:], str(tmp_path / "other.npz"), "--merge"]) == 2
    assert "differs in asked" in capsys.readouterr().err


def test_killed_in_the_middle_and_taken_up_again_gives_equal_rows(tmp_path: Path, home: Path) -> None:
    command = ["measure", str(classifier(tmp_path / "m.onnx")), "--data", "colours", *SMALL, "--rise-masks", "8000"]
    environment = {**os.environ, "EDGEXAI_HOME": str(home)}
    child = subprocess.Popen([sys.executable, "-m", "edgexai", *command], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (done := finished(home)) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = finished(home)
    assert done
    before = {path: path.stat().st_mtime_ns for path in done}
    out, whole = tmp_path / "resumed.jsonl", tmp_path / "whole.jsonl"
    assert main([*command, "--out", str(out)]) == 0
    assert len(finished(home)) > len(done)  # it was killed in the middle
    assert {path: path.stat().st_mtime_ns for path in done} == before  # and what was there was not done again
    for path in finished(home):
        path.unlink()
    assert main([*command, "--out", str(whole)]) == 0
    assert untimed(out) == untimed(whole)


def test_names_in_the_file_or_from_the_user_decide_which_output_is_which() -> None:
    names = ("a", "b", "c")
    assert output_of(names, 3, lines=None) == (0, 1, 2)
    assert output_of(names, 3, lines=None, told=("c", "a", "b")) == (1, 2, 0)
    assert output_of(names, 3, lines=None, told=("x", "y", "z")) == (0, 1, 2)  # other names say nothing of the order
    assert output_of(names, 3, lines=("b", "c", "a"), told=("c", "a", "b")) == (2, 0, 1)
    assert output_of(("1", "0"), 2, lines=("0", "1")) == (1, 0)  # a name wins over a number
    with pytest.raises(UserError, match="the engine has 4 classes, the data set 3"):
        output_of(names, 4, lines=None)


def finished(home: Path) -> list[Path]:
    return sorted(path for path in home.glob("measure/*/*.npz") if not path.name.startswith("."))


def test_damaged_images_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "colours" / "red").iterdir():
        with Image.open(path) as image:
            size = image.size
        path.write_bytes(path.read_bytes()[:60])
        assert size == (16, 16)
    assert main(["measure", str(classifier(tmp_path / "m.onnx")), "--data", "colours", *SMALL]) == 2
    assert "red/" in capsys.readouterr().err
