"""Where the pixels are scored: explainers by name, and what each of them needs.

Nothing is imported here. The black-box kind, ``segment`` and ``baselines`` run on NumPy alone, so a board can use them;
the gradient and optimised kinds need torch, most of the former Captum. ``conventions`` tells sign, unit and source.
"""

from __future__ import annotations

from edgexai.registry import Entry

EXPLAINERS: dict[str, Entry] = {
    "vg": Entry("edgexai.explain.gradient:vanilla_gradient"),
    "ixg": Entry("edgexai.explain.input_gradient:input_x_gradient"),
    "ig": Entry("edgexai.explain.integrated:integrated_gradients"),
    "smoothgrad": Entry("edgexai.explain.smooth:smoothgrad"),
    "vargrad": Entry("edgexai.explain.vargrad:vargrad"),
    "gradshap": Entry("edgexai.explain.gradient_shap:gradient_shap"),
    "gradcam": Entry("edgexai.explain.cam:gradcam"),
    "cam": Entry("edgexai.explain.cam:cam"),
    "meaningful": Entry("edgexai.explain.meaningful:meaningful_perturbation"),
    "extremal": Entry("edgexai.explain.extremal:extremal_perturbation"),
    "lime": Entry("edgexai.explain.lime:lime"),
    "kernelshap": Entry("edgexai.explain.kernelshap:kernelshap"),
    "rise": Entry("edgexai.explain.rise:rise"),
    "occlusion": Entry("edgexai.explain.occlusion:occlusion"),
    "random": Entry("edgexai.explain.baselines:random_map"),
    "centre": Entry("edgexai.explain.baselines:centre_gaussian"),
    "edges": Entry("edgexai.explain.baselines:edge_map"),
}

KINDS: dict[str, str] = {
    "vg": "gradient",
    "ixg": "gradient",
    "ig": "gradient",
    "smoothgrad": "gradient",
    "vargrad": "gradient",
    "gradshap": "gradient",
    "gradcam": "gradient",
    "cam": "gradient",
    "meaningful": "optimised",
    "extremal": "optimised",
    "lime": "black_box",
    "kernelshap": "black_box",
    "rise": "black_box",
    "occlusion": "black_box",
    "random": "baseline",
    "centre": "baseline",
    "edges": "baseline",
}
"""``gradient``: (model, images, targets, *, seed), twin only. ``optimised``: the same, a mask found by hundreds of
gradient steps. ``black_box``: any Predict. ``baseline``: no model."""
