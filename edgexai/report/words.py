"""Numbers and names in words: how a row's value, interval and n are printed, and what its difference may be called.

Conventions: fractions are printed in per cent, differences of fractions in percentage points (pp); kB and MB are
powers of ten; a difference is the arm minus what it is held against. A gain of the refinement is only called a gain
when the random-cells control does not show it too.
"""

from __future__ import annotations

from edgexai.report.evidence import Evidence, Numbered, asked
from edgexai.types import Row

_BASE_NAMES = {"natural": "natural", "adversarial": "adversarially trained", "advprop": "AdvProp trained"}
"""What the arm "natural", the one trained from scratch, is called, by the recipe's ``train.method``."""
_ARM_NAMES = {
    "refined": "refined",
    "control": "control (random cells)",
    "pruned": "pruned",
}
ARTEFACT_NAMES = {
    "twin": "PyTorch twin",
    "fp32": "fp32 engine",
    "fp16": "fp16 engine",
    "int8-tensorrt": "int8 engine (TensorRT flavour)",
    "int8-x86": "int8 engine (x86 flavour)",
    "onnx": "ONNX file",
}
EXPLAINER_NAMES = {
    "vg": "Gradient (VG)",
    "ig": "Integrated gradients",
    "smoothgrad": "SmoothGrad",
    "gradcam": "Grad-CAM",
    "cam": "CAM (second output)",
    "lime": "LIME",
    "rise": "RISE",
    "occlusion": "Occlusion",
    "kernelshap": "KernelSHAP",
    "random": "Random map",
    "centre_gaussian": "Centre Gaussian",
}
ATTACK_NAMES = {
    "fgsm": "FGSM",
    "pgd": "PGD",
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "square": "Square",
    "noise": "Noise",
    "patch": "Adversarial patch",
    "patch-random": "Patch in random colours (control)",
    "sticker": "Stickers",
    "sticker-random": "Stickers in random colours (control)",
    "union": "Worst of all",
}
SOURCE_NAMES = {
    "transfer": "transferred from the twin",
    "black_box": "black box, run on it directly",
    "white_box": "white box",
}
METRIC_NAMES = {
    "clean_acc": "Clean accuracy",
    "class_acc": "Class accuracy",
    "robust_acc": "Robust accuracy",
    "corruption_acc": "Corruption accuracy",
    "saliency_gini": "Saliency Gini",
    "saliency_top10_mass": "Mass in top 10 %",
    "roi_share": "ROI share",
    "roi_area": "ROI area",
    "pointing_game": "Pointing game",
    "road_gap": "ROAD gap",
    "road_lerf_gap": "LeRF gap",
    "road_aopc": "ROAD AOPC",
    "relative_input_stability": "Relative input stability, log10",
    "road_acc": "ROAD accuracy",
    "map_rank_correlation": "Rank correlation with the twin",
    "lime_r2": "LIME fit R²",
    "agreement": "Decision agreement",
    "saliency_fidelity": "Saliency output against the twin's map, rank correlation",
    "saliency_top20_overlap": "Saliency output against the twin's map, top 20 %",
    "calibration_agreement": "Decision agreement of a calibration",
    "calibration_fidelity": "Rank correlation of a calibration's maps",
    "qat_accuracy": "Accuracy around quantisation-aware training",
    "qat_agreement": "Decision agreement around quantisation-aware training",
    "logit_drift": "Logit drift",
    "step_acc": "Accuracy on the ledger's images",
    "map_drift": "Map drift (1 - rank correlation)",
    "top_drift": "Map drift (top 10 % that left)",
    "centre_shift": "Shift of the map's centre",
    "latency_ms": "Latency",
    "throughput": "Throughput",
    "macs": "MACs",
    "macs_removed": "MACs removed",
    "masked_sparsity": "Weights masked",
    "parameters": "Parameters",
    "size_bytes": "Size",
    "saliency_entropy": "Saliency entropy / log d",
    "energy_inside": "Positive energy on the sign",
    "pointing_game_exact": "Pointing game, tolerance 0",
    "wsl": "WSL, threshold of other images",
    "wsl_best_threshold": "WSL, best threshold of these images",
    "infidelity": "Infidelity, scaled, of 1",
    "sensitivity_n": "Sensitivity-n",
    "comprehensiveness": "Comprehensiveness",
    "sufficiency": "Sufficiency",
    "deletion_aopc": "Deletion AOPC / p(x)",
    "mask_leak": "Mask leak",
    "max_sensitivity": "Max-sensitivity",
    "relative_output_stability": "Relative output stability, log10",
    "noise_ssim": "SSIM of maps under noise",
    "mprt_rank_correlation": "MPRT, rank correlation left",
    "mprt_ssim": "MPRT, SSIM left",
    "calibration_error": "Expected calibration error",
    "aurc": "Area under risk over coverage",
    "aurc_excess": "AURC over the best order",
    "selective_acc": "Accuracy of the most confident",
    "reject_rate": "Unknown classes rejected",
    "known_accept_rate": "Known classes accepted",
    "unknown_auroc": "AUROC, known against unknown",
    "deletion_auc": "Deletion AUC",
    "insertion_auc": "Insertion AUC",
    "deletion_auc_normalised": "Deletion AUC / p(x)",
    "insertion_auc_normalised": "Insertion AUC / p(x)",
}
BOARD_METRIC_NAMES = {
    "latency_device_ms": "Latency on the device alone",
    "power_w": "Power of the whole module",
    "energy_mj": "Energy for one image",
    "power_mode": "Power mode (nvpmodel)",
    "clock_mhz": "Clock",
    "golden_drift": "Golden vectors: drift",
    "golden_scale": "Golden vectors: scale",
    "golden_shift": "Golden vectors: shift",
    "golden_slope": "Golden vectors: slope",
}
"""What a board's agent alone measures: no recipe's [measure] asks for it."""
HIGHER_IS_BETTER = {
    **dict.fromkeys(("clean_acc", "robust_acc", "roi_share", "pointing_game", "road_gap", "road_lerf_gap"), True),
    **dict.fromkeys(("agreement", "map_rank_correlation", "throughput", "corruption_acc"), True),
    **dict.fromkeys(("latency_ms", "macs", "parameters", "size_bytes", "logit_drift"), False),
    **dict.fromkeys(("energy_inside", "pointing_game_exact", "wsl", "sensitivity_n", "comprehensiveness"), True),
    **dict.fromkeys(("infidelity", "sufficiency", "max_sensitivity", "relative_output_stability"), False),
    **dict.fromkeys(("calibration_error", "aurc", "aurc_excess", "mask_leak"), False),
    **dict.fromkeys(("noise_ssim", "selective_acc"), True),
    **dict.fromkeys(("reject_rate", "known_accept_rate", "unknown_auroc"), True),
    "relative_input_stability": False,
}
"""Base metric -> whether more of it is better; absent where neither direction is better in itself."""


