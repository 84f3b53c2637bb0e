"""Training loops, one readable file each; the parts they share are beside them."""

from edgexai.registry import Entry

METHODS: dict[str, Entry] = {
    "natural": Entry("edgexai.train.natural:fit_natural"),
    "adversarial": Entry("edgexai.train.adversarial:fit_adversarial"),
    "advprop": Entry("edgexai.train.advprop:fit_advprop"),
    "lime": Entry("edgexai.train.lime_refined:refine"),
}

IN_PARALLEL = ("natural", "adversarial", "advprop", "lime")
"""Methods whose loop takes a ``train.parallel.Team`` of several processes."""
