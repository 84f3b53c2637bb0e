"""Square attack and sign noise: the ball, query accounting, independence of batching, strength."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edgexai.attack.noise import noise
from edgexai.attack.square import square, square_side
from edgexai.attack.stream import image_streams
from edgexai.errors import ShapeError, UserError
from edgexai.types import Images, Labels, Logits

EPS = 8 / 255


def linear(seed: int = 0, scale: float = 1.0):
    weight = np.random.default_rng(seed).standard_normal((3 * 8 * 8, 5)).astype(np.float32) * np.float32(scale)
    weight -= weight.mean(axis=0)

    def predict(images: Images) -> Logits:
        # A sum whose order does not depend on the batch, so that batches can be compared with singles exactly.
        return np.stack([(image.reshape(-1, 1) * weight).sum(axis=0) for image in images])

    return predict, weight


@pytest.fixture(scope="module")
def images() -> Images:
    return np.random.default_rng(3).random((20, 3, 8, 8), dtype=np.float32)


@pytest.fixture(scope="module")
def labels(images: Images) -> Labels:
    return linear()[0](images).argmax(axis=1)


def test_square_stays_in_the_ball_and_touches_nothing(images: Images, labels: Labels) -> None:
    predict, _ = linear()
    returned: list[tuple[Logits, Logits]] = []

    def watched(batch: Images) -> Logits:
        logits = predict(batch)
        returned.append((logits, logits.copy()))
        return logits

    edge = images.copy()
    edge[0], edge[1] = 0.0, 1.0
    before = edge.copy()
    result = square(watched, edge, labels, eps=EPS, n_queries=50, seed=0)
    assert np.array_equal(edge, before)
    assert all(np.array_equal(now, then) for now, then in returned)
    assert np.abs(result.images - edge).max() <= EPS + 1e-6
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert result.images.dtype == np.float32


def test_square_counts_every_query_and_stops_when_an_image_falls(images: Images, labels: Labels) -> None:
    predict, _ = linear()
    seen = 0

    def counting(batch: Images) -> Logits:
        nonlocal seen
        seen += len(batch)
        return predict(batch)

    wrong_from_the_start = labels.copy()
    wrong_from_the_start[0] = (labels[0] + 1) % 5
    result = square(counting, images, wrong_from_the_start, eps=EPS, n_queries=40, seed=0, batch_size=7)
    assert seen == len(images) + result.queries.sum()
    assert result.queries[0] == 0
    assert result.fooled[0]
    assert np.array_equal(result.images[0], images[0])
    assert (result.queries[~result.fooled] == 40).all()
    assert result.queries.max() <= 40
    assert np.array_equal(result.fooled, predict(result.images).argmax(axis=1) != wrong_from_the_start)


def test_square_batch_equals_singles(images: Images, labels: Labels) -> None:
    predict, _ = linear()
    whole = square(predict, images[:6], labels[:6], eps=0.02, n_queries=60, seed=4)
    split = square(predict, images[:6], labels[:6], eps=0.02, n_queries=60, seed=4, batch_size=2)
    singles = [square(predict, images[k : k + 1], labels[k : k + 1], eps=0.02, n_queries=60, seed=4) for k in range(6)]
    for k, single in enumerate(singles):
        assert np.array_equal(whole.images[k], single.images[0])
        assert whole.queries[k] == single.queries[0] == split.queries[k]
        assert whole.fooled[k] == single.fooled[0]
    other = square(predict, images[:6], labels[:6], eps=0.02, n_queries=60, seed=5)
    assert not np.array_equal(whole.images, other.images)


def test_square_accuracy_falls_with_queries_and_with_eps(images: Images, labels: Labels) -> None:
    predict, _ = linear()
    result = square(predict, images, labels, eps=0.02, n_queries=200, seed=0)
    standing = [int(result.standing_after(q).sum()) for q in range(0, 201, 20)]
    assert standing == sorted(standing, reverse=True)
    assert standing[0] == len(images)
    assert standing[-1] == int((~result.fooled).sum()) < standing[0]
    small = square(predict, images, labels, eps=0.002, n_queries=200, seed=0)
    large = square(predict, images, labels, eps=0.08, n_queries=200, seed=0)
    assert large.fooled.sum() > small.fooled.sum()


def test_square_never_beats_the_optimum_and_comes_near_it(images: Images) -> None:
    """On a linear two-class model the best margin in the ball is known; random search must approach it from above."""
    _, weight = linear()
    eps, two = 0.01, weight[:, :2]
    x = images * 0.5 + 0.25

    def predict(batch: Images) -> Logits:
        return np.stack([(image.reshape(-1, 1) * two).sum(axis=0) for image in batch]) + np.float32([1000.0, 0.0])

    zeros = np.zeros(len(x), dtype=np.int64)  # the offset keeps class 0, so nothing falls and all queries are spent

    def margins(batch: Images) -> np.ndarray:
        return np.array([float(image.reshape(-1) @ (two[:, 0] - two[:, 1])) for image in batch])

    best = margins(x) - eps * np.abs(two[:, 0] - two[:, 1]).sum()
    found = margins(square(predict, x, zeros, eps=eps, n_queries=600, seed=0).images)
    noisy = margins(noise(x, eps=eps, seed=0))
    assert (found >= best - 1e-3).all()
    progress = (margins(x) - found) / (margins(x) - best)
    assert progress.mean() > 0.5
    assert ((margins(x) - noisy) / (margins(x) - best)).mean() < 0.3


def test_square_keeps_the_smallest_margin_it_saw(images: Images, labels: Labels) -> None:
    predict, _ = linear()
    rows: list[Logits] = []

    def recorded(batch: Images) -> Logits:
        rows.append(predict(batch))
        return rows[-1]

    one, label = images[:1], labels[:1]
    result = square(recorded, one, label, eps=0.001, n_queries=30, seed=0)
    assert not result.fooled[0]

    def margin(logits: Logits) -> float:
        others = np.delete(logits[0].astype(float), label[0])
        return float(logits[0, label[0]]) - others.max()

    assert margin(predict(result.images)) == pytest.approx(min(margin(r) for r in rows[1:]), abs=1e-6)


def test_square_schedule() -> None:
    """The paper's table at a budget of 10,000 on 32 x 32 pixels, and the same shares at 1,000."""
    expected = {0: 0.8, 10: 0.8, 11: 0.4, 51: 0.2, 201: 0.1, 501: 0.05, 1001: 0.025, 2001: 0.0125, 9999: 0.8 / 512}
    for iteration, area in expected.items():
        side = max(round((area * 1024) ** 0.5), 1)
        assert square_side(iteration, n_iterations=10_000, height=32, width=32) == side
    assert square_side(0, n_iterations=1000, height=32, width=32) == 29
    assert square_side(2, n_iterations=1000, height=32, width=32) == round((0.4 * 1024) ** 0.5)
    assert square_side(999, n_iterations=1000, height=32, width=32) == 1
    assert square_side(0, n_iterations=10, height=4, width=64) == 4