def base_metric(metric: str) -> str:
    """The metric a paired difference is of; any other metric unchanged."""
    return metric.removesuffix("_difference").removesuffix("_minus")


def _is_difference(row: Row) -> bool:
    # A ROAD gap is itself a difference of two accuracies.
    return base_metric(row.metric) != row.metric or row.metric in ("road_gap", "road_lerf_gap", "road_aopc")


def metric_name(metric: str) -> str:
    """A heading for a metric; unknown ones keep their own name."""
    base = base_metric(metric)
    return {**METRIC_NAMES, **BOARD_METRIC_NAMES}.get(base, base) + (" difference" if base != metric else "")


def arm_name(evidence: Evidence, arm: str) -> str:
    """An arm in words; the base arm is called after how it was trained, unknown arms keep their own name."""
    if arm == "natural":
        return _BASE_NAMES.get(evidence.trained, evidence.trained)
    return _ARM_NAMES.get(arm, arm)


def base_network(evidence: Evidence) -> str:
    """The base arm within a sentence: "natural", or "the adversarially trained network"."""
    name = arm_name(evidence, "natural")
    return name if evidence.trained == "natural" else f"the {name} network"


def engine_name(evidence: Evidence, arm: str, artefact: str) -> str:
    """For example "pruned · int8 engine (TensorRT flavour)"."""
    return f"{arm_name(evidence, arm)} · {ARTEFACT_NAMES.get(artefact, artefact)}"


def against_name(evidence: Evidence, against: str) -> str:
    """What a difference is held against, in words: an arm, or an arm and its artefact ("natural fp32")."""
    arm, space, artefact = against.partition(" ")
    return arm_name(evidence, arm) + space + artefact if arm in (*_ARM_NAMES, "natural") else against


