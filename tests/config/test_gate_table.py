"""[gate]: names with a meaning of their own, columns, conditions; what is refused and what is suggested."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgexai.cli.shown import shown_recipe
from edgexai.config.column import parse_column
from edgexai.config.gate_table import GateTable
from edgexai.config.load import checked_recipe, load_recipe, parse_toml
from edgexai.config.metric_names import METRIC_NAMES
from edgexai.errors import UserError
from edgexai.report import words

SQUARE = "robust_acc attack=square eps=8/255"


def test_columns_are_kept_beside_the_names_of_old() -> None:
    table = GateTable.model_validate({"clean_acc": ">= 0.9", SQUARE: ">= 0.5", "map_drift": "<=0.1"})
    said = table.model_dump(exclude_none=True)
    assert said == {"clean_acc": ">= 0.9", SQUARE: ">= 0.5", "map_drift": "<=0.1"}
    assert parse_column(SQUARE) == ("robust_acc", {"attack": "square", "eps": "8/255"})
    assert GateTable.model_validate({"robust_acc_difference against=control": ">= 0"})
    assert GateTable.model_validate({"relative_input_stability": "<= -1e-2"})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"map_drft": "<= 0.1"}, 'did you mean "map_drift"'),
        ({"qqqq": "<= 0.1"}, "allowed: "),
        ({"clean_acc": "> 0.9"}, 'write ">= 0.97"'),
        ({"map_drift": "0.9"}, 'write ">= 0.97"'),
        ({"robust_acc attack square": ">= 0.5"}, "write a metric and details"),
        ({"map_drift": 0.1}, "valid string"),
    ],
)
def test_faults_are_told(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GateTable.model_validate(table)


def test_a_recipe_and_an_override_may_name_columns(tmp_path: Any) -> None:
    loaded = load_recipe("natural_signs", [f'gate.{SQUARE}=">= 0.5"', "gate.map_drift=<= 0.25", "measure.ledger_n=8"])
    assert loaded.recipe.gate is not None
    said = loaded.recipe.gate.model_dump(exclude_none=True)
    assert said[SQUARE] == ">= 0.5"
    assert said["map_drift"] == "<= 0.25"
    shown = tmp_path / "shown.toml"
    shown.write_text(shown_recipe(loaded), encoding="utf-8")
    text, raw = parse_toml(shown)
    assert checked_recipe(raw, name="shown", path=shown, text=text).recipe == loaded.recipe
    with pytest.raises(UserError, match="map_drift"):
        load_recipe("natural_signs", ["gate.map_drft=<= 0.25"])
    for asked in ("gate.map_drift=<= 0.25", "gate.agreement step=fp32=>= 0.9"):
        with pytest.raises(UserError, match="ledger_n"):
            load_recipe("natural_signs", [asked])
    with pytest.raises(UserError, match="explain_n = 4"):
        load_recipe("natural_signs", ["measure.ledger_n=8", "measure.explain_n=4"])


def test_every_metric_with_a_name_in_the_report_can_be_a_gate() -> None:
    assert set(words.METRIC_NAMES) - {"gate"} <= set(METRIC_NAMES)
    assert len(set(METRIC_NAMES)) == len(METRIC_NAMES)
