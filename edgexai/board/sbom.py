"""What a bundle is made of, for people who must know: an SBOM in CycloneDX 1.5, and the licences in plain words.

Everything follows from the bundle's contents: no time, no serial number, no look at the machine that packs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from edgexai.errors import MissingCapability

LICENCES = {
    "captum": "BSD-3-Clause",
    "edgexai": "Apache-2.0",
    "numpy": "BSD-3-Clause",
    "onnx": "Apache-2.0",
    "onnxruntime": "MIT",
    "onnxruntime-gpu": "MIT",
    "python": "PSF-2.0",
    "torch": "BSD-3-Clause",
    "torch-pruning": "MIT",
}
"""Of the packages a lock names, as their own metadata say."""


def sbom(name: str, versions: Mapping[str, str], files: Mapping[str, Mapping[str, Any]]) -> bytes:
    """``sbom.json``.

    Args:
        name: of the bundle.
        versions: package -> version of what made the network; entries that are no packages are left out.
        files: member -> {"sha256", "bytes"}.
    """
    components: list[dict[str, Any]] = [
        {
            "type": "library",
            "name": package,
            "version": versions[package],
            "licenses": [{"license": {"id": licence}}],
            "properties": [{"name": "edgexai:role", "value": "made the network; travels as " + _travels(package)}],
        }
        for package, licence in sorted(LICENCES.items())
        if package in versions
    ]
    components += [
        {"type": "file", "name": member, "hashes": [{"alg": "SHA-256", "content": about["sha256"]}]}
        for member, about in sorted(files.items())
    ]
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "firmware", "name": name}},
        "components": components,
    }
    return (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()


def licences_text(licences: Sequence[Mapping[str, str]]) -> bytes:
    """``LICENSES.txt``: who may use what, then the text of edgexai's own licence.

    Raises:
        MissingCapability: this installation has lost its licence file.
    """
    lines = [f"{about['what']}: {about['licence']}" for about in licences]
    return ("\n".join([*lines, "", "edgexai's own licence", "", _own_licence()]).rstrip() + "\n").encode()


def _travels(package: str) -> str:
    return "agent.pyz" if package == "edgexai" else "nothing: the board brings its own"


def _own_licence() -> str:
    checkout = Path(__file__).resolve().parents[2]
    # Installed, that folder is everybody's, and a LICENSE in it anybody's.
    if (checkout / "pyproject.toml").is_file() and (checkout / "LICENSE").is_file():
        return (checkout / "LICENSE").read_text(encoding="utf-8")
    try:
        text = distribution("edgexai").read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None
    if not text:
        raise MissingCapability("edgexai's licence file is missing", next_step="install edgexai again")
    return text
