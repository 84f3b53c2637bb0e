"""``agent.pyz classify IMAGE...``: the engine's decision on image files."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from edgexai.board.agent.picture import read_picture
from edgexai.board.agent.runtime import open_engine
from edgexai.board.unpack import check_unpacked
from edgexai.measure.accuracy import logits_of
from edgexai.measure.deletion import probability

_SHOWN = 3


def classify(asked: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Fills ``answer["decisions"]``: file, class, its number, and the three likeliest with their softmax shares."""
    manifest = check_unpacked(asked.bundle)
    pictures = np.stack([read_picture(path, size=int(manifest["measure"]["size"])) for path in asked.images])
    engine = open_engine(asked.bundle, asked.state, manifest, runtime=asked.runtime, threads=asked.threads)
    answer["runtime"] = engine.runtime
    logits = logits_of(engine, pictures)
    names = manifest["classes"] or [str(k) for k in range(logits.shape[1])]
    decisions = []
    for row, path in zip(logits, asked.images, strict=True):
        order = np.argsort(-row, kind="stable")[:_SHOWN]
        shares = [float(probability(row[None], np.array([k]))[0]) for k in order]
        likeliest = [{"class": names[k], "probability": share} for k, share in zip(order, shares, strict=True)]
        decisions.append({"file": str(path), "class": names[order[0]], "index": int(order[0]), "likeliest": likeliest})
        sys.stderr.write(f"{path}: " + ", ".join(f"{d['class']} {d['probability']:.1%}" for d in likeliest) + "\n")
    answer["decisions"] = decisions
