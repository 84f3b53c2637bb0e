"""The ensemble: worst case per image, what sees what, counting, an engine alone, and runs that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_network import as_predict, falls, linear, quadrants, radius_for

from edgexai.attack.apgd import apgd
from edgexai.attack.ensemble import PARTS, EnsembleResult, ensemble
from edgexai.attack.square import square
from edgexai.errors import ShapeError, UserError

EPS = 0.02
SMALL: dict[str, Any] = {"eps": EPS, "seed": 0, "steps": 8, "square_queries": 25, "batch_size": 16}


def arrays(count: int = 60) -> tuple[torch.nn.Module, Any, np.ndarray, np.ndarray]:
    net, x, y = quadrants()
    labels = y[:count].numpy().copy()
    labels[:3] = (labels[:3] + 1) % 4  # wrong without attack
    return net, as_predict(net), x[:count].numpy(), labels


def same(one: EnsembleResult, other: EnsembleResult) -> bool:
    names = ("images", "fooled_by", "queries")
    return one.parts == other.parts and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


def test_worst_case_per_image_and_what_each_part_sees() -> None:
    net, predict, x, y = arrays()
    found = ensemble(predict, x, y, model=net, **SMALL)
    assert found.parts == PARTS
    assert found.skipped == {}
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    alone = {
        name: apgd(net, *tensors, eps=EPS, seed=0, loss=loss, steps=8, stop_when_fooled=True).fooled.numpy()
        for name, loss in (("apgd-ce", "ce"), ("apgd-dlr", "dlr"))
    }
    alone["square"] = square(predict, x, y, eps=EPS, n_queries=25, seed=0).fooled
    fallen = np.logical_or.reduce(list(alone.values()))
    assert np.array_equal(found.standing, ~fallen)
    assert 0.1 < found.standing.mean() < 0.9
    standing = predict(x).argmax(1) == y
    assert np.array_equal(found.standing_after("clean"), standing)
    assert found.fooled_by[:3].tolist() == [0, 0, 0]
    for place, part in enumerate(PARTS):
        # a part spends queries on exactly the images that stood before it
        assert np.array_equal(found.queries[:, place] > 0, standing)
        standing = standing & ~alone[part]
        assert np.array_equal(found.standing_after(part), standing)
    wrong = predict(found.images).argmax(1) != y
    assert np.array_equal(wrong, ~found.standing)
    assert np.array_equal(found.images[found.standing], x[found.standing])
    assert np.abs(found.images - x).max() <= EPS + 1e-6
    assert found.images.min() >= 0
    assert found.images.max() <= 1


def test_queries_are_the_calls_that_were_made() -> None:
    net, predict, x, y = arrays()
    seen = {"model": 0, "predict": 0}

    def counted_model(batch: torch.Tensor) -> torch.Tensor:
        seen["model"] += len(batch)
        return net(batch)

    def counted_predict(batch: np.ndarray) -> np.ndarray:
        seen["predict"] += len(batch)
        return predict(batch)

    found = ensemble(counted_predict, x, y, model=counted_model, **SMALL)
    stood = [int(found.standing_after(name).sum()) for name in ("clean", "apgd-ce", "apgd-dlr")]
    by_part = found.queries.sum(0)
    assert seen["model"] == by_part[0] + by_part[1] + stood[0] + stood[1]  # one clean pass a part orders the targets
    # predict: all images once, one candidate a part, Square's own clean pass and its queries
    assert seen["predict"] == len(x) + sum(stood) + stood[2] + by_part[2]


def test_an_engine_alone_gets_the_black_box_part_and_says_so() -> None:
    _, predict, x, y = arrays()
    found = ensemble(predict, x, y, **SMALL)
    assert found.parts == ("square",)
    assert set(found.skipped) == {"apgd-ce", "apgd-dlr"}
    assert all("gradients" in why for why in found.skipped.values())
    alone = square(predict, x, y, eps=EPS, n_queries=25, seed=0)
    assert np.array_equal(found.standing, ~alone.fooled)
    assert np.array_equal(found.queries[:, 0], alone.queries)


def test_runs_without_torch_on_an_engine() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['scipy'] = None\n"
        "import numpy as np\n"
        "from edgexai.attack.ensemble import ensemble\n"
        "w = np.random.default_rng(0).standard_normal((192, 3)).astype('f')\n"
        "x = np.random.default_rng(1).random((8, 3, 8, 8), dtype='f')\n"
        "p = lambda b: b.reshape(len(b), -1) @ w\n"
        "r = ensemble(p, x, p(x).argmax(1), eps=0.05, seed=0, square_queries=20)\n"
        "assert r.parts == ('square',) and 0 < r.standing.sum() < 8, r\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_with_a_twin_only_what_fools_the_engine_counts() -> None:
    """The model's attacks are transferred: a candidate that fools the model alone leaves the image standing."""
    net, _, x, y = arrays()
    strong = as_predict(lambda batch: net(batch * 0.5 + 0.25))  # the engine sees half of every perturbation
    here = strong(x).argmax(1) == y
    x, y = x[here], y[here]
    words = {**SMALL, "parts": ("apgd-ce",), "model": net}
    found = ensemble(strong, x, y, transfer=True, **words)
    assert np.array_equal(found.standing, strong(found.images).argmax(1) == y)
    on_model = ensemble(as_predict(net), x, y, transfer=True, **words)
    assert found.standing.sum() > on_model.standing.sum()
    barely = ensemble(strong, x, y, transfer=False, **words)
    assert found.standing.sum() <= barely.standing.sum()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_verdicts_on_a_linear_model_are_the_closed_form(norm: str) -> None:
    model, weight = linear(4)
    x = torch.rand((50, 3, 8, 8), generator=torch.Generator().manual_seed(4)) * 0.4 + 0.3
    y = model(x).argmax(1)
    eps = radius_for(weight, x, y, norm=norm, share=0.5)
    expected, _ = falls(weight, x, y, eps=eps, norm=norm)
    words = {"seed": 0, "norm": norm, "model": model, "square_queries": 5}
    found = ensemble(as_predict(model), x.numpy(), y.numpy(), eps=eps, **words)
    assert np.array_equal(~found.standing, expected)
    assert ("square" in found.skipped) == (norm == "l2")
    smaller = ensemble(as_predict(model), x.numpy(), y.numpy(), eps=0.8 * eps, **words)
    assert (found.standing <= smaller.standing).all()
    assert found.standing.sum() < smaller.standing.sum()


