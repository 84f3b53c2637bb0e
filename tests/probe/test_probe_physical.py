"""Patch and sticker in probes: made on the twin, on disk, replayed as rows that state area and control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_probe import probes_of, split, twin

from edgexai.config.load import load_recipe
from edgexai.measure.compare import Measured, difference_rows
from edgexai.measure.flags import check
from edgexai.measure.replay import Replay, replay_attacks
from edgexai.measure.subject import Subject
from edgexai.probe.probe_set import ProbeSet, read_probes, write_probes
from edgexai.recipe.plan import plan
from edgexai.types import Row

NAMES = {f"{name}@0.2" for name in ("patch", "patch-random", "sticker", "sticker-random")}


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    words = {"attacks": ("pgd", "patch", "sticker"), "explainers": (), "learn": split(40)}
    return probes_of(twin(), split(), **words, patch_n=8, patch_area=0.2, patch_steps=3)


def replayed(probes: ProbeSet) -> Replay:
    net, out = twin(), Replay()
    who = Subject(net, "natural", "fp32", "engine", "x")
    replay_attacks(who, probes, eps=(), attacks=(), square_queries=1, square_n=1, seed=0, out=out)
    return out


def test_prints_stay_on_the_sign_and_survive_the_disk(probes: ProbeSet, tmp_path: Path) -> None:
    assert set(probes.attacked) > NAMES
    write_probes(probes, tmp_path)
    back = read_probes(tmp_path)
    assert dict(back.settings) == dict(probes.settings)
    assert probes.relevance is not None
    for name in NAMES:
        images = probes.attacked[name]
        assert images.shape == (8, 3, 32, 32)
        np.testing.assert_array_equal(back.attacked[name], images)
        moved = (images != probes.images[:8]).any(1)
        assert moved.any((1, 2)).all()
        assert not (moved & ~probes.relevance[:8]).any()
    # 256 pixels of box, a fifth of it asked for, turned and scaled.
    assert 0.15 < probes.settings["patch_area_of_region"] < 0.25
    assert probes.settings["patch_area_of_image"] == pytest.approx(
        float(probes.settings["patch_area_of_region"]) / 4, abs=1e-4
    )
    assert probes.settings["patch_region"] == "box"


def test_rows_state_area_steps_and_control(probes: ProbeSet) -> None:
    out = replayed(probes)
    rows = {str(row.detail["attack"]): row for row in check(out.rows)}
    assert set(rows) == {"pgd", "patch", "patch-random", "sticker", "sticker-random"}
    for name in ("patch", "sticker"):
        row, control = rows[name], rows[f"{name}-random"]
        assert "eps" not in row.detail
        assert row.detail["area"] == 0.2
        assert row.detail["steps"] == 3
        assert row.detail["region"] == "box"
        assert row.detail["source"] == "transfer"
        assert row.control == "the same print in random colours"
        assert "steps" not in control.detail
        assert row.n == control.n == 8
        images = probes.attacked[f"{name}@0.2"]
        assert row.value == (twin()(images).argmax(1) == probes.labels[:8]).mean()
        # An area is no radius: rules about growing eps leave it alone.
        assert not {"robust_not_falling", "noise_beats_attack"} & set(row.flags)
    measured = [Measured("natural", name, "x", out.verdicts, "absent") for name in ("fp32", "fp16")]
    told = difference_rows(*measured, against="fp32", seed=0)
    assert {(str(r.detail["attack"]), r.detail.get("area"), r.detail.get("eps")) for r in told} >= {
        ("patch", 0.2, None), ("pgd", None, "0.1"),
    }  # fmt: skip
    assert all(Row.from_json(row.to_json()) == row for row in told)


def test_a_recipe_that_asks_for_no_print_has_the_table_it_had() -> None:
    def table(*overrides: str) -> dict[str, object]:
        recipe = load_recipe("natural_signs", list(overrides)).recipe
        nodes = plan(recipe, data_digest="", machine="")
        return dict(next(node.table for node in nodes if node.stage == "probe"))

    assert not any(key.startswith("patch") for key in table("measure.patch_n=7"))
    asked = table('measure.attacks=["pgd", "sticker"]', "measure.patch_area=0.2")
    assert {key: asked[key] for key in asked if key.startswith("patch")} == {
        "patch_n": 200, "patch_area": 0.2, "patch_steps": 100,
    }  # fmt: skip
