"""The first images of every class, for trying out; and digests of cards against torchvision's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgexai.config.cards import card_names, read_card
from edgexai.data.fetch import _ARCHIVES
from edgexai.data.limit import limited
from edgexai.report.folder import RunFolder
from edgexai.types import Split


def split(name: str, labels: list[int]) -> Split:
    n = len(labels)
    images = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    boxes = np.full((n, 4), np.nan, np.float32)
    return Split(name, images, np.array(labels, np.int64), boxes, np.arange(n, dtype=np.int64))


def test_the_first_of_every_class_in_their_order() -> None:
    given = {
        "train": split("train", [2, 0, 0, 2, 0, 2, 1]),
        "val": split("val", [1, 1, 1]),
        "test": split("test", [0] * 9),
    }
    got = limited(given, per_class=2, whole=("test",))
    assert got["train"].tracks.tolist() == [0, 1, 2, 3, 6]
    assert got["val"].tracks.tolist() == [0, 1]
    assert got["test"] is given["test"]
    assert limited(given, per_class=99, whole=("test",))["train"].digest() == given["train"].digest()
    empty = {"val": split("val", [])}
    assert len(limited(empty, per_class=2, whole=())["val"]) == 0


def test_the_report_says_what_was_left_out() -> None:
    def said(**data: object) -> str:
        lock = {"recipe": {"data": {"name": "cifar10", **data}}}
        fields = RunFolder.__dataclass_fields__
        return RunFolder(**{k: lock if k == "lock" else Path() for k in fields}).trained_on

    assert said() == "the training split of cifar10"
    assert said(limit_per_class=3) == "only the first 3 images per class of the training split of cifar10"


def test_digests_are_those_that_torchvision_checks() -> None:
    """Two transcriptions of what the publishers print; of archives that torchvision does not use there is one."""
    from torchvision.datasets import CIFAR10, CIFAR100

    for name, source in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        digests = read_card(name).digests
        for file, md5 in [(source.filename, source.tgz_md5), *source.train_list, *source.test_list]:
            assert digests[file] == f"md5:{md5}", file
        assert source.url.rpartition("/")[0] == _ARCHIVES[name][1].rpartition("/")[0]


def test_what_is_fetched_has_a_digest_in_its_card() -> None:
    for name, (_, address) in _ARCHIVES.items():
        assert address.rpartition("/")[2] in read_card(name).digests


@pytest.mark.parametrize("name", card_names())
def test_every_shipped_card_says_whether_a_mirror_keeps_the_class(name: str) -> None:
    card = read_card(name)
    if not card.own:
        assert card.mirrored is not None
        assert card.mirrored == (not any("mirrored" in trap for trap in card.traps) and not card.boxes)
