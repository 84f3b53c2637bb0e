"""Stages that end in rows: engine, probe, measure, latency, compare."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgexai.data import pack
from edgexai.data.corrupted import corrupted_splits
from edgexai.data.dataset import Dataset
from edgexai.engine import RUNTIMES
from edgexai.engine.twin import Twin
from edgexai.errors import GateFailed
from edgexai.measure.accuracy import logits_of
from edgexai.measure.compare import Measured, difference_rows, road_rows
from edgexai.measure.corruption import replay_corruptions
from edgexai.measure.curve_rows import curve_rows
from edgexai.measure.drift import decision_agreement, logit_drift
from edgexai.measure.flags import check
from edgexai.measure.further import replay_metrics
from edgexai.measure.gates import decide
from edgexai.measure.latency import compare_latency, throughput
from edgexai.measure.per_class import class_rows
from edgexai.measure.replay import Replay, replay_attacks, replay_clean, replay_explanations
from edgexai.measure.rows import Detail, accuracy_row
from edgexai.measure.stability import replay_stability
from edgexai.measure.subject import Subject
from edgexai.models import store
from edgexai.probe.make import make_probes, probe_index
from edgexai.probe.probe_set import ProbeSet, read_probes, write_probes
from edgexai.recipe.job import Job
from edgexai.recipe.pictures import write_pictures
from edgexai.recipe.stages_export import calibration_rows, fidelity_rows, saliency_of
from edgexai.recipe.stages_unknown import unknown_evidence
from edgexai.types import Row, Split

_NOT_TEST = ("train", "val")
_BATCHES = (1, 8, 32, 128)
_ORDER = ("fp32", "fp16", "int8-tensorrt", "int8-x86")


def engine(job: Job) -> None:
    """Starts every exported file in its runtime and holds it against its twin on validation images: the parity gate."""
    found, twin = _data(job), Twin(store.load(job.inputs["network"]), device=job.device)
    val = found.splits["val"]
    reference = twin(val.as_float())
    rows: list[Row] = []
    for artefact, run in _engines(job).items():
        logits = logits_of(run, val.as_float())
        same = decision_agreement(reference, logits)
        drift = logit_drift(reference, logits)
        detail: dict[str, str | int | float] = {"logit_drift_max": drift.max, "logit_drift_mean": drift.mean}
        row = accuracy_row(
            same,
            arm=job.arm,
            artefact=artefact,
            subject="engine",
            metric="agreement",
            split="val",
            detail=detail,
            runtime=run.runtime,
        )
        rows.append(row)
        if "min_fidelity" in job.table:
            rows += fidelity_rows(job, twin, artefact, run, val)
        if float(same.mean()) < job.table["min_agreement"]:
            raise GateFailed(
                f"{job.name}: {artefact} decides as its twin on {same.mean():.2%} of {len(same)} validation images, "
                f"export.min_agreement asks for {job.table['min_agreement']:.2%}",
                next_step='raise export.calibration_images, or set export.precision = "fp32"',
            )
    rows += calibration_rows(job)
    _write_rows(job.out, rows)


def probe(job: Job) -> None:
    """Attacks and explains the twin on a fixed draw of the measured split."""
    found, table = _data(job), job.table
    twin = Twin(store.load(job.inputs["network"]), device=job.device)
    split = next(iter(_measured_splits(found, table).values()))
    probes = make_probes(
        twin.net,
        twin,
        split,
        device=job.device,
        n=table["n"],
        explain_n=table["explain_n"],
        attacks=table["attacks"],
        eps=table["eps"],
        pgd_steps=table["pgd_steps"],
        apgd_steps=table.get("apgd_steps", 0),
        apgd_n=table.get("apgd_n", 0),
        apgd_eps=[table["strong_eps"]] if "strong_eps" in table else table["eps"],
        explainers=table["explainers"],
        lime_samples=table["lime_samples"],
        fill=found.mean,
        seed=job.seed,
        progress=job.progress,
        stability_n=table.get("stability_n", 0),
        cascade_n=table.get("cascade_n", 0),
        learn=found.splits["train"] if "patch_n" in table else None,
        patch_n=table.get("patch_n", 0),
        patch_area=table.get("patch_area", 0.0),
        patch_steps=table.get("patch_steps", 0),
    )
    write_probes(probes, job.out)


def measure(job: Job) -> None:
    """Replays the probes on every engine of the arm; the x86 flavour gets accuracy and attacks only."""
    found, table, seed = _data(job), job.table, job.seed
    probes = read_probes(job.inputs["probe"])
    measured = _measured_splits(found, table)
    splits = {name: _first(split, table["clean_n"], seed) for name, split in measured.items()}
    net = store.load(job.inputs["network"])
    twin = Twin(net, device=job.device)
    twin_logits = {name: logits_of(twin, split.as_float()) for name, split in splits.items()}
    twin_replay = Replay()
    as_twin = Subject(twin, job.arm, "twin", "twin", twin.runtime)
    replay_clean(as_twin, splits, {}, out=twin_replay)
    replay_attacks(as_twin, probes, eps=(), attacks=(), square_queries=1, square_n=0, seed=seed, out=twin_replay)
    replay_stability(as_twin, probes, seed=seed, out=twin_replay)
    replay_metrics(as_twin, probes, table, fill=found.mean, seed=seed, out=twin_replay)
    rows = list(twin_replay.rows)
    verdicts: dict[str, Any] = {
        f"twin|{name}": values for name, values in twin_replay.verdicts.items() if name.startswith("ris/")
    }
    engines = _engines(job)
    found_of: dict[str, tuple[Subject, Replay]] = {}
    deployed = next(name for name in ("int8-tensorrt", "fp16", "fp32") if name in engines)
    engine_maps: dict[str, Any] = {}
    for done, (artefact, run) in enumerate(engines.items()):
        who, replay = Subject(run, job.arm, artefact, "engine", run.runtime), Replay()
        found_of[artefact] = who, replay
        whole = artefact != "int8-x86"
        attacks = table["attacks"] if whole else [a for a in table["attacks"] if a != "square"]
        replay_clean(who, splits, twin_logits, out=replay)
        replay_attacks(
            who,
            probes,
            eps=table["eps"],
            attacks=attacks,
            square_queries=table["square_queries"],
            square_n=table["square_n"],
            square_eps=table.get("strong_eps"),
            seed=seed,
            out=replay,
        )
        if whole:
            replay_explanations(
                who,
                probes,
                _own_maps(run, probes, table["explainers"]),
                explainers=table["explainers"],
                lime_samples=table["lime_samples"],
                fill=found.mean,
                seed=seed,
                out=replay,
            )
            replay_metrics(who, probes, table, fill=found.mean, seed=seed, out=replay)
        if artefact == deployed:
            engine_maps = replay.maps
            for name, split in splits.items():
                decided = replay.verdicts[f"decided/{name}"].astype(np.int64)
                replay.rows += class_rows(who, decided, split.labels, split=name)
            replay.rows += curve_rows(who, replay.verdicts, split=str(probes.settings["split"]), seed=seed)
            first = next(iter(splits))
            replay.rows += unknown_evidence(job, who, found, replay.verdicts[f"confidence/{first}"], split=first)
        job.progress({"what": artefact, "done": done + 1, "total": len(engines)})
    if table.get("corruptions"):
        whole_engines = [pair for artefact, pair in found_of.items() if artefact != "int8-x86"]
        _corruptions(job, next(iter(measured.values())), whole_engines)
    for artefact, (_, replay) in found_of.items():
        rows += replay.rows
        rows.append(_count(job, artefact, "size_bytes", engines[artefact].path.stat().st_size, "bytes"))
        verdicts |= {f"{artefact}|{name}": values for name, values in replay.verdicts.items()}
    summary = json.loads((job.inputs["network"] / "summary.json").read_text())
    rows += [_count(job, "twin", name, summary[name], "count") for name in ("macs", "parameters")]
    _write_rows(job.out, rows)
    np.savez_compressed(job.out / "verdicts.npz", **verdicts)
    drawn_from = next(iter(measured.values()))
    write_pictures(drawn_from, probes, engines[deployed], engine_maps, job.out / "pictures" / f"{job.arm}.npz")


def latency(job: Job) -> None:
    """Time of one image and best throughput, every file of the arm interleaved in one run."""
    found, engines = _data(job), _engines(job)
    split = next(iter(_measured_splits(found, job.table).values()))
    images = split.take(np.arange(256) % len(split)).as_float()
    rows: list[Row] = []
    threads = job.table["threads"]
    on = {0: ", one thread per core", 1: ", 1 thread"}.get(threads, f", {threads} threads")
    if job.table["runtime"] != "onnxruntime":
        on = ""  # the GPU's are not ours to count
    for artefact, timing in compare_latency(engines, images, batch=1, warmup=50, repeats=400).items():
        low, high = timing.median_interval_ms
        words: dict[str, Any] = {
            "arm": job.arm, "artefact": artefact, "subject": "engine", "metric": "latency_ms", "unit": "ms",
            "n": timing.n, "split": "none", "runtime": engines[artefact].runtime + on,
        }  # fmt: skip
        median: Detail = {"batch": 1, "statistic": "median"}
        rows.append(
            Row(**words, value=timing.median_ms, low=low, high=high, interval="order-statistics", detail=median)
        )
        rows.append(Row(**words, value=timing.p95_ms, detail={"batch": 1, "statistic": "p95"}))
        fastest = max(
            throughput(engines[artefact], images, batches=_BATCHES).values(), key=lambda t: t.images_per_second
        )
        words |= {"metric": "throughput", "unit": "images/s", "n": fastest.n}
        rows.append(Row(**words, value=fastest.images_per_second, detail={"batch": fastest.batch}))
    _write_rows(job.out, rows)


def compare(job: Job) -> None:
    """All rows, ROAD on common images, paired differences between arms, flags, and the gates' verdicts."""
    rows, measured = [], []
    for name, folder in job.inputs.items():
        if name in ("data", "pruned"):
            continue
        own = [Row.from_json(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        rows += own
        if (folder / "verdicts.npz").is_file():
            measured += _measured(folder, own)
    if "pruned" in job.inputs:
        rows += _removed(json.loads((job.inputs["pruned"] / "summary.json").read_text()))
    rows += road_rows(measured, seed=job.seed)
    by_name = {(m.arm, m.artefact): m for m in measured}
    final = job.table["final_arm"]
    pairs = [
        (("refined", "fp32"), ("natural", "fp32"), "natural"),
        (("refined", "fp32"), ("control", "fp32"), "control"),
        (("control", "fp32"), ("natural", "fp32"), "natural"),
        (("pruned", "fp32"), ("refined" if ("refined", "fp32") in by_name else "natural", "fp32"), "before pruning"),
        ((final, "int8-tensorrt"), (final, "fp32"), "fp32"),
        ((final, "fp16"), (final, "fp32"), "fp32"),
    ]
    if final != "natural":
        pairs += [((final, name), ("natural", "fp32"), "natural fp32") for name in ("int8-tensorrt", "fp16")]
    for one, other, against in pairs:
        if one in by_name and other in by_name:
            rows += difference_rows(by_name[one], by_name[other], against=against, seed=job.seed)
    rows = check(rows)
    gates, verdicts = decide(rows, dict(job.table), final_arm=final, validation=job.table.get("split") == "val")
    _write_rows(job.out, [*rows, *verdicts])
    (job.out / "gates.json").write_text(json.dumps(gates, indent=1) + "\n")


def _engines(job: Job) -> dict[str, Any]:
    """artefact -> a started engine, in the order fp32, int8-tensorrt, int8-x86."""
    table = job.table.get("engine", job.table)
    start: Callable[..., Any] = RUNTIMES[table["runtime"]].load()
    # Its zero points are not zero, and the parser of TensorRT refuses it: the file of a workstation's processor.
    names = [name for name in _ORDER if table["runtime"] != "tensorrt" or name != "int8-x86"]
    files = [(name, job.inputs["export"] / f"{name}.onnx") for name in names]
    return {name: start(path, device=job.device, threads=table["threads"]) for name, path in files if path.is_file()}


def _data(job: Job) -> Dataset:
    return pack.read(job.inputs["data"])


def _corruptions(job: Job, clean: Split, engines: list[tuple[Subject, Replay]]) -> None:
    """Stratified images of ``clean``, each corrupted as it would be in the whole split."""
    table, seed = job.table, job.seed
    index = probe_index(clean.labels, table["corruption_n"], seed=seed)
    names, severities = table["corruptions"], table["corruption_severities"]
    made = corrupted_splits(clean.take(index), seed=seed, names=names, severities=severities, index=index)

    def told() -> Iterator[tuple[str, int, Split]]:
        for done, triple in enumerate(made):
            yield triple
            job.progress({"what": "corruption", "done": done + 1, "total": len(names) * len(severities)})

    replay_corruptions(engines, told(), split=clean.name, seed=seed)


def _measured_splits(found: Dataset, table: Mapping[str, Any]) -> dict[str, Split]:
    """The validation split where the recipe asks for it, else the test splits.

    The one that probes are drawn from comes first: plain "test", or the one without a planted cue.
    """
    if table.get("split") == "val":
        return {"val": found.splits["val"]}
    names = [name for name in found.splits if name not in _NOT_TEST]
    names.sort(key=lambda name: ("test", "absent", "conflicting", "aligned").index(name))
    return {name: found.splits[name] for name in names}


def _first(split: Split, n: int | None, seed: int) -> Split:
    if n is None or n >= len(split):
        return split
    return split.take(np.sort(np.random.default_rng([seed, 31]).permutation(len(split))[:n]))


def _own_maps(run: Any, probes: ProbeSet, explainers: list[str]) -> Mapping[str, Any]:
    """The saliency output of the engine's own graph, where it has one and is asked for."""
    if "cam" not in explainers or "saliency" not in run.outputs or saliency_of(run) != "cam":
        return {}
    return {"cam": run.with_saliency(probes.images[: len(probes.targets)])[1]}


def _count(job: Job, artefact: str, metric: str, value: int, unit: str) -> Row:
    subject: Any = "twin" if artefact == "twin" else "engine"
    return Row(job.arm, artefact, subject, metric, float(value), unit, n=1, interval="exact", split="none")


def _removed(summary: Mapping[str, Any]) -> list[Row]:
    """What pruning took away: weights held at zero cost as much as others do, so the two are never one number."""
    found = (("masked_sparsity", "fraction"), ("macs_removed", "count"))
    return [
        Row("pruned", "twin", "twin", metric, float(summary[metric]), unit, n=1, interval="exact", split="none")
        for metric, unit in found
        if metric in summary  # an entry stored before the two were told apart says neither
    ]


def _write_rows(folder: Path, rows: list[Row]) -> None:
    (folder / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))


def _measured(folder: Path, rows: list[Row]) -> list[Measured]:
    arm = rows[0].arm
    runtimes = {row.artefact: row.runtime for row in rows if row.metric == "clean_acc"}
    split = next((row.split for row in rows if row.metric in ("robust_acc", "deletion_auc")), "test")
    with np.load(folder / "verdicts.npz", allow_pickle=False) as data:
        verdicts: dict[str, dict[str, Any]] = {}
        for key in data.files:
            artefact, _, name = key.partition("|")
            verdicts.setdefault(artefact, {})[name] = data[key]
    return [Measured(arm, artefact, runtimes.get(artefact, ""), v, split) for artefact, v in verdicts.items()]
