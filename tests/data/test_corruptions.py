"""The 19 corruptions against naive second implementations, closed forms and moments; seeded, whatever the batch."""

from __future__ import annotations

import colorsys
import io
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from edgexai.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from edgexai.data.corruptions_blur import disk
from edgexai.data.corruptions_elastic import _sampled
from edgexai.data.corruptions_motion import streak, zoomed
from edgexai.data.corruptions_spatter import _equalised, canny
from edgexai.data.corruptions_weather import plasma
from edgexai.errors import ShapeError, UserError

RANDOM = {
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur"),
    *("snow", "frost", "fog", "elastic_transform", "spatter"),
}
# By the published constants these do not change the image more at every severity.
NOT_MONOTONIC = {"saturate", "elastic_transform", "glass_blur", "frost", "motion_blur"}


def scenes(n: int, size: int = 32) -> NDArray[np.uint8]:
    """Grainy colourful images with some edges; none touches 0 or 255 much."""
    rng = np.random.default_rng(7)
    small = rng.uniform(0.15, 0.85, (n, 6, 6, 3))
    smooth = ndimage.zoom(small, (1, size / 6, size / 6, 1), order=1)
    smooth[:, size // 4 : size // 2, size // 3 : size // 2] *= 0.5
    grain = rng.normal(0, 0.05, smooth.shape)
    return np.round(np.clip(smooth + grain, 0, 1) * 255).astype(np.uint8)


IMAGES = scenes(24)


@pytest.fixture(scope="module")
def made() -> dict[tuple[str, int], NDArray[np.uint8]]:
    before = IMAGES.copy()
    out = {(name, s): corrupt(IMAGES, name, severity=s, seed=5) for name in CORRUPTIONS for s in SEVERITIES}
    assert np.array_equal(before, IMAGES)
    return out


def test_there_are_the_papers_fifteen_and_its_four_extra_ones() -> None:
    assert len(CORRUPTIONS) == 19
    assert list(CORRUPTIONS)[15:] == ["speckle_noise", "gaussian_blur", "spatter", "saturate"]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_seeded_and_gives_new_uint8_images(name: str, made) -> None:  # type: ignore[no-untyped-def]
    for severity in SEVERITIES:
        out = made[name, severity]
        assert out.dtype == np.uint8
        assert out.shape == IMAGES.shape
        assert not np.shares_memory(out, IMAGES)
        assert not np.array_equal(out, IMAGES)
    some = np.array([3, 17])
    alone = corrupt(IMAGES[some], name, severity=2, seed=5, index=some)
    assert np.array_equal(alone, made[name, 2][some]), "an image's corruption depends on its batch"
    other = corrupt(IMAGES[some], name, severity=2, seed=6, index=some)
    assert np.array_equal(other, alone) == (name not in RANDOM)
    moved = corrupt(IMAGES[some], name, severity=2, seed=5, index=some + 1)
    assert np.array_equal(moved, alone) == (name not in RANDOM)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - NOT_MONOTONIC))
def test_a_higher_severity_changes_the_image_more(name: str, made) -> None:  # type: ignore[no-untyped-def]
    changes = [float(((made[name, s].astype(float) - IMAGES) ** 2).mean()) for s in SEVERITIES]
    # Water at severities 1 to 3 is another thing than mud at 4 and 5.
    for part in (changes[:3], changes[3:]) if name == "spatter" else (changes,):
        assert part == sorted(part), changes
        assert part[-1] > 1.2 * part[0]


def naive_contrast(image: NDArray[np.float64], severity: int) -> NDArray[np.float64]:
    times = [0.75, 0.5, 0.4, 0.3, 0.15][severity - 1]
    out = np.empty_like(image)
    for c in range(3):
        mean = sum(image[:, :, c].ravel().tolist()) / image[:, :, c].size
        out[:, :, c] = mean + times * (image[:, :, c] - mean)
    return out


def by_hsv(image: NDArray[np.float64], change) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    flat = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in image.reshape(-1, 3)]
    return np.array(flat).reshape(image.shape)


def naive_brightness(image: NDArray[np.float64], severity: int) -> NDArray[np.float64]:
    more = [0.05, 0.1, 0.15, 0.2, 0.3][severity - 1]
    return by_hsv(image, lambda h, s, v: (h, s, min(v + more, 1)))