def test_another_part_never_raises_accuracy() -> None:
    net, predict, x, y = arrays()
    before = predict(x).argmax(1) == y
    for k in range(1, 4):
        now = ensemble(predict, x, y, model=net, parts=PARTS[:k], **SMALL).standing
        assert (now <= before).all()
        before = now
    reordered = ensemble(predict, x, y, model=net, parts=PARTS[::-1], **SMALL)
    assert reordered.parts == PARTS


# Killed runs


@pytest.mark.parametrize("batches", [1, 4, 6])
def test_a_run_stopped_after_any_batch_continues_to_the_same_result(tmp_path: Path, batches: int) -> None:
    net, predict, x, y = arrays()
    whole = ensemble(predict, x, y, model=net, **SMALL)
    calls: list[str] = []

    class Stopped(Exception):
        pass

    def until(event: Any) -> None:
        calls.append(event["what"])
        if len(calls) == batches:
            raise Stopped

    with pytest.raises(Stopped):
        ensemble(predict, x, y, model=net, work=tmp_path, progress=until, **SMALL)
    rest: list[str] = []
    again = ensemble(predict, x, y, model=net, work=tmp_path, progress=lambda e: rest.append(e["what"]), **SMALL)
    assert same(whole, again)
    full: list[str] = []
    ensemble(predict, x, y, model=net, progress=lambda e: full.append(e["what"]), **SMALL)
    assert calls + rest == full  # nothing twice, nothing left out
    third = ensemble(predict, x, y, model=net, work=tmp_path, progress=pytest.fail, **SMALL)
    assert same(whole, third)


