"""``agent.pyz measure``: the workstation's measurements, on the board, from the probes in the bundle.

The functions are the workstation's own (``edgexai.measure``); same probes, seeds and settings, so a row here and the
workstation's row of the same metric are of the same images. Clean accuracy alone is of the probes, not of a whole test
split, and ROAD is formed on the images that this engine gets right: both rows say so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgexai.board.agent.power_rows import power_rows
from edgexai.board.agent.runtime import Engine, OnDevice, open_engine
from edgexai.board.agent.store_file import store_file
from edgexai.board.agent.verify import golden_answers
from edgexai.board.golden import departure, read_golden
from edgexai.board.unpack import check_unpacked
from edgexai.measure.compare import Measured, road_rows
from edgexai.measure.drift import decision_agreement, map_rank_correlation
from edgexai.measure.flags import check
from edgexai.measure.latency import Timing, compare_latency, throughput
from edgexai.measure.replay import Replay, replay_attacks, replay_clean, replay_explanations
from edgexai.measure.rows import accuracy_row, mean_row
from edgexai.measure.subject import Subject
from edgexai.probe.probe_set import ProbeSet, read_probes
from edgexai.types import Row, Split

ROWS = "rows.jsonl"
_BATCHES = (1, 8, 32)


def measure(asked: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Writes STATE/rows.jsonl, whole or not at all."""
    manifest = check_unpacked(asked.bundle)
    settings = manifest["measure"]
    engine = open_engine(asked.bundle, asked.state, manifest, runtime=asked.runtime, threads=asked.threads)
    answer["runtime"] = engine.runtime
    who = Subject(engine, manifest["arm"], manifest["artefact"], "engine", engine.runtime)
    probes = _first(read_probes(asked.bundle / "probes"), asked.limit)
    out = Replay()
    steps: dict[str, Callable[[], object]] = {
        "accuracy": lambda: replay_clean(who, {_split(probes): _as_split(probes)}, {}, out=out),
        "drift": lambda: out.rows.extend(_drift(who, engine, asked.bundle, saliency=settings["saliency"])),
        "attacks": lambda: _attacks(who, probes, settings, out),
        "explanations": lambda: _explanations(who, engine, probes, settings, out),
        "latency": lambda: out.rows.extend(_latency(who, engine, probes)),
        "power": lambda: out.rows.extend(power_rows(who, probes.images[:1])),
    }
    for what, step in steps.items():
        sys.stderr.write(f"measure: {what}\n")
        step()
    rows = [_on_probes(row) for row in out.rows]
    rows += road_rows(
        [Measured(who.arm, who.artefact, who.runtime, out.verdicts, _split(probes))], seed=_seed(settings)
    )
    rows = check(rows)
    store_file(asked.state / ROWS, "".join(row.to_json() + "\n" for row in rows).encode())
    measured = sum(row.status == "measured" for row in rows)
    absent = [f"{row.metric}: {row.reason}" for row in rows if row.status == "not measured here"]
    answer |= {"rows": len(rows), "measured": measured, "not_measured_here": absent, "file": str(asked.state / ROWS)}
    sys.stderr.write(f"{asked.state / ROWS}: {measured} of {len(rows)} rows measured ({engine.runtime})\n")


def _attacks(who: Subject, probes: ProbeSet, settings: Mapping[str, Any], out: Replay) -> None:
    replay_attacks(
        who,
        probes,
        eps=settings["eps"],
        attacks=settings["attacks"],
        square_queries=settings["square_queries"],
        square_n=settings["square_n"],
        square_eps=settings.get("strong_eps"),
        seed=_seed(settings),
        out=out,
    )


def _explanations(who: Subject, engine: Engine, probes: ProbeSet, settings: Mapping[str, Any], out: Replay) -> None:
    own = {}
    if "cam" in settings["explainers"] and settings["saliency"] == "cam" and "saliency" in engine.outputs:
        own = {"cam": engine.with_saliency(probes.images[: len(probes.targets)])[1]}
    red, green, blue = settings["fill"]
    replay_explanations(
        who,
        probes,
        own,
        explainers=settings["explainers"],
        lime_samples=settings["lime_samples"],
        fill=(red, green, blue),
        seed=_seed(settings),
        out=out,
    )


