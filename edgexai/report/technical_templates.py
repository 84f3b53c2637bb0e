"""Which measured rows are evidence for which part of technical documentation. Vocabulary only, no verdict.

Annex IV: Regulation (EU) 2024/1689, Annex IV and Article 15. ISO/PAS 8800:2024 (safety and artificial intelligence in
road vehicles) and ISO 21448:2022 (safety of the intended functionality) are mapped by their terms, not by clause: their
texts are not free, so the clause numbers are left to who holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOPICS: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("clean_acc",),
    "classes": ("class_acc",),
    "confidence": ("calibration_error", "aurc", "selective_", "reject", "known_accept", "auroc", "unknown"),
    "attacks": ("robust_acc",),
    "corruptions": ("corruption_acc",),
    "explanations": (
        "saliency_gini", "roi_share", "pointing_game", "road_gap", "road_lerf_gap", "lime_r2", "map_rank_correlation",
        "relative_input_stability",
    ),
    "parity": ("agreement", "logit_drift", "map_drift", "saliency_fidelity"),
    "cost": ("latency_ms", "throughput", "size_bytes", "macs", "parameters"),
}  # fmt: skip
"""Topic -> how the names of its metrics begin."""


@dataclass(frozen=True)
class Part:
    """One part of the documentation.

    Attributes:
        heading: in the vocabulary of the source.
        says: what the rows can and cannot say there.
        topics: of ``TOPICS``, or "provenance", "gates", "flags", "missing".
        provider: what no measurement gives: to be written by who places the system on the market.
    """

    heading: str
    says: str
    topics: Sequence[str]
    provider: Sequence[str] = ()


@dataclass(frozen=True)
class Template:
    """A source and its parts."""

    title: str
    source: str
    parts: Sequence[Part]


TEMPLATES: Mapping[str, Template] = {
    "annex-iv": Template(
        "Annex IV, technical documentation",
        "Regulation (EU) 2024/1689, Annex IV; Article 15 where named",
        (
            Part(
                "Point 1: general description",
                "Versions, software and the hardware that the figures below were taken on.",
                ("provenance",),
                ("intended purpose", "provider and versions placed on the market", "the vehicle or product it is in",
                 "instructions for use"),
            ),
            Part(
                "Point 2 (d): data",
                "The data set, its splits and what trained the network, as the resolved recipe names them.",
                ("data",),
                ("how the data were obtained and selected", "labelling procedures", "known gaps and biases"),
            ),
            Part(
                "Point 2 (g): validation and testing, accuracy (Article 15 (1) to (3))",
                "Accuracy of the deployed engine on images that trained nothing.",
                ("accuracy", "classes", "confidence", "gates"),
                ("why these metrics suit the intended purpose (point 4)", "signed and dated test reports"),
            ),
            Part(
                "Point 2 (g): validation and testing, robustness (Article 15 (4))",
                "Accuracy under faults nobody aimed at the network: noise, blur, weather, digital faults.",
                ("corruptions",),
                ("redundancy and fail-safe plans", "feedback loops, where the system learns in use"),
            ),
            Part(
                "Point 2 (h): cybersecurity, adversarial examples (Article 15 (5))",
                "Accuracy under the attacks listed, an upper bound: a stronger attack may lower it. Attacks tagged "
                "“transfer” were made on the PyTorch twin.",
                ("attacks",),
                ("data and model poisoning", "confidentiality attacks", "security of the device and of updates"),
            ),
            Part(
                "Point 3: capabilities, limitations and means of interpretation",
                "What the saliency maps are worth on this network, each beside a random and a centred map.",
                ("explanations", "flags"),
                ("human oversight measures", "foreseeable unintended outcomes", "specifications of input data"),
            ),
            Part(
                "Points 1 (e) and 2 (c): hardware and resources",
                "Cost, and whether the deployed file decides as the network that was trained.",
                ("parity", "cost"),
                ("hardware the system is intended to run on",),
            ),
            Part(
                "What no row covers",
                "Asked for and not measured, with the reason.",
                ("missing",),
                ("risk management (point 5)", "changes through the life cycle (point 6)", "standards applied (point 7)",
                 "declaration of conformity (point 8)", "post-market monitoring (point 9)"),
            ),
        ),
    ),
    "iso-pas-8800": Template(
        "Safety and artificial intelligence: evidence for an assurance argument",
        "ISO/PAS 8800:2024, by its terms",
        (
            Part("AI system and its components", "What was built, from which inputs.", ("provenance",),
                 ("encompassing system, operational design domain", "AI safety requirements and their derivation")),
            Part("Dataset life cycle", "Data set, splits and what trained the network.", ("data",),
                 ("dataset requirements and their verification", "dataset safety analysis")),
            Part("Verification of the AI component: performance", "Held against the recipe’s gates where it sets any.",
                 ("gates", "accuracy", "classes", "confidence"), ("target values derived from safety requirements",)),
            Part("Verification of the AI component: robustness", "Under attack and under common corruptions.",
                 ("attacks", "corruptions"), ("which of these perturbations lie in the operational design domain",)),
            Part("Explainability as evidence", "What the maps are worth on this network; what they are not.",
                 ("explanations", "flags"), ("how explanations enter the safety analysis",)),
            Part("Deployment: from the trained to the deployed component", "Parity, cost and timing of the very file.",
                 ("parity", "cost"), ("timing within the encompassing system", "measures during operation")),
            Part("Gaps in the evidence", "Asked for and not measured, with the reason.", ("missing",),
                 ("assurance argument", "confidence in the tools used", "field monitoring")),
        ),
    ),
    "iso-21448": Template(
        "Safety of the intended functionality: evidence on a perception component",
        "ISO 21448:2022, by its terms",
        (
            Part("Specification and design", "What was built, from which inputs.", ("provenance", "data"),
                 ("intended functionality and its use cases", "hazard identification and risk evaluation")),
            Part("Performance insufficiencies: which signs are the weakest",
                 "Known insufficiencies of the component on undisturbed images.", ("accuracy", "classes", "confidence"),
                 ("which of them are hazardous, and at what exposure",)),
            Part("Potential triggering conditions: disturbances",
                 "Accuracy under candidates for triggering conditions, severity by severity.", ("corruptions",),
                 ("which of them occur in the field, and how often",)),
            Part("Potential triggering conditions: manipulated signs",
                 "Accuracy under attack; whether this is reasonably foreseeable misuse or a matter of security is "
                 "for the reader to decide.", ("attacks",), ("interface with the security analysis",)),
            Part("Insufficiencies of specification: decisions for the wrong reason",
                 "Where the maps say that the network looks, beside what chance would give.", ("explanations", "flags"),
                 ("functional modifications that follow",)),
            Part("Verification of the deployed component", "Gates, parity and timing of the very file.",
                 ("gates", "parity", "cost"), ("integration into vehicle and sensor chain",)),
            Part("Unknown scenarios and residual risk", "Asked for and not measured, with the reason.", ("missing",),
                 ("validation targets", "evaluation of residual risk", "field monitoring")),
        ),
    ),
}  # fmt: skip