CHILD = """
import os, signal, sys
import numpy as np
from edgexai.attack.ensemble import ensemble
w = np.random.default_rng(0).standard_normal((192, 3)).astype("f")
x = np.random.default_rng(1).random((40, 3, 8, 8), dtype="f")
calls = 0
def predict(batch):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return np.stack([(image.reshape(-1, 1) * w).sum(0) for image in batch])
labels = np.stack([(image.reshape(-1, 1) * w).sum(0) for image in x]).argmax(1)
found = ensemble(predict, x, labels, eps=0.03, seed=0, square_queries=40, batch_size=8, work=sys.argv[1])
np.savez(sys.argv[3], images=found.images, fooled_by=found.fooled_by, queries=found.queries, calls=calls)
""".replace("work=sys.argv[1]", "work=__import__('pathlib').Path(sys.argv[1])")


def test_a_killed_process_continues_to_the_same_result(tmp_path: Path) -> None:
    def child(work: str, kill_at: int, out: str) -> int:
        command = [sys.executable, "-c", CHILD, str(tmp_path / work), str(kill_at), str(tmp_path / out)]
        return subprocess.run(command, env=dict(os.environ), check=False).returncode

    assert child("whole", -1, "whole.npz") == 0
    assert child("killed", 100, "never.npz") == -signal.SIGKILL
    assert not (tmp_path / "never.npz").exists()
    assert child("killed", -1, "again.npz") == 0
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "again.npz") as again:
        for name in ("images", "fooled_by", "queries"):
            assert np.array_equal(whole[name], again[name]), name
        assert 0 < (whole["fooled_by"] < 0).sum() < 40
        assert again["calls"] < whole["calls"] - 40  # it did not start over


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    net, predict, x, y = arrays()
    words = {**SMALL, "work": tmp_path, "parts": ("square",)}
    ensemble(predict, x, y, **words)
    for images, labels, changed in ((x[::-1].copy(), y, {}), (x, (y + 1) % 4, {}), (x, y, {"eps": 0.03})):
        with pytest.raises(UserError, match="other images, labels or settings"):
            ensemble(predict, images, labels, **{**words, **changed})
    with pytest.raises(UserError, match="another network"):
        ensemble(as_predict(lambda batch: net(batch) * 1.1), x, y, **words)
    (tmp_path / "ensemble.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match="not a state"):
        ensemble(predict, x, y, **words)


def test_no_images(tmp_path: Path) -> None:
    net, predict, x, y = arrays()
    for _ in range(2):
        found = ensemble(predict, x[:0], y[:0], model=net, work=tmp_path, **SMALL)
        assert found.images.shape == (0, 3, 8, 8)
        assert found.queries.shape == (0, 3)


def test_refuses_what_cannot_run() -> None:
    net, predict, x, y = arrays()
    with pytest.raises(UserError, match="no part"):
        ensemble(predict, x, y, norm="l2", **SMALL)
    with pytest.raises(UserError, match="no part"):
        ensemble(predict, x, y, parts=("apgd-ce",), **SMALL)
    with pytest.raises(UserError, match="unknown parts: fab"):
        ensemble(predict, x, y, model=net, parts=("fab",), **SMALL)
    with pytest.raises(UserError, match="batch_size"):
        ensemble(predict, x, y, **{**SMALL, "batch_size": 0})
    with pytest.raises(ShapeError, match="labels"):
        ensemble(predict, x, y + 4, **SMALL)
    with pytest.raises(ShapeError, match=r"\(N,3,H,W\)"):
        ensemble(predict, x[:, :1], y, **SMALL)
