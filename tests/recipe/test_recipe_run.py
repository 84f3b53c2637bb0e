"""Running over tiny real stages: reuse, damage, partial runs, gates, the run folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from recipes_for_tests import loaded
from tiny_stages import REGISTRY, REPORT, SOURCE

from edgexai.errors import EXIT_GATE, GateFailed, UserError
from edgexai.recipe.evaluations import EVALUATIONS
from edgexai.recipe.run import RecipeGateFailed, RunResult, run_recipe
from edgexai.recipe.status import recipe_status
from edgexai.types import Row


class Runner:
    """Runs recipes in one home and keeps the events."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self._patch = home, monkeypatch
        self.events: list[dict[str, Any]] = []
        self.calls_file = home.parent / "calls"
        self.wish()

    def wish(self, **wishes: Any) -> None:
        self._patch.setenv("TINY", json.dumps({"calls": str(self.calls_file), **wishes}))

    def run(self, name: str, changes: Mapping[str, Any] | None = None, **options: Any) -> RunResult:
        self.events, chosen = [], loaded(name, dict(changes or {}))
        given = {"home": self.home, "stages": REGISTRY, "source_digest": SOURCE, "report": REPORT}
        return run_recipe(chosen, events=lambda e: self.events.append(dict(e)), **{**given, **options})

    def started(self) -> list[str]:
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return [line.split()[1] for line in lines if line.startswith("start")]

    def said(self, what: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["what"] == what]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(tmp_path / "home", monkeypatch)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_run_folder_holds_everything(runner: Runner) -> None:
    result = runner.run("pruned_lime")
    lock = json.loads((result.folder / "recipe.lock.json").read_text())
    assert lock["name"] == "pruned_lime"
    assert lock["classes"] == ["stop", "yield"]
    assert [n["name"] for n in lock["nodes"]] == runner.started() == [o.node.name for o in result.nodes]
    for node in lock["nodes"]:
        meta = json.loads((runner.home / "store" / node["stage"] / node["key"] / "meta.json").read_text())
        assert (meta["digest"], meta["key"]) == (node["digest"], node["key"])
    rows = [Row.from_json(line) for line in (result.folder / "measurements.jsonl").read_text().splitlines()]
    assert len(rows) == result.rows == 12  # engine, measure, latency of four arms, once each
    assert all(row.flags == ("seen",) for row in rows)  # compare's flagged rows and no others
    pictures = {p.name: p.read_bytes() for p in (result.folder / "pictures").iterdir()}
    assert pictures == {f"refine_{arm}.npz": b"picture of " + arm.encode() for arm in ("refined", "control")}
    assert result.folder.name == lock["run"][:12]
    assert (result.folder.parent / "latest").resolve() == result.folder.resolve()
    log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert [e["node"] for e in log if e["what"] == "node-start"] == [n["name"] for n in lock["nodes"]]
    assert all("time" in e for e in log)
    assert log[-1]["what"] == "run-end"


def test_only_looks_at_the_test_split_are_logged(runner: Runner) -> None:
    runner.run("pruned_lime", {"measure.split": "val"})
    assert not (runner.home / EVALUATIONS).exists()
    runner.run("pruned_lime")
    lines = [json.loads(line) for line in (runner.home / EVALUATIONS).read_text().splitlines()]
    assert [line["arm"] for line in lines] == ["natural", "refined", "control", "pruned"]


def test_rows_of_entries_when_nothing_compares(runner: Runner) -> None:
    result = runner.run("natural", until="measure")
    rows = [Row.from_json(line) for line in (result.folder / "measurements.jsonl").read_text().splitlines()]
    assert [(r.metric, r.flags) for r in rows] == [("agreement", ()), ("clean_acc", ())]
    assert not (result.folder.parent / "latest").exists()  # not the whole recipe


def test_scalars_can_be_read_back(runner: Runner) -> None:
    result = runner.run("bare")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # type: ignore[import-untyped]

    (path,) = (result.folder / "tensorboard" / "train").iterdir()
    found = [(e.step, v.tag, v.tensor.float_val[0]) for e in EventFileLoader(str(path)).Load() for v in e.summary.value]
    assert found == [(k, "loss", pytest.approx(1 / k)) for k in range(1, 6)]


