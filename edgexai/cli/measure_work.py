"""The work of ``edgexai measure``: shares, parts, rows, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexai.errors import UserError
from edgexai.types import Row

if TYPE_CHECKING:
    from edgexai.engine.foreign import Preprocessing
    from edgexai.measure.foreign import Request
    from edgexai.measure.twinless import Plan
    from edgexai.measure.twinless_store import Found

_SAY_EVERY_S = 2.0


def engine_file(name: str, home: Path) -> Path:
    """The file meant by ``name``: itself, or what a recipe's latest run deploys."""
    from edgexai.cli.report import find_run

    if name.endswith((".onnx", ".engine", ".plan")):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return path
    folder = find_run(name, home) / "engine"
    for artefact in ("int8-tensorrt", "fp16", "fp32"):
        if (folder / f"{artefact}.onnx").is_file():
            return folder / f"{artefact}.onnx"
    raise UserError(f"{folder}: no engine there", next_step=f"edgexai recipe run {name}")


def read_classes(path: Path) -> tuple[str, ...]:
    """Lines of a text file; the last line's end does not make another one."""
    try:
        return tuple(path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--classes {path}: cannot be read: {error}") from error


def measure_data(
    request: Request,
    *,
    home: Path,
    shard: tuple[int, int] | None,
    ray_workers: int,
    out: Path | None,
    report: Path | None,
) -> None:
    """Does the work, or one share of it, and writes rows, part or report.

    Args:
        request: what is measured.
        home: ``EDGEXAI_HOME``.
        shard: (k, n): this process does the k-th of n shares; None = all.
        ray_workers: shares on a Ray cluster; 0 = none of that.
        out: rows, or with ``shard`` a part.
        report: run folder to write.
    """
    from edgexai.measure.foreign import measure_share, opened, tests_looked_at
    from edgexai.recipe.evaluations import log_evaluation

    if shard is not None and (ray_workers or report is not None):
        raise UserError("--shards: gives a part, no report, and shares the work itself; leave the others out")
    _writable(out)
    home.mkdir(parents=True, exist_ok=True)
    with opened(request) as ready:
        plan = ready.plan
        for name in tests_looked_at(plan):
            log_evaluation(
                home, recipe=f"measure {plan.engine}", arm=plan.artefact, data_key=f"{plan.data}/{name}", key=plan.key
            )
        if ray_workers:
            from edgexai.study.launch_shards import launch_shards

            launch_shards(request, home=home, workers=ray_workers, progress=_Said())
        k, of = shard or (1, 1)
        store, mine = measure_share(ready, home=home, shard=k, shards=of, progress=_Said())
        if shard is not None:
            if out is not None:
                store.write_part(out, mine)
            left = len(store.missing())
            print(f"share {k} of {of}: {len(mine)} batches measured; {left} of {len(ready.work)} still missing here")
            if out is not None:
                print(f"{out}: a part; put together with: edgexai measure PART... --merge --out ROWS.jsonl")
            elif not left:
                print("all are here: the same command without --shards makes the rows")
            return
        found = store.gather()
    _written(plan, found, out=out, report=report)


def merge_files(parts: Sequence[Path], *, out: Path | None, report: Path | None) -> None:
    """Rows and report of parts that ``--shards`` wrote."""
    from edgexai.measure.twinless_store import merge_parts

    _writable(out)
    plan, found = merge_parts(parts)
    _written(plan, found, out=out, report=report)


def measure_probes(
    path: Path,
    probes: str,
    *,
    words: Mapping[str, str | None],
    numbers: Mapping[str, int | None],
    prepare: Preprocessing,
    home: Path,
    device: str,
    out: Path | None,
) -> None:
    """Replays a probe set and writes its rows."""
    from edgexai.cli.measure_asked import listed
    from edgexai.cli.report import find_run
    from edgexai.engine.foreign import ForeignOnnx
    from edgexai.engine.open import Engine, open_engine
    from edgexai.measure.foreign import is_foreign
    from edgexai.measure.from_probes import replay_probes
    from edgexai.measure.subject import Subject
    from edgexai.probe.probe_set import read_probes
    from edgexai.recipe.deployed import deployed_of

    _writable(out)
    folder = Path(probes)
    if not (folder / "probes.json").is_file():
        folder = deployed_of(find_run(probes, home), home=home).entries["probe"]
    held = read_probes(folder)
    foreign = is_foreign(path)
    run: Engine | ForeignOnnx = ForeignOnnx(path, prepare=prepare) if foreign else open_engine(path, device=device)
    artefact = "onnx" if foreign else run.metadata.get("edgexai.artefact", "fp32")
    who = Subject(run, "foreign" if foreign else "natural", artefact, "engine", run.runtime)

    def some(name: str, default: Sequence[str]) -> tuple[str, ...]:
        text = words.get(name)
        return tuple(default) if text is None else listed(text)

    rows = replay_probes(
        who,
        held,
        attacks=some("attacks", ("noise", "square")),
        eps=some("eps", ()),
        explainers=some("explainers", tuple(dict.fromkeys([*held.maps, "lime"]))),
        square_queries=numbers.get("square_queries") or 1000,
        square_n=numbers.get("square_n") or 300,
        lime_samples=512,
    )
    _print_rows(rows, str(held.settings["split"]))
    print(f"probes of {folder}; {run.runtime}")
    _write_rows(rows, out)


def _written(plan: Plan, found: Found, *, out: Path | None, report: Path | None) -> None:
    from edgexai.measure.twinless_rows import twinless_rows

    rows = twinless_rows(plan, found)
    _print_rows(rows, plan.data)
    print(f"trained on {plan.trained_on}; {plan.runtime}; 95 % intervals")
    _write_rows(rows, out)
    if report is not None:
        from edgexai.recipe.measured_folder import write_measured

        print(write_measured(report, plan, rows, found))


def _print_rows(rows: Sequence[Row], data: str) -> None:
    """Fractions one a line; corruptions and timings in a few."""
    for row in rows:
        if row.value is None or row.low is None or row.high is None or row.metric not in _SHOWN:
            continue
        where = f"{data}/{row.split}"
        told = ", ".join(str(row.detail[k]) for k in ("class", "attack", "eps", "explainer") if k in row.detail)
        if row.metric == "corruption_acc" and row.detail.get("corruption") != "mean" and row.split == "test":
            continue
        if row.metric == "corruption_acc":
            told = f"{row.detail['corruption']} {row.detail['severity']}"
        print(
            f"{row.value:7.2%}  [{row.low:.2%}, {row.high:.2%}]  n {row.n:>6,}  {where}, {_SHOWN[row.metric]}"
            + (f", {told}" if told else "")
        )
    whole = [r.value for r in rows if r.metric == "corruption_acc" and r.split != "test" and r.value is not None]
    if whole:
        print(f"{sum(whole) / len(whole):7.2%}  mean of {len(whole)} corruptions and severities")
    for row in rows:
        if row.metric == "latency_ms" and row.value is not None and row.detail["statistic"] == "median":
            print(f"{row.value:7.2f} ms  median, one image")
    if absent := sum(row.status == "skipped" for row in rows):
        print(f"{absent} numbers not available: they are rows with their reason")


_SHOWN = {
    "clean_acc": "all classes",
    "class_acc": "class",
    "robust_acc": "under attack",
    "corruption_acc": "corrupted",
    "agreement": "decides as its twin",
    "roi_share": "of the map on the sign",
    "road_gap": "ROAD gap",
}


def _write_rows(rows: Sequence[Row], out: Path | None) -> None:
    if out is None:
        return
    try:
        out.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}") from error


def _writable(out: Path | None) -> None:
    """Told before hours of work."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UserError(f"--out {out}: {'is a folder' if out.is_dir() else 'its folder is not there'}")


class _Said:
    """One line on standard error now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, event: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if "says" in event:
            sys.stderr.write(f"measure: {event['says']}\n")
        elif now - self._last >= _SAY_EVERY_S:
            self._last = now
            sys.stderr.write(f"measure: {event['what']} {event['done']}/{event['total']}\n")
