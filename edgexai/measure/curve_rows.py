"""Rows of the deletion and insertion curves of one engine: what a chart draws, with a band.

Convention: "share" is the share of pixels deleted, or inserted; the value is the mean probability of the decided class.
A curve follows confidence as its area does: within one network only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.measure.rows import Detail, mean_row
from edgexai.measure.subject import Subject
from edgexai.types import Row

KINDS = ("deletion_curve", "insertion_curve")


def curve_rows(who: Subject, verdicts: Mapping[str, NDArray[Any]], *, split: str, seed: int) -> list[Row]:
    """One row a point.

    Args:
        who: the engine.
        verdicts: with "deletion_curve/<explainer>" and "insertion_curve/<explainer>", (N,L): equal steps from 0 to 1.
        split: of the images.
        seed: of the bootstrap.
    """
    rows = []
    for name, curves in verdicts.items():
        kind, _, explainer = name.partition("/")
        if kind not in KINDS:
            continue
        for k, share in enumerate(np.linspace(0, 1, curves.shape[1])):
            detail: Detail = {"explainer": explainer, "share": float(share)}
            rows.append(
                mean_row(
                    curves[:, k].astype(np.float64),
                    arm=who.arm,
                    artefact=who.artefact,
                    subject=who.subject,
                    metric=kind,
                    unit="fraction",
                    split=split,
                    seed=seed,
                    detail=detail,
                    control="follows confidence: read within one network only",
                    runtime=who.runtime,
                )
            )
    return rows