def test_second_run_changes_nothing(runner: Runner) -> None:
    first = runner.run("pruned_lime")
    runner.calls_file.unlink()
    before = files_below(runner.home)
    second = runner.run("pruned_lime")
    after = files_below(runner.home)
    assert not runner.calls_file.exists()  # no stage, no report
    assert {n for n in after if after[n] != before.get(n)} == {str(first.folder.relative_to(runner.home) / "log.jsonl")}
    assert set(before) == set(after)
    assert not any(o.built for o in second.nodes)
    assert second.rows == first.rows


def test_recipes_share_networks(runner: Runner) -> None:
    runner.run("lime")
    runner.started()
    runner.run("pruned_lime")
    started = runner.started()
    assert not {"data", "train", "refine", "refine[control]", "measure[natural]", "measure[control]"} & set(started)
    assert {"prune", "measure[pruned]", "compare"} <= set(started)


@pytest.mark.parametrize("victim", ["state", "meta.json"])
def test_damaged_byte_is_found_reported_and_rebuilt(runner: Runner, victim: str) -> None:
    first = runner.run("natural")
    runner.started()
    train = next(o for o in first.nodes if o.node.name == "train")
    path = train.folder / victim
    whole, info = path.read_bytes(), path.stat()
    path.write_bytes(whole[:9] + bytes([whole[9] ^ 1]) + whole[10:])
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))  # rotten bits do not touch the time
    status = recipe_status(loaded("natural"), home=runner.home, stages=REGISTRY, source_digest=SOURCE)
    assert [s.node for s in status if not s.stored] == ["train"]
    assert victim in status[1].problem
    second = runner.run("natural")
    assert runner.started() == ["train"]
    assert {(e["node"], str(train.folder)) == (e["node"], e["path"]) for e in runner.said("damaged")} == {True}
    assert victim in runner.said("damaged")[0]["problem"]
    assert [o.digest for o in second.nodes] == [o.digest for o in first.nodes]
    assert victim == "meta.json" or path.read_bytes() == whole


@pytest.mark.parametrize("how", ["missing", "cut", "no meta"])
def test_missing_parts_are_damage(runner: Runner, how: str) -> None:
    train = runner.run("bare").nodes[1].folder
    runner.started()
    if how == "cut":
        (train / "state").write_bytes(b"x")
    else:
        (train / ("state" if how == "missing" else "meta.json")).unlink()
    runner.run("bare")
    assert runner.started() == ["train"]


def test_damaged_run_folder_is_written_again(runner: Runner) -> None:
    result = runner.run("natural")
    good = (result.folder / "measurements.jsonl").read_bytes()
    (result.folder / "measurements.jsonl").write_bytes(good[:-5])
    (result.folder / "recipe.lock.json").write_text("{")
    runner.run("natural")
    assert (result.folder / "measurements.jsonl").read_bytes() == good
    assert json.loads((result.folder / "recipe.lock.json").read_text())["name"] == "natural"
    runner.calls_file.unlink()
    (result.folder / "report.html").unlink()
    runner.run("natural")
    assert (result.folder / "report.html").read_bytes() == good
    assert runner.started() == []


def test_until_and_from(runner: Runner) -> None:
    runner.run("pruned", until="train")
    assert runner.started() == ["data", "train"]
    runner.run("pruned", until="export")
    assert runner.started() == ["prune", "export[natural]", "export[pruned]"]
    whole = runner.run("pruned")
    runner.started()
    again = runner.run("pruned", from_="prune", until="export")
    assert runner.started() == ["prune", "export[natural]", "export[pruned]"]
    assert [o.digest for o in again.nodes] == [o.digest for o in whole.nodes][:5]
    runner.run("pruned", from_="data")
    assert runner.started() == [o.node.name for o in whole.nodes]


def test_unknown_stage_is_refused_with_the_choices(runner: Runner) -> None:
    with pytest.raises(UserError, match="--until prune") as caught:
        runner.run("natural", until="prune")
    assert "data, train, export" in caught.value.next_step
    with pytest.raises(UserError, match="comes after"):
        runner.run("natural", from_="measure", until="train")
    assert not runner.home.exists()


