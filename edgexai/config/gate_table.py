"""Schema of [gate]: any number of the evidence, with the bound it must keep.

A key is a metric, alone or with details in quotes: ``"robust_acc attack=square eps=8/255" = ">= 0.5"``. Five names
alone have a meaning of their own, told at the keys.
"""

from __future__ import annotations

import difflib
import re

from pydantic import ConfigDict, Field, model_validator

from edgexai.config.column import check_column, parse_column
from edgexai.config.fields import Table
from edgexai.config.metric_names import METRIC_NAMES

_CONDITION = r"(>=|<=)\s*-?\d+(\.\d+)?([eE][+-]?\d+)?"


class GateTable(Table):
    """Conditions on the deployed engine, e.g. ``clean_acc = ">= 0.97"``; decided on the interval's bound.

    Any other key names rows: ``map_drift``, ``"robust_acc attack=square eps=8/255"``. Every row that fits must keep the
    condition; random and centre-Gaussian maps do not count unless they are named.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, str]

    clean_acc: str | None = None
    robust_acc: str | None = Field(None, description="PGD at the largest eps")
    agreement: str | None = Field(None, description="with the twin, on the measured split")
    roi_share: str | None = Field(None, description="of the best explainer")
    latency_ms: str | None = Field(None, description="median, one image")

    @model_validator(mode="after")
    def _well_formed(self) -> GateTable:
        faults: list[str] = []
        for name, text in self.model_dump(exclude_none=True).items():
            if not re.fullmatch(_CONDITION, text):
                faults.append(f'{name} = "{text}": write ">= 0.97" or "<= 2.5"')
            if name not in type(self).model_fields and (said := _fault(name)):
                faults.append(said)
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _fault(name: str) -> str:
    """What is wrong with a key that names rows; "" where nothing is."""
    try:
        check_column(name)
    except ValueError as error:
        return str(error)
    metric = parse_column(name)[0].removesuffix("_difference")
    if metric in METRIC_NAMES:
        return ""
    near = difflib.get_close_matches(metric, METRIC_NAMES, n=1, cutoff=0.5)
    meant = f'did you mean "{near[0]}"?' if near else f"allowed: {', '.join(METRIC_NAMES)}"
    return f'"{metric}" is no metric; {meant}'
