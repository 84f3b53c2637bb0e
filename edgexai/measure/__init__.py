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
    "saliency_entropy": Entry("edgexai.measure.sparsity:entropy"),
    "deletion_aopc": Entry("edgexai.measure.deletion:aopc"),
    "sufficiency": Entry("edgexai.measure.sufficiency:sufficiency"),
    "infidelity": Entry("edgexai.measure.infidelity:infidelity"),
    "sensitivity_n": Entry("edgexai.measure.sensitivity_n:sensitivity_n"),
    "mask_leak": Entry("edgexai.measure.mask_leak:mask_leak"),
    "energy_inside": Entry("edgexai.measure.localisation:energy_inside"),
    "wsl": Entry("edgexai.measure.wsl:wsl"),
    "roi_share": Entry("edgexai.measure.localisation:roi_share"),
    "pointing_game": Entry("edgexai.measure.localisation:pointing_game"),
    "max_sensitivity": Entry("edgexai.measure.max_sensitivity:max_sensitivity"),
    "relative_output_stability": Entry("edgexai.measure.output_stability:relative_output_stability"),
    "map_ssim": Entry("edgexai.measure.ssim:ssim"),
    "mprt": Entry("edgexai.measure.cascade:cascade_similarity"),
    "calibration_error": Entry("edgexai.measure.calibration:calibration"),
    "aurc": Entry("edgexai.measure.selective:selective"),
    "unknown": Entry("edgexai.measure.unknown:unknown"),
    "relative_input_stability": Entry("edgexai.measure.stability:relative_input_stability"),
    "corruption_acc": Entry("edgexai.measure.corruption:replay_corruptions"),
    "agreement": Entry("edgexai.measure.drift:decision_agreement"),
    "logit_drift": Entry("edgexai.measure.drift:logit_drift"),
    "map_rank_correlation": Entry("edgexai.measure.drift:map_rank_correlation"),
    "topk_overlap": Entry("edgexai.measure.drift:topk_overlap"),
    "centre_shift": Entry("edgexai.measure.drift:centre_shift"),
    "drift_ledger": Entry("edgexai.measure.ledger:ledger_rows"),
    "latency_ms": Entry("edgexai.measure.latency:latency_ms"),
    "throughput": Entry("edgexai.measure.latency:throughput"),
}
