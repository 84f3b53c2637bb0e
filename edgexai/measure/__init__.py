"""Measurements: every number the reports show leaves from here as a ``Row``. NumPy only, no torch, no SciPy.

``METRICS`` lists the functions behind the numbers; a version is raised when a metric's values change.
"""

from __future__ import annotations

from edgexai.registry import Entry

METRICS: dict[str, Entry] = {
    "accuracy": Entry("edgexai.measure.accuracy:is_correct"),
    "saliency_gini": Entry("edgexai.measure.sparsity:gini"),
    "top_mass": Entry("edgexai.measure.sparsity:top_mass"),
    "road": Entry("edgexai.measure.faithfulness:road"),
    "deletion_insertion": Entry("edgexai.measure.deletion:deletion_insertion"),
    "roi_share": Entry("edgexai.measure.localisation:roi_share"),
    "pointing_game": Entry("edgexai.measure.localisation:pointing_game"),
    "relative_input_stability": Entry("edgexai.measure.stability:relative_input_stability"),
    "corruption_acc": Entry("edgexai.measure.corruption:replay_corruptions"),
    "agreement": Entry("edgexai.measure.drift:decision_agreement"),
    "logit_drift": Entry("edgexai.measure.drift:logit_drift"),
    "map_rank_correlation": Entry("edgexai.measure.drift:map_rank_correlation"),
    "topk_overlap": Entry("edgexai.measure.drift:topk_overlap"),
    "latency_ms": Entry("edgexai.measure.latency:latency_ms"),
    "throughput": Entry("edgexai.measure.latency:throughput"),
}
