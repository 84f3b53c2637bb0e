"""Checks between tables that no single table can make: what the data set, the network and the measurements allow.

They fail in a second what would otherwise fail after an hour of training. Torch-free.
"""

from __future__ import annotations

from edgexai.config.cards import read_card
from edgexai.config.column import parse_column
from edgexai.config.recipe import Recipe
from edgexai.config.unknown_classes import unknown_classes

RENDERED = ("signs", "signs_shortcut")
_POOLED_HEAD = ("signnet", "resnet18", "resnet20", "mobilenet_v2", "densenet_small")
_LEDGER = ("step_acc", "map_drift", "top_drift", "centre_shift")
_NO_BATCH_NORM = ("lisa_cnn",)


def incoherences(recipe: Recipe) -> list[str]:
    """One line per contradiction between tables; an empty list where there is none."""
    data, model, faults = recipe.data, recipe.model, []
    card = read_card(data.name)
    rendered = card.kind == "rendered"
    if card.kind == "corrupted":
        faults.append(
            f'data.name = "{data.name}": only for measuring; train on "{card.of}", then: '
            f"edgexai measure ENGINE --data {data.name}"
        )
    if data.per_class is not None and not rendered:
        faults.append(f'data.per_class: only rendered data has it ({", ".join(RENDERED)}), not "{data.name}"')
    if data.rendered and data.name != "gtsrb":
        faults.append(f'data.rendered: rendered signs show the classes of "gtsrb", not of "{data.name}"; leave it out')
    if recipe.refine and recipe.refine.relevance == "mask" and not card.masks:
        has, allowed = (
            ("no masks, only boxes", '"roi", "none"') if card.boxes else ("neither masks nor boxes", '"none"')
        )
        faults.append(f'refine.relevance = "mask": "{data.name}" has {has}; allowed: {allowed}')
    if recipe.refine and recipe.refine.relevance == "roi" and not card.boxes:
        faults.append(f'refine.relevance = "roi": "{data.name}" has no boxes; write relevance = "none"')
    if recipe.prune and recipe.prune.adversarial_weight is not None and recipe.refine is None:
        faults.append(
            "prune.adversarial_weight: without [refine] the fine-tuning sees no attacked images; leave it out"
        )
    if data.limit_per_class is not None and rendered:
        faults.append(f'data.limit_per_class: "{data.name}" is rendered; write per_class instead')
    if recipe.train.augment == "flip_crop" and card.mirrored is False:
        faults.append(
            f'train.augment = "flip_crop": a mirrored image of "{data.name}" may be of another class; write "sign"'
        )
    if recipe.train.method == "advprop" and model.name in _NO_BATCH_NORM:
        faults.append(
            f'train.method = "advprop": "{model.name}" has no batch norm, hence nothing to keep apart; '
            'allowed: "natural", "adversarial", or another model'
        )
    if not recipe.train.epochs and (model.weights is None or recipe.train.method != "natural"):
        faults.append(
            'train.epochs = 0: keeps model.weights, with method = "natural"; without weights nothing is learnt'
        )
    if recipe.train.shuffle_labels and (recipe.refine or recipe.prune):
        later = " and ".join(f"[{name}]" for name in ("refine", "prune") if getattr(recipe, name) is not None)
        faults.append(
            f"train.shuffle_labels: {later} would train on the true labels again; leave it out, the network is only a "
            "control for edgexai explain --against"
        )
    pooled = model.name in _POOLED_HEAD or model.feature_map == "linear_head"
    why = (
        f'"{model.factory}" is not said to have a linear head (model.feature_map = "linear_head")'
        if model.name == "own"
        else f'"{model.name}" has no linear head after global average pooling (those have: {", ".join(_POOLED_HEAD)})'
    )
    if recipe.export and recipe.export.saliency == "cam" and not pooled:
        faults.append(f'export.saliency = "cam": {why}; write saliency = "gradient", or "none"')
    if recipe.measure and "cam" in recipe.measure.explainers and not pooled:
        faults.append(f'measure.explainers has "cam": {why}; take it off the list')
    if recipe.measure and "gradcam" in recipe.measure.explainers and _hidden(recipe):
        faults.append(
            f'measure.explainers has "gradcam": "{model.factory}" is not said to have a feature map '
            '(model.feature_map = "features"); take it off the list'
        )
    faults += _gates(recipe) + _unknown(recipe) + _qat(recipe)
    return faults + _pruning(recipe, places=card.boxes or card.masks, cam="" if pooled else why)