def naive_saturate(image: NDArray[np.float64], severity: int) -> NDArray[np.float64]:
    times, more = [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)][severity - 1]
    return by_hsv(image, lambda h, s, v: (h, min(max(s * times + more, 0), 1), v))


def naive_gaussian_blur(image: NDArray[np.float64], severity: int) -> NDArray[np.float64]:
    sigma = [0.4, 0.6, 0.7, 0.8, 1][severity - 1]
    reach = int(4 * sigma + 0.5)
    weights = [math.exp(-(k * k) / (2 * sigma * sigma)) for k in range(-reach, reach + 1)]
    wide = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    out = np.zeros_like(image)
    for i, wi in enumerate(weights):
        for j, wj in enumerate(weights):
            out += wi * wj * wide[i : i + 32, j : j + 32]
    return out / sum(weights) ** 2


def naive_zoom_blur(image: NDArray[np.float64], severity: int) -> NDArray[np.float64]:
    factors = np.arange(1, [1.06, 1.11, 1.16, 1.21, 1.26][severity - 1], 0.01)
    total = image.copy()
    for factor in factors:
        kept = math.ceil(32 / factor)
        top = (32 - kept) // 2
        big = ndimage.zoom(image[top : top + kept, top : top + kept], (factor, factor, 1), order=1)
        trim = (len(big) - 32) // 2
        total += big[trim : trim + 32, trim : trim + 32]
    return total / (len(factors) + 1)


def naive_pixelate(image: NDArray[np.float64], severity: int) -> NDArray[np.float64]:
    side = [30, 28, 27, 24, 20][severity - 1]
    picture = Image.fromarray(np.round(image * 255).astype(np.uint8))
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)) / 255


def naive_jpeg_compression(image: NDArray[np.float64], severity: int) -> NDArray[np.float64]:
    stream = io.BytesIO()
    Image.fromarray(np.round(image * 255).astype(np.uint8)).save(
        stream, format="JPEG", quality=[80, 65, 58, 50, 40][severity - 1]
    )
    return np.asarray(Image.open(io.BytesIO(stream.getvalue()))) / 255


def naive_defocus_blur(image: NDArray[np.float64], severity: int) -> NDArray[np.float64]:
    radius, alias = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][severity - 1]
    kernel = np.zeros((17, 17))
    for y in range(17):
        for x in range(17):
            kernel[y, x] = (x - 8) ** 2 + (y - 8) ** 2 <= radius**2
    kernel /= kernel.sum()
    side = math.exp(-1 / (2 * alias**2))
    soft = np.array([side, 1, side]) / (1 + 2 * side)
    smooth = sum(soft[i] * soft[j] * np.roll(kernel, (i - 1, j - 1), (0, 1)) for i in range(3) for j in range(3))
    wide = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    out = np.zeros_like(image)
    for y in range(17):
        for x in range(17):
            if smooth[y, x]:
                out += smooth[y, x] * wide[y : y + 32, x : x + 32]
    return out


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - RANDOM))
def test_deterministic_corruptions_against_a_naive_one(name: str, severity: int, made) -> None:  # type: ignore[no-untyped-def]
    naive = globals()[f"naive_{name}"]
    for k in (0, 11):
        expected = np.floor(np.clip(naive(IMAGES[k] / 255.0, severity), 0, 1) * 255 + 1e-4).astype(int)
        error = np.abs(expected - made[name, severity][k])
        assert error.max() <= 1
        assert (error > 0).mean() < 0.02


