"""What a probe set holds, and how it lies on disk: one folder of plain .npy files and a probes.json.

NumPy and the standard library only: the board reads it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.probe.cascade_maps import CascadeMaps
from edgexai.probe.noisy_copies import NoisyCopies
from edgexai.types import Images, Labels, Logits, Maps, Segments


@dataclass(frozen=True)
class ProbeSet:
    """Test images and everything about them that needs the twin's gradients.

    Attributes:
        index: (n,) places in the test split.
        images: (n,3,H,W) in [0,1].
        labels: (n,).
        relevance: (n,H,W) True on the sign (mask or box), or None where the data know neither.
        logits: (n,K) golden logits of the twin.
        attacked: "fgsm@8/255" -> (n,3,H,W), made on the twin: a transfer attack for whoever replays it; of "apgd-ce"
            and "apgd-dlr" only the first images.
        maps: explainer -> (m,H,W) for the first m images, of the twin, for ``targets``.
        targets: (m,) class explained: the twin's decision.
        segments: (H,W) grid cells for LIME on the engine.
        settings: what the probes were made with (eps, steps, seed, explainers ...).
        noisy: copies of the first images with their maps, or None where stability is not measured.
        cascade: maps of the first images by networks ever more randomised, or None where that is not measured.
    """

    index: NDArray[np.int64]
    images: Images
    labels: Labels
    relevance: NDArray[np.bool_] | None
    logits: Logits
    attacked: Mapping[str, Images]
    maps: Mapping[str, Maps]
    targets: Labels
    segments: Segments
    settings: Mapping[str, str | int | float]
    noisy: NoisyCopies | None = None
    cascade: CascadeMaps | None = None


def write_probes(probes: ProbeSet, folder: Path) -> None:
    """Writes ``folder``; images go as uint8, which is what they came from."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[np.generic]] = {
        "index": probes.index,
        "images": np.round(probes.images * 255).astype(np.uint8),
        "labels": probes.labels,
        "logits": probes.logits,
        "targets": probes.targets,
        "segments": probes.segments,
    }
    if probes.relevance is not None:
        arrays["relevance"] = probes.relevance
    names = {"attacked": list(probes.attacked), "maps": list(probes.maps)}
    arrays |= {f"attacked_{k}": probes.attacked[name] for k, name in enumerate(probes.attacked)}
    arrays |= {f"maps_{k}": probes.maps[name] for k, name in enumerate(probes.maps)}
    if probes.noisy is not None:
        names["noisy"] = list(probes.noisy.maps)
        arrays["noisy_images"] = np.round(probes.noisy.images * 255).astype(np.uint8)
        arrays["noisy_same_class"] = probes.noisy.same_class
        arrays |= {f"noisy_maps_{k}": values for k, values in enumerate(probes.noisy.maps.values())}
    if probes.cascade is not None:
        names |= {"cascade": list(probes.cascade.maps), "cascade_layers": list(probes.cascade.layers)}
        arrays |= {f"cascade_maps_{k}": values for k, values in enumerate(probes.cascade.maps.values())}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    text = json.dumps({"names": names, "settings": dict(probes.settings)}, indent=1, sort_keys=True)
    (folder / "probes.json").write_text(text + "\n")


def read_probes(folder: Path) -> ProbeSet:
    """The inverse of ``write_probes``; raises UserError where the folder holds no probe set."""

    def array(name: str) -> NDArray[Any]:
        return np.load(folder / f"{name}.npy", allow_pickle=False)  # type: ignore[no-any-return]

    try:
        head = json.loads((folder / "probes.json").read_text())
        names = head["names"]
        return ProbeSet(
            index=array("index"),
            images=array("images").astype(np.float32) / np.float32(255),
            labels=array("labels"),
            relevance=array("relevance") if (folder / "relevance.npy").is_file() else None,
            logits=array("logits"),
            attacked={name: array(f"attacked_{k}") for k, name in enumerate(names["attacked"])},
            maps={name: array(f"maps_{k}") for k, name in enumerate(names["maps"])},
            targets=array("targets"),
            segments=array("segments"),
            settings=head["settings"],
            noisy=None
            if "noisy" not in names
            else NoisyCopies(
                images=array("noisy_images").astype(np.float32) / np.float32(255),
                same_class=array("noisy_same_class"),
                maps={name: array(f"noisy_maps_{k}") for k, name in enumerate(names["noisy"])},
            ),
            cascade=None
            if "cascade" not in names
            else CascadeMaps(
                layers=tuple(names["cascade_layers"]),
                maps={name: array(f"cascade_maps_{k}") for k, name in enumerate(names["cascade"])},
            ),
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: not a probe set: {error}") from error
