"""Recipes whose engine is TensorRT: checked without it, refused before any work where it is not, keyed by machine."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from recipes_for_tests import loaded

from edgexai.config.coherence import incoherences
from edgexai.engine import RUNTIMES
from edgexai.errors import MissingCapability
from edgexai.recipe.keys import plan_keys
from edgexai.recipe.plan import plan
from edgexai.recipe.run import run_recipe

HERE = {"engine.runtime": "tensorrt"}


def keys(machine: str, changes: dict[str, Any]) -> dict[str, str]:
    return plan_keys(plan(loaded("lime", changes).recipe, data_digest="d", machine=machine))


def stages_that_move(changes: dict[str, Any]) -> set[str]:
    one, other = keys("a", changes), keys("b", changes)
    return {name.partition("[")[0] for name in one if one[name] != other[name]}


def test_answers_of_tensorrt_belong_to_a_machine() -> None:
    assert stages_that_move(HERE) == {"engine", "measure", "latency", "compare"}
    assert stages_that_move({}) == {"latency", "compare"}


def test_the_runtime_counts_and_only_from_the_engine_on() -> None:
    one, other = keys("a", {}), keys("a", HERE)
    assert {name.partition("[")[0] for name in one if one[name] != other[name]} == {
        "engine",
        "measure",
        "latency",
        "compare",
    }


def test_every_runtime_of_the_registry_can_be_asked_for() -> None:
    for name in RUNTIMES:
        assert loaded("natural", {"engine.runtime": name, "engine.threads": 0}).recipe.engine is not None
    with pytest.raises(ValidationError, match="onnxruntime"):
        loaded("natural", {"engine.runtime": "openvino"})


def test_threads_are_a_processors() -> None:
    with pytest.raises(ValidationError, match="takes none"):
        loaded("natural", HERE | {"engine.threads": 2})


def test_no_latency_of_another_runtime_chooses_widths() -> None:
    changes = {"prune.latency_ms": 1.0}
    assert not [fault for fault in incoherences(loaded("pruned", changes).recipe) if "latency_ms" in fault]
    faults = incoherences(loaded("pruned", changes | HERE).recipe)
    assert [fault for fault in faults if fault.startswith("prune.latency_ms: candidates are timed in ONNX Runtime")]


def test_it_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(MissingCapability, match=r"libcuda\.so\.1") as caught:
            run_recipe(loaded("natural", HERE), home=tmp_path / "home", device="cpu", data_root=None)
        assert "next:" in str(caught.value)
        assert not list(tmp_path.rglob("*.safetensors"))
        assert not (tmp_path / "home" / "store").exists()
    else:
        pytest.skip("a driver is here")