def test_noise_has_the_published_moments() -> None:
    grey = np.full((64, 32, 32, 3), 128, np.uint8)
    value, n = 128 / 255, grey.size
    for s in SEVERITIES:
        got = {
            name: (corrupt(grey, f"{name}_noise", severity=s, seed=1) + 0.5) / 255
            for name in ("gaussian", "shot", "speckle")
        }
        stds = {
            "gaussian": (0.04, 0.06, 0.08, 0.09, 0.10)[s - 1],
            "shot": math.sqrt(value / (500, 250, 100, 75, 50)[s - 1]),
            "speckle": value * (0.06, 0.1, 0.12, 0.16, 0.2)[s - 1],
        }
        for name, std in stds.items():
            assert got[name].mean() == pytest.approx(value, abs=0.003)
            assert got[name].std() == pytest.approx(std, rel=0.02)
        amount = (0.01, 0.02, 0.03, 0.05, 0.07)[s - 1]
        salted = corrupt(grey, "impulse_noise", severity=s, seed=1)
        spread = 4 * math.sqrt(amount / 2 / n)
        assert (salted == 0).mean() == pytest.approx(amount / 2, abs=spread)
        assert (salted == 255).mean() == pytest.approx(amount / 2, abs=spread)
        assert set(np.unique(salted)) == {0, 128, 255}


def test_a_streak_against_single_pixels() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((3, 20, 20, 2))
    degrees = np.array([0.0, 37.0, -90.0])
    got = streak(x, radius=3, sigma=1.5, degrees=degrees)
    weights = [math.exp(-(k**2) / 4.5) for k in range(7)]
    for n, angle in enumerate(np.deg2rad(degrees)):
        for row, column in ((10, 10), (0, 19), (19, 0), (4, 17)):
            total = np.zeros(2)
            for k, weight in enumerate(weights):
                down, right = math.ceil(k * math.sin(angle) - 0.5), math.ceil(k * math.cos(angle) - 0.5)
                total += weight * x[n, min(max(row + down, 0), 19), min(max(column + right, 0), 19)]
            np.testing.assert_allclose(got[n, row, column], total / sum(weights))


def test_a_zoom_is_scipys_zoom() -> None:
    x = np.random.default_rng(1).random((2, 32, 32, 3))
    for factor in (1.0, 1.25, 1.75, 2.25):
        kept = math.ceil(32 / factor)
        top = (32 - kept) // 2
        big = ndimage.zoom(x[1, top : top + kept, top : top + kept], (factor, factor, 1), order=1)
        trim = (len(big) - 32) // 2
        np.testing.assert_allclose(zoomed(x, factor)[1], big[trim : trim + 32, trim : trim + 32], atol=1e-12)


def test_fog_keeps_the_maximum_and_its_clouds_are_a_plasma() -> None:
    clouds = plasma(32, 2.0, [np.random.default_rng(k) for k in range(40)])
    assert clouds.min() == 0
    assert clouds.max() == 1
    # The slower the reach decays, the rougher: neighbours differ more.
    rough = plasma(32, 1.5, [np.random.default_rng(k) for k in range(40)])
    assert np.abs(np.diff(rough, axis=1)).mean() > 1.2 * np.abs(np.diff(clouds, axis=1)).mean()
    dark = np.full((2, 32, 32, 3), 100, np.uint8)
    foggy = corrupt(dark, "fog", severity=3, seed=0)
    # (x + 0.75 p) x / (x + 0.75) at p = 1 is x again, and at p = 0 x^2 / (x + 0.75).
    assert foggy.max() == 100
    assert foggy.min() == int(255 * (100 / 255) ** 2 / (100 / 255 + 0.75) + 1e-4)


def test_glass_takes_whole_colours_from_at_most_a_pixel_away() -> None:
    # A sigma of 0.05 blurs nothing: at severity 1 every pixel is one of its upper-left neighbours, or itself.
    out = corrupt(IMAGES, "glass_blur", severity=1, seed=0)
    x = IMAGES
    near = np.stack([x] + [np.roll(x, move, (1, 2)) for move in ((0, 1), (1, 0), (1, 1))])
    assert (near == out).all(-1).any(0).all()
    assert np.array_equal(out[:, :2], x[:, :2])
    assert np.array_equal(out[:, :, :2], x[:, :, :2])
    moved = [(near[k, :, 2:, 2:] == out[:, 2:, 2:]).all(-1).mean() for k in range(4)]
    assert min(moved) == pytest.approx(0.25, abs=0.06)


def test_sampling_against_scipy() -> None:
    rng = np.random.default_rng(2)
    x = rng.random((2, 16, 16, 3))
    rows, columns = rng.uniform(-6, 22, (2, 2, 16, 16))
    for edge_twice, mode in ((True, "reflect"), (False, "mirror")):
        got = _sampled(x, rows, columns, edge_twice=edge_twice)
        for n in range(2):
            for c in range(3):
                want = ndimage.map_coordinates(x[n, :, :, c], [rows[n], columns[n]], order=1, mode=mode)
                np.testing.assert_allclose(got[n, :, :, c], want, atol=1e-12)


