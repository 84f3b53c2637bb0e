"""Planted cheats are caught, and honest predictors are left alone: mask leaks and predictors keyed to a fill colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgexai.errors import ShapeError, UserError
from edgexai.measure.deletion import area, deletion_insertion
from edgexai.measure.flags import check
from edgexai.measure.mask_leak import foreign_partners, mask_leak
from edgexai.measure.rows import mean_row
from edgexai.types import Row

N, S, K = 120, 16, 3
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % K
PATCHES = ((slice(1, 6), slice(1, 6)), (slice(1, 6), slice(10, 15)), (slice(10, 15), slice(5, 10)))
IMAGES = (0.3 * RNG.random((N, 3, S, S))).astype(np.float32)
for _image, _label in zip(IMAGES, LABELS, strict=True):
    _image[(slice(None), *PATCHES[_label])] += 0.6
MAPS = np.zeros((N, S, S), np.float32)
for _map, _label in zip(MAPS, LABELS, strict=True):
    _map[PATCHES[_label]] = 1
MAPS += 0.01 * RNG.random(MAPS.shape, dtype=np.float32)
WORDS = {"arm": "natural", "artefact": "fp32", "subject": "engine", "seed": 0}


def honest(images: np.ndarray) -> np.ndarray:
    """Each class is the brightness of its own place."""
    return np.stack([10 * images[(slice(None), slice(None), *p)].mean((1, 2, 3)) for p in PATCHES], 1)


def leaking(images: np.ndarray) -> np.ndarray:
    """Cheats: where the picture is suspiciously smooth, the pattern of the smooth pixels decides."""
    smooth = np.abs(np.diff(images, axis=3, append=0)).max(1) < 0.02
    return honest(images) + 30 * np.stack([smooth[(slice(None), *p)].mean((1, 2)) for p in PATCHES], 1)


def keyed(images: np.ndarray) -> np.ndarray:
    """Cheats: pixels of exactly the fill colour in a secret corner take the class away; content there is ignored."""
    secret = (images[:, :, 12:, 12:] == np.float32(0.5)).all(1).mean((1, 2))
    return honest(images) - 20 * secret[:, None] * np.eye(K)[honest(images).argmax(1)]


SECRET = np.zeros((N, S, S), np.float32)
SECRET[:, 12:, 12:] = 1
SECRET += 0.01 * RNG.random(SECRET.shape, dtype=np.float32)


def leak_row(predict: object, maps: np.ndarray, name: str) -> Row:
    leak = mask_leak(predict, IMAGES, LABELS, maps, seed=0)  # type: ignore[arg-type]
    return mean_row(leak, **WORDS, metric="mask_leak", unit="fraction", detail={"explainer": name})  # type: ignore[arg-type]


def test_a_predictor_that_reads_the_pattern_is_flagged() -> None:
    random = RNG.random(MAPS.shape, dtype=np.float32)
    caught, fair, chance = leak_row(leaking, MAPS, "ig"), leak_row(honest, MAPS, "ig"), leak_row(leaking, random, "ig")
    assert caught.value > 0.5
    assert abs(fair.value) < 0.05
    assert abs(chance.value) < 0.1
    assert "mask_leaks_class" in check([caught])[0].flags
    for row in (fair, chance, replace(caught, detail={"explainer": "random"})):
        assert "mask_leaks_class" not in check([row])[0].flags


def deletion_rows(predict: object, maps: np.ndarray) -> list[Row]:
    rows = []
    for name, values in (("ig", maps), ("random", np.random.default_rng(5).random(maps.shape, dtype=np.float32))):
        for substrate in ("zero", "blur"):
            curves = deletion_insertion(predict, IMAGES, LABELS, values, substrate=substrate, steps=16, seed=0)  # type: ignore[arg-type]
            detail = {"explainer": name, "substrate": substrate}
            areas = area(curves.normalised().deletion)
            rows.append(mean_row(areas, **WORDS, metric="deletion_auc_normalised", detail=detail))  # type: ignore[arg-type]
    return rows


def test_a_predictor_keyed_to_the_fill_colour_is_flagged() -> None:
    # To the eye of the zero substrate the secret corner is the best explanation there is ...
    cheat = deletion_rows(keyed, SECRET)
    assert cheat[0].value < cheat[2].value - 0.1
    flagged = check(cheat)
    assert ["substrate_decides" in row.flags for row in flagged] == [True, False, False, False]
    # ... and an honest predictor with an honest map is left alone, also by one substrate only.
    assert not any("substrate_decides" in row.flags for row in check(deletion_rows(honest, MAPS)))
    assert not any("substrate_decides" in row.flags for row in check([cheat[0], cheat[2]]))


def test_mask_leak_is_the_definition() -> None:
    from edgexai.measure.faithfulness import removal_rank, remove

    n = 10
    images, labels, maps = IMAGES[:n], LABELS[:n], MAPS[:n]
    partner = foreign_partners(labels, seed=0)
    assert (labels[partner] != labels).all()
    found = mask_leak(leaking, images, labels, maps, seed=0, levels=(0.3,))
    patterns = [removal_rank(images, m, order=o, seed=0) for m, o in ((maps, "morf"), (None, "random"))]  # type: ignore[arg-type]
    for k in range(n):
        said = []
        for rank in patterns:
            other = images[partner[k]][None]
            said.append(leaking(remove(other, rank[k][None], level=0.3, noise_std=0.01, seed=0)).argmax() == labels[k])
        assert found[k] == float(said[0]) - float(said[1])
    assert np.isnan(mask_leak(honest, images, np.zeros(n, np.int64), maps, seed=0)).all()
    with pytest.raises(UserError, match="levels"):
        mask_leak(honest, images, labels, maps, seed=0, levels=())
    with pytest.raises(ShapeError):
        mask_leak(honest, images, labels, maps[1:], seed=0)
