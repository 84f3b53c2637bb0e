"""What is measured of a classifier that has no twin: forward passes only, cut into batches that stand alone.

Every image's value depends on the image, the settings and the seed, never on its neighbours, and the batches are cut
the same way whoever does them: so it does not matter which process does which, or when.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.config.pixels import pixels
from edgexai.data.corruptions import CORRUPTIONS
from edgexai.errors import UserError
from edgexai.explain import EXPLAINERS, KINDS
from edgexai.probe.draw import probe_index
from edgexai.types import Labels

VERSION = 1
"""Raised when the same settings give other values: what was measured before is then not taken up again."""
ATTACKS = ("noise", "square")
BLACK_BOX = tuple(name for name, kind in KINDS.items() if kind == "black_box")
_BATCH_BYTES = 24_000_000
"""Of float32 images in one forward pass; bounds memory whatever the image size."""
_EXPLAINED_TOGETHER = 8


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        n: images of each test split for accuracy; None = all.
        attacks: some of ``ATTACKS``.
        eps: radii as text, "8/255"; Square takes the largest.
        attack_n: images under noise; square_n: under Square; square_queries: for each of them.
        explainers: some of ``BLACK_BOX``.
        explain_n: images whose maps are scored; rise_masks: masks of RISE per image; shap_samples: of KernelSHAP.
        corruptions: names of ``data.corruptions``; severities: 1 to 5; corruption_n: images under each.
        seed: of every draw.
    """

    n: int | None = None
    attacks: tuple[str, ...] = ()
    eps: tuple[str, ...] = ("2/255", "8/255")
    attack_n: int = 1000
    square_n: int = 100
    square_queries: int = 500
    explainers: tuple[str, ...] = ()
    explain_n: int = 100
    rise_masks: int = 1000
    shap_samples: int = 512
    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 3, 5)
    corruption_n: int = 300
    seed: int = 0

    def check(self) -> None:
        """Raises UserError with every fault."""
        faults = [f'attack "{a}": needs no twin: {", ".join(ATTACKS)}' for a in self.attacks if a not in ATTACKS]
        for name in self.explainers:
            if name not in BLACK_BOX:
                why = "needs gradients, and there is no twin" if name in EXPLAINERS else "is unknown"
                faults.append(f'explainer "{name}" {why}; allowed: {", ".join(BLACK_BOX)}')
        faults += [f'corruption "{c}" is unknown' for c in self.corruptions if c not in CORRUPTIONS]
        faults += [f"severity {s}: 1 to 5" for s in self.severities if not 1 <= s <= 5]
        for text in self.eps:
            try:
                radius = pixels(text)
            except (ValueError, ArithmeticError):
                radius = -1.0
            if not 0 < radius <= 1:
                faults.append(f'eps "{text}": a number of (0, 1], e.g. 8/255')
        for name in ("attacks", "eps", "explainers", "corruptions", "severities"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                faults.append(f"{name}: one of them is named twice")
        if self.attacks and not self.eps:
            faults.append("attacks need an eps")
        if faults:
            raise UserError("what is asked for cannot be measured", problems=tuple(faults))


@dataclass(frozen=True)
class Plan:
    """Everything that decides the numbers, and the words of their rows. JSON-able; two equal plans give equal rows.

    Attributes:
        engine: name of the file; engine_digest: SHA-256 of its bytes; engine_bytes: how many.
        prepared: how an image becomes its input.
        arm, artefact, runtime: as in ``types.Row``.
        trained_on: the data set, "unknown" of a foreign file.
        data: name of the card; data_digest: of its files; classes: names, in the card's order.
        outputs: K; output_of: which output stands for each of the classes.
        size: height and width, pixels.
        splits: name -> number of images.
        asked: see ``Asked``.
        version: of this code.
    """

    engine: str
    engine_digest: str
    engine_bytes: int
    prepared: Mapping[str, object]
    arm: str
    artefact: str
    runtime: str
    trained_on: str
    data: str
    data_digest: str
    classes: tuple[str, ...]
    outputs: int
    output_of: tuple[int, ...]
    size: tuple[int, int]
    splits: Mapping[str, int]
    asked: Asked
    version: int = VERSION

    def to_json(self) -> str:
        """Sorted keys, one line."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that name the plan."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @staticmethod
    def from_json(text: str) -> Plan:
        """The inverse of ``to_json``.

        Raises:
            ValueError, KeyError, TypeError: not a plan.
        """
        data = json.loads(text)
        asked: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.pop("asked").items()}
        for name in ("classes", "output_of", "size"):
            data[name] = tuple(data[name])
        return Plan(**data, asked=Asked(**asked))


@dataclass(frozen=True)
class Batch:
    """Work that is done whole or not at all.

    Attributes:
        kind: "clean", "noise", "square", "corruption", "explain" or "latency".
        split: of the images.
        number: from 0, within kind and split.
        index: (n,) images of the whole split.
    """

    kind: str
    split: str
    number: int
    index: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Unique within a plan, and a file name."""
        return f"{self.split}-{self.kind}-{self.number:06d}"


def batches(plan: Plan, labels: Mapping[str, Labels]) -> list[Batch]:
    """All work of a plan, in one order.

    Args:
        plan: what is to be measured.
        labels: split -> (N,) in the card's numbers.
    """
    asked, main = plan.asked, main_split(plan.splits)
    height, width = plan.size
    whole = max(1, min(256, _BATCH_BYTES // (12 * height * width)))
    found: list[Batch] = []
    for split, of_split in labels.items():
        found += _cut("clean", split, drawn(len(of_split), asked.n), whole)
    pool = drawn(len(labels[main]), asked.n)

    def some(n: int) -> NDArray[np.int64]:
        # In proportion to the classes, in an order of which any leading part is a fair sample.
        return pool[probe_index(labels[main][pool], n, seed=asked.seed)]

    if "noise" in asked.attacks:
        found += _cut("noise", main, some(asked.attack_n), whole)
    if "square" in asked.attacks:
        found += _cut("square", main, some(asked.square_n), min(whole, 50))
    if asked.corruptions and asked.severities:
        found += _cut("corruption", main, some(asked.corruption_n), min(whole, 64))
    if asked.explainers:
        found += _cut("explain", main, some(asked.explain_n), min(whole, _EXPLAINED_TOGETHER))
    return [*found, Batch("latency", main, 0, some(min(256, whole)))]


def main_split(names: Sequence[str] | Mapping[str, int]) -> str:
    """The split that is attacked and explained: "test", or the one without a planted cue."""
    first: str = next(name for name in ("test", "absent", *names) if name in names)
    return first


def drawn(total: int, n: int | None) -> NDArray[np.int64]:
    """``n`` of ``total`` images, all where n is None; ascending, the same at every call."""
    if n is None or n >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng([0, 31]).permutation(total)[:n])


def _cut(kind: str, split: str, index: NDArray[np.int64], size: int) -> list[Batch]:
    starts = range(0, len(index), size)
    return [Batch(kind, split, k, index[start : start + size]) for k, start in enumerate(starts)]