def test_elastic_moves_pixels_by_less_than_the_published_reach() -> None:
    # A ramp's value is its place: what changes is how far pixels came from.
    ramp = np.tile((np.arange(32) * 8)[None, None, :, None], (40, 32, 1, 3)).astype(np.uint8)
    out = corrupt(ramp, "elastic_transform", severity=1, seed=0)
    moved = np.abs(out[:, 8:24, 8:24].astype(float) - ramp[:, 8:24, 8:24]) / 8
    assert 0.5 < moved.mean() < 2.56
    assert moved.max() < 8


def test_canny_finds_the_outline_of_a_square_and_joins_weak_to_strong() -> None:
    levels = np.zeros((3, 20, 20))
    levels[0, 5:15, 5:15] = 200
    levels[1, 5:15, 5:15] = 10
    edges = canny(levels)
    ring = np.zeros((20, 20), bool)
    ring[3:17, 3:17] = True
    ring[7:13, 7:13] = False
    assert edges[0].any()
    assert not edges[0][~ring].any()
    assert 30 <= edges[0].sum() <= 48
    assert not edges[1:].any(), "weak everywhere, or an edge of the image beside"


def test_equalisation_against_a_naive_one() -> None:
    levels = np.random.default_rng(3).integers(0, 21, (3, 12, 12))
    levels[1] = 7
    got = _equalised(levels)
    for n in (0, 2):
        flat = sorted(levels[n].ravel().tolist())
        lowest = flat.count(flat[0])
        for value in set(flat):
            below = sum(v <= value for v in flat) - lowest
            assert got[n][levels[n] == value][0] == round(below * 255 / (144 - lowest))
    assert (got[1] == 7).all()


def test_mud_is_brown_and_water_pale() -> None:
    black, white = np.zeros((60, 32, 32, 3), np.uint8), np.full((60, 32, 32, 3), 255, np.uint8)
    muddy = corrupt(white, "spatter", severity=5, seed=0)
    darkest = muddy.reshape(-1, 3)[muddy.sum(-1).argmin()]
    assert darkest[0] > darkest[1] > darkest[2]
    wet = corrupt(black, "spatter", severity=3, seed=0)
    assert wet[..., 0].max() == 87  # half of 175
    assert wet[..., 1].max() == 119  # half of 238


def test_the_disk_sums_to_one_and_grows() -> None:
    sizes = []
    for radius, alias in ((0.3, 0.4), (1, 0.2), (1.5, 0.1), (6, 0.5)):
        kernel = disk(radius, alias)
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        sizes.append(1 / (kernel**2).sum())
    assert sizes == sorted(sizes)


# Of grain that is as fine as a pixel at both sizes, boxes and JPEG keep what they will: they are not compared.
@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"pixelate", "jpeg_compression"}))
def test_other_sizes_are_corrupted_about_as_much(name: str) -> None:
    small, large = scenes(6, 32), scenes(6, 64)
    change = [float(((corrupt(x, name, severity=4, seed=0).astype(float) - x) ** 2).mean()) for x in (small, large)]
    assert 0.3 < change[1] / change[0] < 3, change


def test_faults_are_told() -> None:
    with pytest.raises(UserError, match="corruption rain at severity 1") as caught:
        corrupt(IMAGES, "rain", severity=1, seed=0)
    assert "fog" in caught.value.next_step
    with pytest.raises(UserError, match="severity 6"):
        corrupt(IMAGES, "fog", severity=6, seed=0)
    for bad in (IMAGES.astype(np.float32), IMAGES[0], IMAGES[:, :20], IMAGES[..., :1]):
        with pytest.raises(ShapeError):
            corrupt(bad, "fog", severity=1, seed=0)
    with pytest.raises(ShapeError, match="2 indices for 24"):
        corrupt(IMAGES, "fog", severity=1, seed=0, index=[0, 1])
    assert corrupt(IMAGES[:0], "fog", severity=1, seed=0).shape == (0, 32, 32, 3)
