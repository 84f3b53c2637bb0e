"""Checks between tables that no single table can make: what the data set, the network and the measurements allow.

They fail in a second what would otherwise fail after an hour of training. Torch-free.
"""

from __future__ import annotations

from edgexai.config.recipe import Recipe

_RENDERED = ("signs", "signs_shortcut")
_POOLED_HEAD = ("signnet", "resnet18")


def incoherences(recipe: Recipe) -> list[str]:
    """One line per contradiction between tables; an empty list where there is none."""
    data, model, faults = recipe.data, recipe.model, []
    rendered = data.name in _RENDERED
    if data.per_class is not None and not rendered:
        faults.append(f'data.per_class: only rendered data has it ({", ".join(_RENDERED)}), not "{data.name}"')
    if data.rendered and data.name != "gtsrb":
        faults.append(f'data.rendered: rendered signs show the classes of "gtsrb", not of "{data.name}"; leave it out')
    if recipe.refine and recipe.refine.relevance == "mask" and not rendered:
        faults.append(f'refine.relevance = "mask": "{data.name}" has no masks, only boxes; allowed: "roi", "none"')
    if recipe.prune and recipe.prune.adversarial_weight is not None and recipe.refine is None:
        faults.append(
            "prune.adversarial_weight: without [refine] the fine-tuning sees no attacked images; leave it out"
        )
    pooled = model.name in _POOLED_HEAD
    why = f'"{model.name}" has no linear head after global average pooling (those have: {", ".join(_POOLED_HEAD)})'
    if recipe.export and recipe.export.saliency == "cam" and not pooled:
        faults.append(f'export.saliency = "cam": {why}; write saliency = "none"')
    if recipe.measure and "cam" in recipe.measure.explainers and not pooled:
        faults.append(f'measure.explainers has "cam": {why}; take it off the list')
    return faults
