"""Attacks: pixels perturbed inside a ball around the image. Each takes a callable and knows nothing else.

``ATTACKS`` lists them. ``fgsm``, ``pgd`` and ``apgd`` need a gradient (torch, the twin); ``square`` and ``noise`` need
NumPy only, so they also run against an engine on the board; ``ensemble`` is the worst case of several, and says which
of its parts could run.
"""

from __future__ import annotations

from edgexai.registry import Entry

ATTACKS: dict[str, Entry] = {
    "fgsm": Entry("edgexai.attack.fgsm:fgsm"),
    "pgd": Entry("edgexai.attack.pgd:pgd"),
    "apgd": Entry("edgexai.attack.apgd:apgd"),
    "square": Entry("edgexai.attack.square:square"),
    "noise": Entry("edgexai.attack.noise:noise"),
    "ensemble": Entry("edgexai.attack.ensemble:ensemble"),
}
