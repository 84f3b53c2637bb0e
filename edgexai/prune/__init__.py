"""Pruning: what is coupled (Torch-Pruning's graph), what matters, how much, how to cut; masks; then fine-tuning."""

from edgexai.registry import Entry

METHODS: dict[str, Entry] = {
    "channel": Entry("edgexai.prune.channel:prune_channels"),
    "masked": Entry("edgexai.prune.masked:mask_weights"),
}
IMPORTANCES: dict[str, Entry] = {
    "group_l2": Entry("edgexai.prune.importance:group_l2"),
    "l1": Entry("edgexai.prune.importance:l1"),
    "l2": Entry("edgexai.prune.importance:l2"),
    "bn_scale": Entry("edgexai.prune.importance:bn_scale"),
    "taylor": Entry("edgexai.prune.importance_data:taylor"),
    "fisher": Entry("edgexai.prune.importance_data:fisher"),
    "attribution": Entry("edgexai.prune.importance_data:attribution"),
    "robust": Entry("edgexai.prune.importance_data:robust"),
    "random": Entry("edgexai.prune.importance:random_scores"),
}
LOOK_AT_IMAGES = ("taylor", "fisher", "attribution", "robust")
"""Importances that need ``Evidence``."""
