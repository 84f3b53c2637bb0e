"""Training on shuffled labels: only the training labels move, and the summary says how much was learnt by heart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import bars
from test_train_stage import job_of

from edgexai.config.load import load_recipe
from edgexai.data import pack
from edgexai.errors import UserError
from edgexai.models import store
from edgexai.recipe.stages_network import train
from edgexai.train.shuffled import shuffled_labels


def test_labels_are_permuted_and_nothing_else() -> None:
    split = bars(60, 1)
    before = split.labels.copy()
    moved = shuffled_labels(split, seed=3)
    assert np.array_equal(np.sort(moved.labels), np.sort(before))
    # a permutation of balanced classes leaves about 1/K in place: here far from all, and far from none moved
    kept = float((moved.labels == before).mean())
    assert abs(kept - (np.bincount(before) ** 2).sum() / 60**2) < 0.2
    assert moved.images is split.images
    assert np.array_equal(split.labels, before)
    assert np.array_equal(shuffled_labels(split, seed=3).labels, moved.labels)
    assert not np.array_equal(shuffled_labels(split, seed=4).labels, moved.labels)


def test_the_stage_trains_on_them_and_says_what_it_learnt(tmp_path: Path) -> None:
    settings = {"shuffle_labels": True, "augment": "none", "label_smoothing": 0.0}
    job = job_of("natural", tmp_path, test_seed=3, **settings)
    train(job)
    summary = json.loads((job.out / "summary.json").read_text())
    split = shuffled_labels(pack.read(tmp_path / "data").splits["train"], seed=job.seed)
    net = store.load(job.out).eval()
    with torch.no_grad():
        right = (net(torch.from_numpy(split.as_float())).argmax(1).numpy() == split.labels).mean()
    assert summary["shuffled_train_acc"] == pytest.approx(float(right))
    plain = job_of("natural", tmp_path / "plain", test_seed=3, augment="none", label_smoothing=0.0)
    train(plain)
    assert "shuffled_train_acc" not in json.loads((plain.out / "summary.json").read_text())
    ours, theirs = (store.load(j.out).state_dict() for j in (job, plain))
    assert any(not torch.equal(a, b) for a, b in zip(ours.values(), theirs.values(), strict=True))


@pytest.mark.parametrize("name", ["lime_gtsrb", "pruned_lime_gtsrb"])
def test_what_trains_on_afterwards_is_refused(name: str) -> None:
    load_recipe(name)
    with pytest.raises(UserError, match="would train on the true labels again"):
        load_recipe(name, ["train.shuffle_labels=true"])
    load_recipe("natural_gtsrb", ["train.shuffle_labels=true"])
