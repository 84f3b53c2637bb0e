"""Metrics of rows, by name, so that a gate on a misspelt one is a fault before anything is trained.

``tests/config/test_gate_table.py`` holds this list against the rows that the stages write and the report's words.
"""

from __future__ import annotations

METRIC_NAMES: tuple[str, ...] = (
    # decisions
    "calibration_error",
    "selective_acc",
    "aurc",
    "aurc_excess",
    "clean_acc",
    "class_acc",
    "robust_acc",
    "corruption_acc",
    "agreement",
    "logit_drift",
    "step_acc",
    # maps of one network
    "saliency_entropy",
    "pointing_game_exact",
    "energy_inside",
    "wsl",
    "wsl_best_threshold",
    "deletion_aopc",
    "sufficiency",
    "comprehensiveness",
    "infidelity",
    "sensitivity_n",
    "max_sensitivity",
    "relative_output_stability",
    "noise_ssim",
    "mprt_rank_correlation",
    "mprt_ssim",
    "mask_leak",
    "saliency_gini",
    "saliency_top10_mass",
    "roi_share",
    "roi_area",
    "pointing_game",
    "road_acc",
    "road_gap",
    "road_lerf_gap",
    "road_aopc",
    "deletion_auc",
    "insertion_auc",
    "deletion_auc_normalised",
    "insertion_auc_normalised",
    "relative_input_stability",
    "lime_r2",
    # maps of two
    "map_rank_correlation",
    "map_drift",
    "top_drift",
    "centre_shift",
    # the files
    "saliency_fidelity",
    "saliency_top20_overlap",
    "calibration_agreement",
    "calibration_fidelity",
    "latency_ms",
    "throughput",
    "size_bytes",
    "macs",
    "macs_removed",
    "parameters",
    "masked_sparsity",
)
"""``<metric>_difference`` is one too: the paired difference of two networks."""