def _qat(recipe: Recipe) -> list[str]:
    """Quantisation-aware training changes the deployed network alone, so nothing may be read as if it did not."""
    faults: list[str] = []
    if recipe.export is None or not recipe.export.qat_epochs:
        return faults
    if recipe.prune is None and recipe.refine is not None and recipe.refine.control != "none":
        faults.append(
            "export.qat_epochs: would train the refined network further and not its control, which is there for an "
            'equal budget; write refine.control = "none", or measure without qat_epochs'
        )
    if recipe.measure is not None and recipe.measure.ledger_n:
        faults.append("export.qat_epochs: the drift ledger has no step for it yet; write measure.ledger_n = 0")
    return faults


def _hidden(recipe: Recipe) -> bool:
    """A network of the user's own that shows its logits alone."""
    return recipe.model.name == "own" and recipe.model.feature_map == "none"


def _unknown(recipe: Recipe) -> list[str]:
    """Whether the card of unknown classes has any."""
    name = None if recipe.measure is None else recipe.measure.unknown
    if name is None:
        return []
    card = read_card(name)
    if card.kind == "corrupted":
        return [f'measure.unknown = "{name}": a corrupted set; name the one it was made of, "{card.of}", or another']
    if not unknown_classes(read_card(recipe.data.name).classes, card.classes):
        return [f'measure.unknown = "{name}": "{recipe.data.name}" has all its classes; name a card with others']
    return []


def _gates(recipe: Recipe) -> list[str]:
    """Gates on the drift ledger of a recipe that has none: better told now than after the training."""
    if recipe.gate is None or recipe.measure is None or recipe.measure.ledger_n:
        return []
    asked = [name for name, condition in recipe.gate.model_dump().items() if condition is not None]
    return [
        f'gate "{name}": a number of the drift ledger; write measure.ledger_n, the images that it follows'
        for name in asked
        if parse_column(name)[0] in _LEDGER or "step" in parse_column(name)[1]
    ]


def _pruning(recipe: Recipe, *, places: bool, cam: str) -> list[str]:
    """What the data set and the network allow [prune]."""
    prune = recipe.prune
    if prune is None:
        return []
    faults: list[str] = []
    if prune.latency_ms is not None and recipe.engine is not None and recipe.engine.runtime != "onnxruntime":
        faults.append(
            "prune.latency_ms: candidates are timed in ONNX Runtime, which says nothing about engine.runtime = "
            f'"{recipe.engine.runtime}"; prune to macs_ratio instead'
        )
    if recipe.model.name == "own" and prune.method == "channel":
        faults.append(
            'prune.method = "channel": a network of your own has no widths that edgexai could narrow; '
            'write method = "masked", or leave [prune] out'
        )
    if recipe.model.weights is not None and prune.method == "masked" and prune.when == "before":
        faults.append('prune.when = "before": masks from scratch do not start from model.weights; write "after"')
    if prune.importance == "attribution" and not places:
        faults.append(f'prune.importance = "attribution": "{recipe.data.name}" does not say where the sign is')
    if prune.importance == "bn_scale" and recipe.model.name in _NO_BATCH_NORM:
        faults.append(f'prune.importance = "bn_scale": "{recipe.model.name}" has no batch norm')
    if prune.attribution_weight and cam:
        faults.append(f"prune.attribution_weight: {cam}; leave it out")
    if prune.attribution_weight and (recipe.refine is not None or recipe.train.method != "natural"):
        faults.append("prune.attribution_weight: only after natural training without [refine]; leave it out")
    if prune.method == "masked" and prune.when == "before" and recipe.refine is not None:
        faults.append('prune.when = "before": masks from the start belong to training without [refine]; write "after"')
    return faults
