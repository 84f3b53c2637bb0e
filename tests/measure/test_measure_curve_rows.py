"""Points of the deletion and insertion curves: means of the values they come from, in their places."""

from __future__ import annotations

import numpy as np
import pytest

from edgexai.measure.curve_rows import curve_rows
from edgexai.measure.deletion import area
from edgexai.measure.subject import Subject


def test_points_are_means_and_their_area_is_the_area() -> None:
    g = np.random.default_rng(0)
    curves = {f"{kind}_curve/{name}": g.random((30, 9)) for kind in ("deletion", "insertion") for name in ("ig", "cam")}
    who = Subject(lambda images: images[:, 0, 0, :2], "natural", "fp32", "engine", "r")
    rows = curve_rows(who, {**curves, "deletion/ig": np.ones(30), "clean/test": np.ones(5, bool)}, split="val", seed=0)
    assert len(rows) == 4 * 9
    for name, values in curves.items():
        kind, _, explainer = name.partition("/")
        mine = [r for r in rows if r.metric == kind and r.detail["explainer"] == explainer]
        assert [r.detail["share"] for r in mine] == [k / 8 for k in range(9)]
        assert [r.value for r in mine] == pytest.approx(values.mean(0).tolist())
        assert all(r.low < r.value < r.high and r.n == 30 and r.split == "val" for r in mine)  # type: ignore[operator]
        points = np.array([[r.value for r in mine]], dtype=np.float64)
        assert area(points)[0] == pytest.approx(area(values).mean())
