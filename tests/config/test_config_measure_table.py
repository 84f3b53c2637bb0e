"""[measure]: corruptions by name or all, severities 1 to 5, and the split."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgexai.config.corruption_names import CORRUPTION_NAMES
from edgexai.config.load import load_recipe
from edgexai.config.recipe import MeasureTable
from edgexai.errors import UserError


def test_all_is_every_name_however_it_is_written() -> None:
    for text in ("all", ["all"], list(CORRUPTION_NAMES)):
        assert MeasureTable.model_validate({"corruptions": text}).corruptions == CORRUPTION_NAMES
    assert len(CORRUPTION_NAMES) == 19
    table = MeasureTable.model_validate({"corruptions": ["fog", "snow"]})
    assert (table.corruptions, table.corruption_severities, table.corruption_n) == (("fog", "snow"), (1, 3, 5), 300)
    assert MeasureTable().corruptions == ()
    assert MeasureTable().split == "test"
    assert MeasureTable().stability_n == 0
    assert MeasureTable().metrics == ()


@pytest.mark.parametrize(
    "bad",
    [
        {"corruptions": "some"},
        {"corruptions": ["fog", "fog"]},
        {"corruptions": ["all", "fog"]},
        {"corruption_severities": [0]},
        {"corruption_severities": [6]},
        {"corruption_severities": [1.0]},
        {"corruption_severities": []},
        {"corruption_severities": [1, 1]},
        {"corruption_n": 0},
        {"stability_n": -1},
        {"metrics": ["stability"]},
        {"metrics": ["wsl"]},
        {"metrics": ["sparsity", "sparsity"]},
        {"metrics_n": 0},
        {"split": "train"},
    ],
)
def test_what_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MeasureTable.model_validate(bad)


def test_faults_are_said_in_the_users_words() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("natural_gtsrb", ['measure.corruptions=["fogg"]', "measure.corruption_severities=[7]"])
    said = str(caught.value)
    assert 'measure.corruptions[0] = "fogg"' in said
    assert 'did you mean "fog"?' in said
    assert "measure.corruption_severities[0] = 7" in said
    with pytest.raises(UserError, match=r'as in measure.corruptions=\["all"\]'):
        load_recipe("natural_gtsrb", ["measure.corruptions=all"])
    recipe = load_recipe("natural_gtsrb", ['measure.corruptions=["all"]']).recipe
    assert recipe.measure is not None
    assert recipe.measure.corruptions == CORRUPTION_NAMES
