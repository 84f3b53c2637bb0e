"""Attacks: pixels perturbed inside an l-infinity ball. Each takes a callable and knows nothing else.

``ATTACKS`` lists them. ``fgsm`` and ``pgd`` need a gradient (torch, the twin); ``square`` and ``noise`` need NumPy
only, so they also run against an engine on the board.
"""

from __future__ import annotations

from edgexai.registry import Entry

ATTACKS: dict[str, Entry] = {
    "fgsm": Entry("edgexai.attack.fgsm:fgsm"),
    "pgd": Entry("edgexai.attack.pgd:pgd"),
    "square": Entry("edgexai.attack.square:square"),
    "noise": Entry("edgexai.attack.noise:noise"),
}
