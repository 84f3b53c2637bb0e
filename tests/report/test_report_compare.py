"""Runs side by side: what is subtracted, by how much, and what never is."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edgexai.cli.main import main
from edgexai.errors import EXIT_USER
from edgexai.measure.proportions import wilson
from edgexai.recipe.paired_runs import paired_rows
from edgexai.report.folder import RunFolder, read_run
from edgexai.report.side_by_side import side_by_side, unlike
from edgexai.report.side_by_side_page import Pairs, write_comparison
from edgexai.types import Row

ENGINE = Row("natural", "fp32", "engine", "clean_acc", 0.9, "fraction", 1000, runtime="onnxruntime 1.31.1 CPU")
SAME = {
    "name": "a", "run": "aa" * 32,
    "recipe": {"seed": 0, "data": {"name": "gtsrb", "size": 32}, "measure": {"n": 200, "eps": ["8/255"]}},
    "nodes": [{"name": "data", "digest": "d" * 64}, {"name": "measure[natural]", "key": "k", "digest": "m"}],
    "environment": {"machine": "a CPU, 2 cores"},
}  # fmt: skip


def _share(right: int, n: int, **more: object) -> Row:
    value, low, high = wilson(right, n)
    return replace(ENGINE, value=value, low=low, high=high, interval="wilson", n=n, **more)  # type: ignore[arg-type]


def _run(*rows: Row, **lock: object) -> RunFolder:
    return RunFolder(Path("nowhere"), {**SAME, **lock}, rows, (), {}, {})


def _one(first: RunFolder, other: RunFolder):
    (compared,) = side_by_side([first, other])
    return compared.differences[0]


def test_the_difference_has_newcombes_interval() -> None:
    """By hand, and turned round when the runs are exchanged."""
    ahead = _one(_run(_share(40, 80)), _run(_share(56, 80)))
    back = _one(_run(_share(56, 80)), _run(_share(40, 80)))
    assert ahead.value == pytest.approx(0.2)
    assert (ahead.low, ahead.high) == pytest.approx((-back.high, -back.low))
    (_, la, ha), (_, lb, hb) = wilson(40, 80), wilson(56, 80)
    assert ahead.low == pytest.approx(0.2 - np.hypot(0.7 - lb, ha - 0.5))
    assert ahead.high == pytest.approx(0.2 + np.hypot(hb - 0.7, 0.5 - la))
    assert ahead.excludes_zero


def test_newcombes_published_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """56/70 and 48/80: 20.0 pp with 5.24 to 33.39 pp; Statistics in Medicine 1998, table II, method 10, example (a)."""
    from edgexai.report import side_by_side as module

    monkeypatch.setattr(module, "_reason", lambda first, other, a, b: "")  # the formula alone
    found = _one(_run(_share(48, 80)), _run(_share(56, 70)))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(
    ("changed", "lock", "said"),
    [
        ({"n": 900}, {}, "other n (1,000 and 900)"),
        ({"seed": 1}, {}, "other seed (None and 1)"),
        ({}, {"recipe": {**SAME["recipe"], "data": {"name": "lisa", "size": 32}}}, "other data set (gtsrb and lisa)"),
        ({}, {"recipe": {**SAME["recipe"], "data": {"name": "gtsrb", "size": 48}}}, "other image size (32 and 48)"),
        ({}, {"recipe": {}}, "no recipe.lock.json"),
        ({"value": None, "low": None, "high": None, "status": "skipped"}, {}, "skipped in one of the runs"),
    ],
)
def test_what_is_not_of_the_same_images_is_not_subtracted(changed, lock, said: str) -> None:
    row = _share(900, 1000)
    found = _one(_run(row), _run(replace(row, **changed), **lock))
    assert found.value is None
    assert said in found.reason


def test_another_split_or_detail_is_another_number() -> None:
    row = _share(900, 1000)
    for other in (replace(row, split="val"), replace(row, detail={"attack": "pgd"}), replace(row, subject="twin")):
        assert len(side_by_side([_run(row), _run(other)])) == 2
    counted = replace(row, detail={"output": "logits", "undefined": 3})
    assert len(side_by_side([_run(row), _run(counted)])) == 1


def test_validation_images_need_the_same_pack_and_rendered_ones_always() -> None:
    other = {"nodes": [{"name": "data", "digest": "e" * 64}]}
    row = _share(900, 1000)
    assert _one(_run(row), _run(row, **other)).reason == ""  # an official test set is the same whatever was held out
    val = replace(row, split="val")
    assert "other data digest" in _one(_run(val), _run(val, **other)).reason
    signs = {"recipe": {"seed": 0, "data": {"name": "signs", "size": 32}}}
    assert unlike(_run(row, **signs), _run(row, **signs)) == []
    assert "rendered anew" in unlike(_run(row, **signs), _run(row, **signs, **other))[0]


def test_cost_needs_no_images_but_time_needs_the_machine() -> None:
    size = replace(ENGINE, metric="size_bytes", unit="bytes", n=1, split="none", value=1000.0)
    far = {"recipe": {"data": {"name": "lisa", "size": 32}}, "environment": {"machine": "another"}}
    assert _one(_run(size), _run(replace(size, value=400.0), **far)).value == -600
    ms = replace(ENGINE, metric="latency_ms", unit="ms", n=400, split="none", value=1.0, low=0.9, high=1.1)
    assert "other machines" in _one(_run(ms), _run(ms, **far)).reason
    assert _one(_run(ms), _run(replace(ms, value=2.0, low=1.9, high=2.1))).value == 1.0


def test_road_is_never_subtracted_from_rows_alone() -> None:
    gap = replace(ENGINE, metric="road_gap", value=0.3, low=0.2, high=0.4, detail={"explainer": "ig"})
    assert "own networks get right" in _one(_run(gap), _run(gap)).reason


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.bad: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.bad += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith(("#", "data:image/png"))]

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.bad.append(f"</{tag}>")


def _folder(path: Path, name: str, *, right: np.ndarray, home: Path, key: str, **recipe: object) -> Path:
    """A run folder with its entry in the store: verdicts of the clean test and validation images, and under PGD."""
    path.mkdir(parents=True)
    value, low, high = wilson(int(right.sum()), len(right))
    row = replace(ENGINE, value=value, low=low, high=high, interval="wilson", n=len(right))
    (path / "measurements.jsonl").write_text(row.to_json() + "\n")
    nodes = [{"name": "data", "digest": "d"}, {"name": "measure[natural]", "key": key, "digest": f"m{key}"}]
    lock = {**SAME, "name": name, "recipe": {**SAME["recipe"], **recipe}, "nodes": nodes}
    (path / "recipe.lock.json").write_text(json.dumps(lock))
    entry = home / "store" / "measure" / key
    entry.mkdir(parents=True)
    others = {"fp32|robust/pgd@8/255": right[:50], "fp32|clean/val": right[:20], "twin|ris/ig": np.zeros(3)}
    np.savez(entry / "verdicts.npz", **{"fp32|clean/test": right}, **others)
    (entry / "meta.json").write_text(json.dumps({"digest": f"m{key}"}))
    return path


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path, Path]:
    g = np.random.default_rng(0)
    first = g.random(400) < 0.8
    other = first | (g.random(400) < 0.3)  # only mends, never breaks
    home = tmp_path / "home"
    return (
        home,
        _folder(tmp_path / "one", "one", right=first, home=home, key="1"),
        _folder(tmp_path / "two", "two", right=other, home=home, key="2"),
    )


def test_verdicts_in_the_store_are_paired_by_image(two: tuple[Path, Path, Path]) -> None:
    home, one, other = two
    rows, reason = paired_rows(read_run(one), read_run(other), home=home)
    row, *others = rows
    assert [(r.metric, r.split) for r in others] == [("robust_acc_difference", "test"), ("clean_acc_difference", "val")]
    with np.load(home / "store/measure/1/verdicts.npz") as a, np.load(home / "store/measure/2/verdicts.npz") as b:
        mean = float(b["fp32|clean/test"].mean() - a["fp32|clean/test"].mean())
    assert (reason, row.metric, row.n) == ("", "clean_acc_difference", 400)
    assert row.value == pytest.approx(mean)
    unpaired = _one(read_run(one), read_run(other))
    assert unpaired.value == pytest.approx(mean)
    assert row.high - row.low < unpaired.high - unpaired.low  # type: ignore[operator]


def test_pairing_is_refused_with_its_reason(two: tuple[Path, Path, Path], tmp_path: Path) -> None:
    home, one, other = two
    first = read_run(one)
    seed = _folder(tmp_path / "s", "s", right=np.ones(400, bool), home=home, key="3", seed=5)
    assert "other seed (0 and 5)" in paired_rows(first, read_run(seed), home=home)[1]
    few = _folder(tmp_path / "f", "f", right=np.ones(400, bool), home=home, key="4", measure={"n": 50})
    rows, reason = paired_rows(first, read_run(few), home=home)
    assert "differs in n" in reason
    assert [(r.metric, r.split, r.n) for r in rows] == [("clean_acc_difference", "test", 400)]  # all the same images
    cut = _folder(tmp_path / "c", "c", right=np.ones(400, bool), home=home, key="5", measure={"clean_n": 50})
    assert paired_rows(first, read_run(cut), home=home)[0] == []
    (home / "store/measure/2/meta.json").write_text('{"digest": "another build"}')
    assert "no longer in the store" in paired_rows(first, read_run(other), home=home)[1]


def test_page_and_markdown_say_the_same(two: tuple[Path, Path, Path], tmp_path: Path) -> None:
    home, one, other = two
    runs = [read_run(one), read_run(other)]
    runs[1] = replace(runs[1], lock={**runs[1].lock, "title": "<script>x</script> | y"})
    path = write_comparison(runs, tmp_path / "out", paired=[Pairs(*paired_rows(*runs, home=home))])
    text = path.read_text("utf-8")
    page = _Page()
    page.feed(text)
    assert not page.open
    assert not page.bad
    assert "<script" not in text
    assert "http" not in text
    markdown = (tmp_path / "out" / "compare.md").read_text("utf-8")
    shown = re.sub(r"<[^>]+>|\s+", " ", text)
    for row in re.findall(r"^\| Clean accuracy .*", markdown, re.M):
        for value in re.findall(r"[+−]?\d+\.\d (?:%|pp)", row):
            assert value in shown
    assert "B minus A, paired by image" in markdown
    assert markdown.count("McNemar") == text.count("McNemar") == 3  # clean, held out, under PGD
    assert not re.search(r"\b(None|nan)\b", shown)


def test_the_command(two: tuple[Path, Path, Path], capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home, one, other = two
    monkeypatch.setenv("EDGEXAI_HOME", str(home))
    assert main(["compare", str(one), str(other), "--out", str(tmp_path / "o")]) == 0
    page, markdown = capsys.readouterr().out.split()
    assert Path(page).is_file()
    assert Path(markdown).is_file()
    for words, said in (
        ([str(one)], "takes 2 to 6"),
        ([str(one), str(one)], "given twice"),
        ([str(one), "no_such_run"], "no run of a recipe"),
        ([str(one), str(other), "--out", page], "not a folder"),
    ):
        assert main(["compare", *words]) == EXIT_USER
        assert said in capsys.readouterr().err
    (other / "measurements.jsonl").unlink()
    assert main(["compare", str(one), str(other)]) == EXIT_USER
    assert "no rows" in capsys.readouterr().err