def _significant(value: float, digits: int = 3) -> str:
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    if "e" in text:
        return f"{value:,.0f}" if abs(value) >= 1 else text
    number = float(text)
    if abs(number) >= 10 ** (digits - 1):
        return f"{number:,.0f}"
    whole = len(str(int(abs(number)))) if abs(number) >= 1 else 0
    return f"{value:.{digits - whole}f}" if whole else text


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    for size, unit in steps:
        if abs(value) >= size:
            return f"{_significant(value / size)} {unit}"
    return _significant(value)


def number(value: float, unit: str, *, difference: bool = False) -> str:
    """One number in its unit, e.g. ``number(0.974, "fraction")`` -> "97.4 %"."""
    if unit == "fraction":
        text = f"{100 * value:.1f} {'pp' if difference else '%'}"
    elif unit == "bytes":
        text = _scaled(value, ((1e6, "MB"), (1e3, "kB"))) if abs(value) >= 1e3 else f"{value:.0f} B"
    elif unit == "count":
        text = _scaled(value, ((1e9, "G"), (1e6, "M"), (1e3, "k"))) if abs(value) >= 1e4 else f"{value:,.0f}"
    elif unit in ("unitless", "log10"):
        text = f"{value:.3f}"
    else:
        text = f"{_significant(value)} {unit}".rstrip()
    return f"+{text}" if difference and value > 0 else text.replace("-", "−")


def value_text(row: Row) -> str:
    """The value alone, or the status where there is none."""
    if row.value is None:
        return row.status
    return number(row.value, row.unit, difference=_is_difference(row))


def interval_text(row: Row) -> str:
    """ "96.9 % to 97.8 %", or "" where the row has no interval."""
    if row.low is None or row.high is None:
        return ""
    difference = _is_difference(row)
    low, high = (number(bound, row.unit, difference=difference) for bound in (row.low, row.high))
    unit = low.rpartition(" ")[2] if " " in low else ""
    if unit and high.endswith(f" {unit}"):
        low = low.removesuffix(f" {unit}")
    return f"{low} to {high}"


def beside(row: Row) -> list[str]:
    """What must be said next to the value: other split, twin instead of engine."""
    words = []
    if row.subject == "twin":
        words.append("twin")
    if row.split not in ("test", "none"):  # a size or a latency belongs to no split
        words.append(f"{row.split} split")
    return words


def detail_text(row: Row) -> str:
    """``attack=pgd, eps=8/255``: the detail in the order it was written."""
    return ", ".join(f"{key}={value}" for key, value in row.detail.items())


def _sign(row: Row) -> int:
    """+1 or -1 where the interval excludes zero, else 0."""
    if row.value is None or row.low is None or row.high is None:
        return 0
    return 1 if row.low > 0 else -1 if row.high < 0 else 0


def difference_words(item: Numbered, evidence: Evidence) -> str:
    """What a paired difference shows, in words that do not outrun its interval or its control."""
    row = item.row
    if row.value is None:
        return f"{row.status}: {row.reason}" if row.reason else row.status
    if row.low is None or row.high is None:
        return "no interval, so nothing is said about its sign"
    sign = _sign(row)
    if sign == 0:
        return "the interval does not exclude zero: no difference shown"
    against = str(row.detail.get("against", "the other"))
    natural = base_network(evidence)
    other = natural if against == "natural" else against_name(evidence, against)
    base = base_metric(row.metric)
    up = HIGHER_IS_BETTER.get(base)
    size = "higher" if sign > 0 else "lower"
    if up is None:
        return f"{size} than {other}; the interval excludes zero (neither direction is better in itself)"
    if (sign > 0) != up:
        return f"worse ({size}) than {other}; the interval excludes zero"
    if against == "control":
        return "better than the same budget with random cells; the interval excludes zero"
    if against != "natural" or row.arm not in ("refined", "pruned"):
        return f"better ({size}) than {other}; the interval excludes zero"
    wanted = {**asked(row), "against": "control"}
    beside_it = evidence.find(row.metric, arm=row.arm, artefact=row.artefact, split=row.split, detail=wanted)
    if beside_it is None or beside_it.row.value is None:
        return f"{size} than {natural}; the interval excludes zero, but no control stands beside it: not called a gain"
    if _sign(beside_it.row) == sign:
        return f"a gain: better than {natural} and than the random-cells control; both intervals exclude zero"
    return f"{size} than {natural}, but not shown to beat the random-cells control: not called a gain of the refinement"
