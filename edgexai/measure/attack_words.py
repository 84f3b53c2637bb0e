"""The name of attacked images in a probe set, in a row's words: "pgd@8/255", or of a print on the sign "patch@0.1"."""

from __future__ import annotations

from collections.abc import Mapping

from edgexai.measure.rows import Detail

PRINTED = ("patch", "sticker")
"""Attacks with a printed thing on the sign: they have an area, no eps. "-random" is appended to their controls."""


def attack_words(name: str) -> Detail:
    """``{"attack": "pgd", "eps": "8/255"}`` or ``{"attack": "patch", "area": 0.1}``."""
    attack, _, size = name.partition("@")
    if attack.partition("-")[0] in PRINTED:
        return {"attack": attack, "area": float(size)}
    return {"attack": attack, "eps": size}


def printed_words(attack: str, settings: Mapping[str, str | int | float]) -> Detail:
    """What else defines the number of a print: its region, its mean share of that region, and its steps.

    Args:
        attack: "patch", "sticker", or either with "-random".
        settings: of the probe set.
    """
    kind, _, random = attack.partition("-")
    told: Detail = {"region": settings[f"{kind}_region"], "area_of_region": settings[f"{kind}_area_of_region"]}
    told["area_of_image"] = settings[f"{kind}_area_of_image"]
    return told if random else {**told, "steps": int(settings[f"{kind}_steps"])}