def test_dry_run_writes_nothing(runner: Runner) -> None:
    result = runner.run("natural", dry_run=True)
    assert not runner.home.exists()
    assert {e["state"] for e in runner.said("node-planned")} == {"would be computed"}
    real = runner.run("natural", until="train")
    before = files_below(runner.home)
    times = {p: p.stat().st_mtime_ns for p in runner.home.rglob("*")}
    dry = runner.run("natural", dry_run=True)
    assert files_below(runner.home) == before
    assert {p: p.stat().st_mtime_ns for p in runner.home.rglob("*")} == times
    assert [o.node.name for o in dry.nodes if not o.built] == ["data", "train"]
    assert dry.folder == result.folder != real.folder


def test_gates(runner: Runner) -> None:
    for _ in range(2):  # a reused verdict fails as well
        with pytest.raises(RecipeGateFailed) as caught:
            runner.run("gated")
        assert isinstance(caught.value, GateFailed)
        assert caught.value.exit_code == EXIT_GATE
        assert "clean_acc >= 0.97" in str(caught.value)
        folder = caught.value.result.folder
        assert (folder / "report.html").is_file()
        assert json.loads((folder / "gates.json").read_text())[0]["passed"] is False
    assert not runner.run("passing").gate_failed


def test_failed_stage_is_not_stored_and_resumes(runner: Runner) -> None:
    expected = runner.run("bare", home=runner.home.parent / "other").nodes[1].digest
    runner.wish(fail={"train": "bug"})
    with pytest.raises(RuntimeError, match="bug"):
        runner.run("bare")
    status = recipe_status(loaded("bare"), home=runner.home, stages=REGISTRY, source_digest=SOURCE)[1]
    assert (status.stored, status.checkpoint) == (False, True)
    assert not list(runner.home.glob("store/*/*.part-*"))
    runner.calls_file.unlink()
    runner.wish()
    assert runner.run("bare").nodes[1].digest == expected
    assert "step" not in runner.calls_file.read_text()  # all five steps were in the checkpoint
    assert not list(runner.home.glob("store/*/*.work"))


def test_interruption_leaves_no_part(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(event: Mapping[str, Any]) -> None:
        if event.get("node") == "train" and event["what"] == "epoch" and event["done"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(
            loaded("bare"), home=runner.home, events=interrupt, stages=REGISTRY, source_digest=SOURCE, report=REPORT
        )
    assert not list(runner.home.glob("store/*/*.part-*"))
    assert len(list(runner.home.glob("store/train/*.work/checkpoint.json"))) == 1
    (log,) = runner.home.glob("runs/bare/*/log.jsonl")
    assert "KeyboardInterrupt" in log.read_text().splitlines()[-1]
    runner.run("bare")
    assert [line for line in runner.calls_file.read_text().splitlines() if line.startswith("step train")] == [
        f"step train {k}" for k in range(5)
    ]  # no step was done twice


def test_unwritable_home_is_a_clear_error(runner: Runner) -> None:
    blocked = runner.home.parent / "a file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot write under") as caught:
        runner.run("bare", home=blocked / "home")
    assert "EDGEXAI_HOME" in caught.value.next_step


def test_full_disk_during_a_stage(runner: Runner) -> None:
    runner.wish(fail={"train": "full"})
    with pytest.raises(UserError, match="disk full"):
        runner.run("bare")
    assert not list(runner.home.glob("store/*/*.part-*"))
    assert not list(runner.home.glob("store/train/*/meta.json"))


def test_leftovers_of_dead_runs_are_swept(runner: Runner) -> None:
    runner.run("bare")
    part = runner.home / "store" / "train" / f"{'0' * 64}.part-dead"
    part.mkdir()
    (part / "half").write_text("x")
    runner.run("bare")
    assert not part.exists()


def test_status_of_a_fresh_home(runner: Runner) -> None:
    rows = recipe_status(loaded("pruned_lime"), home=runner.home, stages=REGISTRY, source_digest=SOURCE)
    assert not any(row.stored or row.checkpoint or row.size_bytes for row in rows)
    assert not runner.home.exists()
    assert json.loads(json.dumps(rows))[0][:2] == ["data", "data"]