def _drift(who: Subject, engine: Engine, bundle: Path, *, saliency: str) -> list[Row]:
    """How far this engine is from the workstation's, on the golden images."""
    golden = read_golden(bundle)
    logits, maps = golden_answers(engine, golden)
    words: dict[str, Any] = {
        "arm": who.arm, "artefact": who.artefact, "subject": "engine", "runtime": who.runtime,
        "detail": {"against": "golden vectors"},
    }  # fmt: skip
    same = decision_agreement(golden.logits, logits)
    far = np.abs(golden.logits - logits).mean(1).astype(np.float64)
    rows = [
        accuracy_row(same, **words, metric="agreement"),
        mean_row(far, **words, metric="logit_drift", unit="logit", seed=0),
    ]
    if maps is not None and golden.maps is not None:
        rank = map_rank_correlation(maps, golden.maps)
        detail = {"explainer": "vg" if saliency == "gradient" else "cam", "against": "golden vectors"}
        rows.append(mean_row(rank, **{**words, "detail": detail}, metric="map_rank_correlation", seed=0))
    for name, value in departure(golden.logits, logits).items():
        if name != "disagreements":  # they are the agreement's row
            detail_of: dict[str, str | int | float] = {"against": "golden vectors", "limit": golden.limits[name]}
            shared: dict[str, Any] = {**words, "detail": detail_of, "metric": f"golden_{name}", "unit": "unitless"}
            rows.append(Row(**shared, value=value, n=len(logits)))
    return rows


def _latency(who: Subject, engine: Engine, probes: ProbeSet) -> list[Row]:
    """Time of one image, host copies included, and best throughput; as the workstation's, but alone on the board."""
    images = probes.images[np.arange(256) % len(probes.images)]
    timing = compare_latency({"": who.predict}, images, batch=1, warmup=50, repeats=400)[""]
    words: dict[str, Any] = {
        "arm": who.arm, "artefact": who.artefact, "subject": "engine", "runtime": who.runtime, "split": "none",
    }  # fmt: skip
    low, high = timing.median_interval_ms
    shared: dict[str, Any] = {**words, "metric": "latency_ms", "unit": "ms", "n": timing.n}
    median: dict[str, str | int | float] = {"batch": 1, "statistic": "median"}
    rows = [Row(**shared, value=timing.median_ms, low=low, high=high, interval="order-statistics", detail=median)]
    for statistic, value in (("p95", timing.p95_ms), ("p99", float(np.quantile(timing.times_ms, 0.99)))):
        rows.append(Row(**shared, value=value, detail={"batch": 1, "statistic": statistic}))
    if isinstance(engine, OnDevice):
        device = Timing(np.asarray(engine.times(images[:1], warmup=50, repeats=400).device_ms), 1)
        low, high = device.median_interval_ms
        rows.append(
            Row(
                **{**shared, "metric": "latency_device_ms", "n": device.n},
                value=device.median_ms,
                low=low,
                high=high,
                interval="order-statistics",
                detail=median,
            )
        )
    tried = throughput(who.predict, images, batches=_BATCHES).values()
    fastest = max(tried, key=lambda found: found.images_per_second)
    words |= {"metric": "throughput", "unit": "images/s", "n": fastest.n}
    return [*rows, Row(**words, value=fastest.images_per_second, detail={"batch": fastest.batch})]


def _on_probes(row: Row) -> Row:
    return replace(row, detail={**row.detail, "images": "probes"}) if row.metric == "clean_acc" else row


def _as_split(probes: ProbeSet) -> Split:
    images = np.round(probes.images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    unknown = np.full((len(images), 4), np.nan, np.float32)
    none = np.full(len(images), -1, np.int64)
    return Split(_split(probes), np.ascontiguousarray(images), probes.labels, unknown, none)


def _first(probes: ProbeSet, limit: int) -> ProbeSet:
    """The first ``limit`` images with what belongs to them; a leading part is itself a fair sample."""
    if limit < 1 or limit >= len(probes.labels):
        return probes
    return replace(
        probes,
        index=probes.index[:limit],
        images=probes.images[:limit],
        labels=probes.labels[:limit],
        relevance=None if probes.relevance is None else probes.relevance[:limit],
        logits=probes.logits[:limit],
        attacked={name: images[:limit] for name, images in probes.attacked.items()},
        maps={name: maps[:limit] for name, maps in probes.maps.items()},
        targets=probes.targets[:limit],
        noisy=None,
    )


def _split(probes: ProbeSet) -> str:
    return str(probes.settings["split"])


def _seed(settings: Mapping[str, Any]) -> int:
    return int(settings["seed"])
