"""What each method's map means: sign, unit, what it says of its own error, source. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convention:
    """How to read a map.

    Attributes:
        name: for people.
        signed: negative values speak against the target class; else all are >= 0 and more is more.
        unit: of a value.
        error: what the method tells of its own error; "" for nothing.
        source: paper.
        offset: only differences within a map mean something; pictures show it from its smallest value.
    """

    name: str
    signed: bool
    unit: str
    error: str
    source: str
    offset: bool = False


_LOGIT, _PER_PIXEL = "logit", "logit per unit of intensity"
_SHARE = "score of the target (probability, or logit where asked)"
CONVENTIONS: dict[str, Convention] = {
    "vg": Convention("vanilla gradient", False, _PER_PIXEL, "", "arXiv 1312.6034"),
    "ixg": Convention("input x gradient", True, _LOGIT, "", "arXiv 1605.01713"),
    "ig": Convention("integrated gradients", True, _LOGIT, "completeness_gap", "arXiv 1703.01365"),
    "smoothgrad": Convention("SmoothGrad", False, _PER_PIXEL, "", "arXiv 1706.03825"),
    "vargrad": Convention("VarGrad", False, f"({_PER_PIXEL}) squared", "", "arXiv 1810.03307"),
    "gradshap": Convention("GradientSHAP", True, _LOGIT, "standard_error", "arXiv 1705.07874"),
    "gradcam": Convention("Grad-CAM", False, "logit per place of the feature map", "", "arXiv 1610.02391"),
    "cam": Convention("CAM", False, "logit", "", "arXiv 1512.04150"),
    "meaningful": Convention("Meaningful Perturbation", False, "share blurred", "", "arXiv 1704.03296"),
    "extremal": Convention("Extremal Perturbation", False, "share kept", "", "arXiv 1910.08485"),
    "lime": Convention("LIME", True, _SHARE, "1 - jaccard", "arXiv 1602.04938"),
    "kernelshap": Convention("KernelSHAP", True, _SHARE, "standard_error", "arXiv 1705.07874"),
    "rise": Convention("RISE", False, _SHARE, "standard_error", "arXiv 1806.07421", offset=True),
    "occlusion": Convention("occlusion", True, f"fall of the {_SHARE}", "", "arXiv 1311.2901"),
    "random": Convention("random map (control)", False, "none", "", ""),
    "centre": Convention("centred Gaussian (control)", False, "none", "", ""),
    "edges": Convention("edge detector (control)", False, "intensity per pixel", "", "arXiv 1810.03292"),
}
"""Target class: the one given. Channels: summed after any absolute value; the black-box kind hides them together."""
