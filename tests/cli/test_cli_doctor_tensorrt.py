"""What ``edgexai doctor`` says of TensorRT: what is missing, and that its check of files is no run."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec

import pytest

from edgexai.cli.doctor import needs
from edgexai.cli.machine import findings
from edgexai.cli.options import Device
from edgexai.config.load import load_recipe


def test_what_is_missing_is_named() -> None:
    found = {finding.name: finding for finding in findings(data_root=None)}
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert not found["tensorrt"].here
        assert "libcuda.so.1" in found["tensorrt"].detail
        assert "JetPack" in found["tensorrt"].remedy
    rtx = found["tensorrt-rtx"]
    assert rtx.here == (find_spec("tensorrt_rtx") is not None)
    assert ("never run" in rtx.detail) if rtx.here else ("pip install tensorrt-rtx" in rtx.remedy)


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
def test_a_recipe_needs_the_runtime_it_names(runtime: str) -> None:
    recipe = load_recipe("quickstart", overrides=[f'engine.runtime="{runtime}"']).recipe
    wanted = needs(recipe, device=Device.CPU)
    assert {"onnxruntime", "tensorrt"} & set(wanted) == {runtime}
    assert runtime in {finding.name for finding in findings(data_root=None)}
