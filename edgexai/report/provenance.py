"""Which stage of a recipe made a row, and the command that makes it again."""

from __future__ import annotations

from edgexai.report.folder import RunFolder
from edgexai.report.words import base_metric
from edgexai.types import Row

_IN_COMPARE = ("road_acc", "road_gap", "road_lerf_gap", "road_aopc", "gate")
_IN_LATENCY = ("latency_ms", "throughput")
_IN_PRUNE = ("macs_removed", "masked_sparsity")
_IN_QAT = ("qat_accuracy", "qat_agreement")
_IN_ENGINE = ("saliency_fidelity", "saliency_top20_overlap", "calibration_agreement", "calibration_fidelity")


def made_by(row: Row) -> str:
    """The node of the plan that made a row, e.g. "measure[pruned]" or "compare"."""
    if base_metric(row.metric) != row.metric or row.metric in _IN_COMPARE:
        return "compare"
    if row.metric in _IN_PRUNE:
        return "prune"
    if "step" in row.detail:
        return "ledger"
    if row.metric in _IN_QAT:
        return "qat"
    stage = "measure"
    if row.metric in _IN_LATENCY:
        stage = "latency"
    elif row.metric in _IN_ENGINE or "logit_drift_max" in row.detail:  # parity with the twin, on validation images
        stage = "engine"
    return f"{stage}[{row.arm}]"


def run_command(run: RunFolder) -> str:
    """What to type to have the whole run again; a file measured without a recipe is named with its data."""
    measured = run.lock.get("measured")
    if isinstance(measured, dict):
        return f"edgexai measure {measured.get('engine', 'ENGINE')} --data {measured.get('data', 'CARD')}"
    return f"edgexai recipe run {run.name}"


def command(run: RunFolder, node: str) -> str:
    """What to type to compute a node again and see its rows: its stage is made anew, all else comes from the store."""
    return f"edgexai recipe run {run.name} --from {node.partition('[')[0]}"
