"""Which signs are kept for the report: wrong, fooled and right ones, each with what belongs to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgexai.probe.probe_set import ProbeSet
from edgexai.recipe.pictures import PICTURES, write_pictures
from edgexai.types import Images, Logits, Split

N, EXPLAINED, K = 60, 50, 5


def brightness(images: Images) -> Logits:
    """Decides by the red channel: 0.1 is class 0, 0.3 class 1 ..."""
    red = images[:, 0].mean((1, 2))
    return -np.abs(red[:, None] - (np.arange(K) * 0.2 + 0.1)).astype(np.float32)


def _probes(attacked: dict[str, np.ndarray] | None = None) -> tuple[Split, ProbeSet]:
    g = np.random.default_rng(0)
    labels = np.arange(N) % K
    shown = labels.copy()
    shown[::9] = (labels[::9] + 1) % K  # the engine is wrong on these
    images = np.broadcast_to((shown * 0.2 + 0.1)[:, None, None, None], (N, 3, 8, 8)).astype(np.float32).copy()
    index = np.arange(N)[::-1].copy()
    pixels = np.rint(images.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    split = Split("test", pixels[::-1].copy(), labels[::-1].copy(), np.zeros((N, 4), np.float32), np.full(N, -1))
    maps = {name: g.normal(0, 1, (EXPLAINED, 8, 8)).astype(np.float32) for name in ("ig", "cam")}
    moved = images.copy()
    moved[::2] = 1.1 - moved[::2]  # an attack turns every second image
    given = {"fgsm@8/255": images, "pgd@2/255": images, "pgd@8/255": moved, "apgd-ce@8/255": moved[:5]}
    probes = ProbeSet(
        index, images, labels, None, brightness(images), given if attacked is None else attacked, maps,
        brightness(images[:EXPLAINED]).argmax(1), np.zeros((8, 8), np.int32), {"split": "test"},
    )  # fmt: skip
    return split, probes


def test_each_kind_has_its_quarter_and_nothing_is_mixed_up(tmp_path: Path) -> None:
    split, probes = _probes()
    write_pictures(split, probes, brightness, {"cam": probes.maps["cam"] * 2}, tmp_path / "pictures" / "natural.npz")
    with np.load(tmp_path / "pictures" / "natural.npz", allow_pickle=False) as data:
        kept = {name: data[name] for name in data.files}
    assert str(kept["attack"]) == "pgd@8/255"  # the stronger kind, at its larger eps, on all images explained
    wrong = kept["pred_engine"] != kept["labels"]
    fooled = ~wrong & (kept["pred_attacked"] != kept["labels"])
    assert wrong.sum() == fooled[: 2 * PICTURES // 4].sum() == PICTURES // 4
    assert wrong[: PICTURES // 4].all()
    for images, decided in ((kept["images"], kept["pred_engine"]), (kept["attacked"], kept["pred_attacked"])):
        again = brightness(images.transpose(0, 3, 1, 2).astype(np.float32) / 255).argmax(1)
        assert np.array_equal(again, decided)  # picture and decision belong together
    # A map is found by its values in the probes: its image must be the one shown.
    for k in range(len(kept["images"])):
        (place,) = np.flatnonzero((probes.maps["ig"] == kept["twin__ig"][k]).all((1, 2)))
        assert np.array_equal(kept["images"][k], split.images[probes.index[place]])
        assert kept["labels"][k] == probes.labels[place]
        assert np.array_equal(kept["engine__cam"][k], 2 * probes.maps["cam"][place])


@pytest.mark.parametrize("attacked", [{}, {"pgd@8/255": np.zeros((3, 3, 8, 8), np.float32)}])
def test_without_an_attack_on_all_of_them_none_is_shown(tmp_path: Path, attacked: dict[str, np.ndarray]) -> None:
    split, probes = _probes(attacked)
    write_pictures(split, probes, brightness, {}, tmp_path / "natural.npz")
    with np.load(tmp_path / "natural.npz", allow_pickle=False) as data:
        assert not {"attacked", "pred_attacked", "attack"} & set(data.files)
        assert (data["pred_engine"] != data["labels"]).sum() == PICTURES // 4
