"""Labelled images: where they come from, how they are split, and how they are kept.

Every entry of ``DATASETS`` is ``f(table, *, seed, data_root, progress) -> Mapping[str, Split]``; a card without one is
a user's own and is read by ``OWN``. Every entry of ``PLACES`` is ``f(*, data_root) -> Place``; what has none is
rendered.
The version of a rendered set is its renderer's ``VERSION`` (a test holds the two together), so that a digest needs no
renderer, hence no torch.
"""

from __future__ import annotations

from edgexai.registry import Entry

DATASETS: dict[str, Entry] = {
    "cifar10": Entry("edgexai.data.cifar:load_cifar", 1),
    "cifar100": Entry("edgexai.data.cifar:load_cifar", 1),
    "cifar10c": Entry("edgexai.data.corrupted:load_corrupted", 1),
    "gtsrb": Entry("edgexai.data.gtsrb:load_gtsrb", 1),
    "gtsrb_c": Entry("edgexai.data.corrupted:load_corrupted", 1),
    "lisa": Entry("edgexai.data.lisa:load_lisa", 1),
    "lisa14": Entry("edgexai.data.lisa:load_lisa", 1),
    "lisa17": Entry("edgexai.data.lisa:load_lisa", 1),
    "signs": Entry("edgexai.data.rendered:load_rendered", 1),
    "signs_shortcut": Entry("edgexai.data.rendered:load_rendered", 1),
}
OWN = Entry("edgexai.data.own:load_own", 1)

PLACES: dict[str, Entry] = {
    "cifar10": Entry("edgexai.data.cifar_files:locate_cifar10", 1),
    "cifar100": Entry("edgexai.data.cifar_files:locate_cifar100", 1),
    "cifar10c": Entry("edgexai.data.cifar_c:locate_cifar10c", 1),
    "gtsrb": Entry("edgexai.data.locate:place_gtsrb", 1),
    "gtsrb_c": Entry("edgexai.data.locate:place_gtsrb_c", 1),
    "lisa": Entry("edgexai.data.lisa_files:locate_lisa", 1),
    "lisa14": Entry("edgexai.data.lisa_files:locate_lisa", 1),
    "lisa17": Entry("edgexai.data.lisa_files:locate_lisa", 1),
}