def test_square_works_with_one_query_and_with_no_images(images: Images, labels: Labels) -> None:
    predict, _ = linear()
    one = square(predict, images, labels, eps=EPS, n_queries=1, seed=0)
    assert set(one.queries) == {1}
    moved = np.abs(one.images - images)
    # Stripes: every column of a channel moves by one sign, and by the whole radius where the range allows.
    inside = (images > EPS) & (images < 1 - EPS)
    np.testing.assert_allclose(moved[inside], EPS, atol=1e-6)
    empty = square(predict, images[:0], labels[:0], eps=EPS, n_queries=5, seed=0)
    assert empty.images.shape == (0, 3, 8, 8)
    assert len(empty.queries) == len(empty.fooled) == 0


def test_square_refuses_bad_input(images: Images, labels: Labels) -> None:
    predict, _ = linear()
    with pytest.raises(UserError, match="n_queries"):
        square(predict, images, labels, eps=EPS, n_queries=0, seed=0)
    with pytest.raises(ShapeError, match="labels"):
        square(predict, images, labels + 5, eps=EPS, n_queries=5, seed=0)
    with pytest.raises(ShapeError, match="predict"):
        square(lambda batch: predict(batch)[:, 0], images, labels, eps=EPS, n_queries=5, seed=0)
    with pytest.raises(UserError, match="finite"):
        square(lambda batch: predict(batch) * np.float32("nan"), images, labels, eps=EPS, n_queries=5, seed=0)


def test_noise_has_the_norm_and_is_a_fair_coin(images: Images) -> None:
    before = images.copy()
    out = noise(images, eps=EPS, seed=0)
    assert np.array_equal(images, before)
    assert out.min() >= 0
    assert out.max() <= 1
    inside = (images > EPS) & (images < 1 - EPS)
    np.testing.assert_allclose(np.abs(out - images)[inside], EPS, atol=1e-6)
    up = (out > images)[inside].mean()
    assert abs(up - 0.5) < 4 * 0.5 / inside.sum() ** 0.5
    assert np.array_equal(out[5:8], noise(images[5:8], eps=EPS, seed=0))
    assert not np.array_equal(out, noise(images, eps=EPS, seed=1))


def test_streams_depend_on_seed_purpose_and_image_only(images: Images) -> None:
    def first(seed: int, purpose: str, index: slice) -> list[float]:
        return [stream.random() for stream in image_streams(images[index], seed=seed, purpose=purpose)]

    whole = first(0, "a", slice(None))
    assert whole[7:9] == first(0, "a", slice(7, 9))
    assert len({*whole, *first(1, "a", slice(None)), *first(0, "b", slice(None))}) == 3 * len(images)


def test_black_box_room_imports_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['scipy'] = None; "
        "import edgexai.attack.square, edgexai.attack.noise, edgexai.attack"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
