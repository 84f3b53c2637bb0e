"""What a network is, apart from its weights: a name, explicit widths, and what it was normalised with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class OwnFactory:
    """Where a network of the user's own comes from.

    Attributes:
        factory: "module:function".
        sha256: of the module's source file, hex.
        feature_map: "none", "features" or "linear_head": what the module has besides its forward.
    """

    factory: str
    sha256: str
    feature_map: str


@dataclass(frozen=True)
class Arch:
    """Enough to rebuild the module, pruned or not, without running anybody's code, unless it is the user's own.

    Attributes:
        name: key of ``models.ARCHITECTURES``, or "own".
        widths: output channels of every convolution that pruning may narrow, in forward order.
        classes: number of logits.
        size: side of the square input, pixels.
        mean, std: per channel, of the training images in [0,1]; a network of the user's own does not use them.
        own: of a network of the user's own.
    """

    name: str
    widths: tuple[int, ...]
    classes: int
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    own: OwnFactory | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for arch.json."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Arch:
        """The inverse of ``to_json``."""
        return Arch(
            data["name"],
            tuple(data["widths"]),
            data["classes"],
            data["size"],
            (data["mean"][0], data["mean"][1], data["mean"][2]),
            (data["std"][0], data["std"][1], data["std"][2]),
            OwnFactory(**data["own"]) if "own" in data else None,
        )
