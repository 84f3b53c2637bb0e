"""Attacks: pixels perturbed inside a ball around the image, or on a part of the sign. Each takes a callable.

``ATTACKS`` lists them. ``fgsm``, ``pgd`` and ``apgd`` need a gradient (torch, the twin); ``square`` and ``noise`` need
NumPy only, so they also run against an engine on the board; ``ensemble`` is the worst case of several, and says which
of its parts could run. ``patch`` and ``sticker`` need a gradient too: not small but printed, under changes of pose and
light.
"""

from __future__ import annotations

from edgexai.registry import Entry

ATTACKS: dict[str, Entry] = {
    "fgsm": Entry("edgexai.attack.fgsm:fgsm"),
    "pgd": Entry("edgexai.attack.pgd:pgd"),
    "apgd": Entry("edgexai.attack.apgd:apgd"),
    "square": Entry("edgexai.attack.square:square"),
    "noise": Entry("edgexai.attack.noise:noise"),
    "patch": Entry("edgexai.attack.patch:patch"),
    "sticker": Entry("edgexai.attack.sticker:sticker"),
    "ensemble": Entry("edgexai.attack.ensemble:ensemble"),
}
