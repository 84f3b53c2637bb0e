"""Labelled images: where they come from, how they are split, and how they are kept.

Every entry is ``f(table, *, seed, data_root, progress) -> dict[str, Split]``. The version of a rendered set is its
renderer's ``VERSION`` (a test holds the two together), so that a digest needs no renderer, hence no torch.
"""

from __future__ import annotations

from edgexai.registry import Entry

DATASETS: dict[str, Entry] = {
    "gtsrb": Entry("edgexai.data.gtsrb:load_gtsrb", 1),
    "signs": Entry("edgexai.data.rendered:load_rendered", 1),
    "signs_shortcut": Entry("edgexai.data.rendered:load_rendered", 1),
}
