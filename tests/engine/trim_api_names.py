"""Makes api_names.json: members of the TensorRT classes that edgexai uses or must avoid, version by version.

    python tests/engine/trim_api_names.py FULL.json > tests/engine/api_names.json

FULL.json: version -> class -> names, listed by importing the public ``tensorrt-cu1x-bindings`` wheels of 10.3.0,
10.13.3.9 and 11.4.0.106 with empty libraries in the place of NVIDIA's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

VERSIONS = {"10.3.0": "10.3", "10.13.3.9": "10.13", "11.4.0.106": "11.4"}
USED = (
    "Builder",
    "BuilderFlag",
    "DataType",
    "DeviceType",
    "Dims",
    "EngineInspector",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "ITensor",
    "ITimingCache",
    "LayerInformationFormat",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "ProfilingVerbosity",
    "Runtime",
    "TensorIOMode",
)
AVOIDED = (
    "ILayer",
    "IInt8Calibrator",
    "IInt8EntropyCalibrator2",
    "IInt8MinMaxCalibrator",
    "QuantizationFlag",
    "TacticSource",
)


def trimmed(full: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """class -> {"all": members of every version, "10.3": further members of that version, ...}."""
    out: dict[str, dict[str, list[str]]] = {}
    for name in sorted((*USED, *AVOIDED)):
        of = {short: set(full[version][name]) for version, short in VERSIONS.items() if name in full[version]}
        common = set.intersection(*of.values()) if len(of) == len(VERSIONS) else set()
        entry = {short: sorted(members - common) for short, members in of.items()}
        out[name] = {"all": sorted(common), **entry} if len(of) == len(VERSIONS) else entry
    return out


if __name__ == "__main__":
    table = trimmed(json.loads(Path(sys.argv[1]).read_text()))
    rows = [f"{json.dumps(name)}: {json.dumps(entry, separators=(', ', ': '))}" for name, entry in table.items()]
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")
