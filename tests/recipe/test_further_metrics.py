"""measure.metrics: every family leaves rows with intervals for engine and twin, and asking for none changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from test_evidence_stages import SMALL, evidence, nodes, rows_of

from edgexai.config.load import load_recipe
from edgexai.errors import UserError
from edgexai.probe.probe_set import read_probes
from edgexai.types import Row

FAMILIES = ["sparsity", "faithfulness", "localisation", "calibration", "stability", "randomisation"]
ASKED = {"measure.metrics": FAMILIES, "measure.metrics_n": 6, "measure.stability_n": 4}
OF_MAPS = {
    "energy_inside", "pointing_game_exact", "wsl", "wsl_best_threshold", "infidelity", "sensitivity_n",
    "comprehensiveness", "sufficiency", "deletion_aopc", "mask_leak",
}  # fmt: skip
OF_CONFIDENCE = {"calibration_error", "aurc", "aurc_excess", "selective_acc"}
OF_TWIN = {"max_sensitivity", "relative_output_stability", "noise_ssim", "mprt_rank_correlation", "mprt_ssim"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Row], dict]:
    folders = evidence(tmp_path_factory.mktemp("further"), ASKED)
    return rows_of(folders), folders


def test_every_family_leaves_rows_of_engine_and_twin(rows: tuple[list[Row], dict]) -> None:
    found, _ = rows
    by_subject = {s: {r.metric for r in found if r.subject == s} for s in ("engine", "twin")}
    for subject in ("engine", "twin"):
        assert by_subject[subject] >= OF_MAPS | OF_CONFIDENCE | {"saliency_entropy"}
    assert by_subject["twin"] >= OF_TWIN
    assert not by_subject["engine"] & OF_TWIN
    fresh = [r for r in found if r.metric in OF_MAPS | OF_CONFIDENCE | OF_TWIN and r.status == "measured"]
    assert fresh
    for row in fresh:
        assert row.n <= 25
        # The logarithm of an end at or below 0 is unknown.
        assert row.unit == "log10" or row.low is not None, row
        assert row.high is not None, row
        assert (row.value if row.low is None else row.low) <= row.value <= row.high, row
    for metric in OF_MAPS:
        shown = {r.detail["explainer"] for r in found if r.metric == metric and r.subject == "engine"}
        assert shown == {"vg", "cam", "random", "centre_gaussian"}, metric
    twin = {r.detail["explainer"] for r in found if r.metric == "infidelity" and r.subject == "twin"}
    assert twin == {"vg", "random", "centre_gaussian"}
    assert {r.detail["map"] for r in found if r.metric == "wsl" and r.detail["explainer"] == "vg"} == {"twin"}
    assert {r.detail["substrate"] for r in found if r.metric == "deletion_auc"} == {"data set mean", "blur"}
    assert {r.detail["coverage"] for r in found if r.metric == "selective_acc"} == {0.8, 0.9, 0.95}


def test_the_cascade_goes_from_the_head_to_the_whole_network(rows: tuple[list[Row], dict]) -> None:
    found, folders = rows
    name = next(name for name in folders if name.startswith("probe"))
    probes = read_probes(folders[name])
    assert probes.cascade is not None
    assert probes.cascade.layers[0] == "head"
    assert len(set(probes.cascade.layers)) == len(probes.cascade.layers) == 5
    assert probes.cascade.maps["vg"].shape == (5, 6, 32, 32)
    for maps in probes.cascade.maps["vg"]:
        assert not np.array_equal(maps, probes.maps["vg"][:6])
    steps = [r for r in found if r.metric == "mprt_rank_correlation" and r.detail["explainer"] == "vg"]
    assert [r.detail["step"] for r in steps] == [1, 2, 3, 4, 5]


def test_asking_for_nothing_changes_no_table() -> None:
    plain, asked = nodes(SMALL), nodes({**SMALL, **ASKED})
    assert not any("metrics" in key or key == "cascade_n" for node in plain for key in node.table)
    changed = {a.name for a, b in zip(plain, asked, strict=True) if a.table != b.table}
    assert {name.split("[")[0] for name in changed} == {"probe", "measure"}
    some = nodes({**SMALL, "measure.metrics": ["calibration"]})
    # Calibration needs nothing of the probes: they are not made again.
    assert {a.name.split("[")[0] for a, b in zip(plain, some, strict=True) if a.table != b.table} == {"measure"}


def test_faults_are_said() -> None:
    with pytest.raises(UserError, match="stability_n"):
        load_recipe("natural_gtsrb", ['measure.metrics=["stability"]'])
    with pytest.raises(UserError, match="twice"):
        load_recipe("natural_gtsrb", ['measure.metrics=["sparsity", "sparsity"]'])
    with pytest.raises(UserError, match=r"measure.metrics\[0\]"):
        load_recipe("natural_gtsrb", ['measure.metrics=["faith"]'])
