"""Pruning: what is coupled (Torch-Pruning's graph), what matters, how much, how to cut; then fine-tuning."""

from edgexai.registry import Entry

METHODS: dict[str, Entry] = {"channel": Entry("edgexai.prune.channel:prune_channels")}
IMPORTANCES: dict[str, Entry] = {
    "group_l2": Entry("edgexai.prune.importance:group_l2"),
    "random": Entry("edgexai.prune.importance:random_scores"),
}
