"""``agent.pyz verify``: every file against the manifest, the engine against the golden vectors. The health check."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from edgexai.board.agent.runtime import Engine, open_engine
from edgexai.board.agent.store_file import store_file
from edgexai.board.golden import Golden, judge, read_golden
from edgexai.board.unpack import check_unpacked
from edgexai.errors import GateFailed
from edgexai.measure.accuracy import logits_of
from edgexai.types import Logits, Maps

NOTE = "verify.json"


def verify(asked: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Raises ``GateFailed`` where the engine is not the network that was evaluated; notes the verdict in STATE."""
    manifest = check_unpacked(asked.bundle)
    engine = open_engine(asked.bundle, asked.state, manifest, runtime=asked.runtime, threads=asked.threads)
    answer["runtime"] = engine.runtime
    golden = read_golden(asked.bundle)
    logits, maps = golden_answers(engine, golden)
    verdict = judge(golden, logits, maps)
    right = int((logits.argmax(1) == golden.labels).sum())
    answer |= {"statistics": dict(verdict.statistics), "limits": dict(verdict.limits), "n": len(golden.labels)}
    answer |= {"right": right, "bundle": {"name": manifest["name"], "seal": manifest["seal"]}}
    note = {**answer, "ok": verdict.passed, "problems": list(verdict.problems)}
    store_file(asked.state / NOTE, json.dumps(note, sort_keys=True).encode() + b"\n")
    if not verdict.passed:
        raise GateFailed(
            f"{manifest['name']}: {engine.runtime} does not compute what was evaluated",
            problems=verdict.problems,
            next_step="build the engine again; if it fails again, do not deploy it",
        )
    sys.stderr.write(f"{manifest['name']}: verified on {len(golden.labels)} golden images ({engine.runtime})\n")


def golden_answers(engine: Engine, golden: Golden) -> tuple[Logits, Maps | None]:
    """Logits of the golden images, and maps of as many as have golden ones where the engine makes any."""
    logits = logits_of(engine, golden.images)
    if golden.maps is None or "saliency" not in engine.outputs:
        return logits, None
    return logits, engine.with_saliency(golden.images[: len(golden.maps)])[1]
