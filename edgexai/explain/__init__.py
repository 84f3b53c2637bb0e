"""Where the pixels are scored: explainers by name, and what each of them needs.

Nothing is imported here. ``lime``, ``segment`` and ``baselines`` run on NumPy alone, so a board can use them; the
gradient kind needs torch and Captum.
"""

from __future__ import annotations

from edgexai.registry import Entry

EXPLAINERS: dict[str, Entry] = {
    "vg": Entry("edgexai.explain.gradient:vanilla_gradient"),
    "ig": Entry("edgexai.explain.integrated:integrated_gradients"),
    "smoothgrad": Entry("edgexai.explain.smooth:smoothgrad"),
    "gradcam": Entry("edgexai.explain.cam:gradcam"),
    "cam": Entry("edgexai.explain.cam:cam"),
    "lime": Entry("edgexai.explain.lime:lime"),
    "random": Entry("edgexai.explain.baselines:random_map"),
    "centre": Entry("edgexai.explain.baselines:centre_gaussian"),
}

KINDS: dict[str, str] = {
    "vg": "gradient",
    "ig": "gradient",
    "smoothgrad": "gradient",
    "gradcam": "gradient",
    "cam": "gradient",
    "lime": "black_box",
    "random": "baseline",
    "centre": "baseline",
}
"""``gradient``: (model, images, targets, *, seed), twin only. ``black_box``: any Predict. ``baseline``: no model."""
