"""From a finished run to its bundle: golden vectors of the deployed network, and everything packed."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgexai.board.bundle import Contents, write_bundle
from edgexai.board.golden_make import make_golden
from edgexai.board.sbom import LICENCES
from edgexai.config.cards import read_card
from edgexai.data import pack
from edgexai.errors import UserError
from edgexai.probe.probe_set import read_probes
from edgexai.recipe.deployed import deployed_of, read_lock
from edgexai.recipe.lock import LOCK
from edgexai.recipe.run_folder import ROWS
from edgexai.types import Progress, Row

GOLDEN_IMAGES, GOLDEN_MAPS, REBUILDS = 1000, 200, 16
_SETTINGS = ("attacks", "eps", "explainers", "lime_samples", "square_n", "square_queries", "strong_eps")


def bundle_run(
    folder: Path,
    out: Path,
    *,
    home: Path,
    target: str | None = None,
    n_golden: int = GOLDEN_IMAGES,
    repeats: int = REBUILDS,
    progress: Progress = lambda event: None,
) -> dict[str, Any]:
    """Packs the run in ``folder`` as ``out`` and returns the manifest.

    Args:
        folder: run folder of a recipe with [export] and [measure].
        out: the tar.
        home: ``EDGEXAI_HOME`` with the store that the run was made in.
        target: board it is meant for; any where None.
        n_golden: golden images; all probes where there are fewer.
        repeats: recalibrations behind the tolerance.
        progress: takes events.

    Raises:
        UserError: as ``deployed_of``; or the probes are too few for golden vectors.
    """
    run = deployed_of(folder, home=home)
    if run.recipe.measure is None or run.recipe.export is None:
        raise UserError(f"{run.lock['name']}: nothing to bundle")
    probes = read_probes(run.entries["probe"])
    data = pack.read(run.entries["data"])
    n = min(n_golden, len(probes.labels))
    golden = make_golden(
        run.path,
        run.entries["export"] / "fp32.onnx",
        probes.images[:n],
        probes.labels[:n],
        artefact=run.artefact,
        n_maps=min(GOLDEN_MAPS, n),
        calibration=run.calibration(data.splits["train"]),
        method=run.calibration_method,
        repeats=repeats,
        runtime=f"onnxruntime {version('onnxruntime')} CPU",
        progress=progress,
    )
    settings = run.recipe.measure.model_dump(mode="json", exclude_none=True)
    named, licence = run.recipe.data.name, read_card(run.recipe.data.name).licence
    contents = Contents(
        name=run.lock["name"],
        recipe=run.lock["name"],
        arm=run.arm,
        artefact=run.artefact,
        engine=run.path,
        probes=run.entries["probe"],
        golden=golden,
        lock=(folder / LOCK).read_bytes(),
        rows=_rows(folder, run.arm, run.artefact),
        classes=data.classes,
        measure={
            **{name: settings[name] for name in _SETTINGS if name in settings},
            "fill": [float(value) for value in data.mean],
            "saliency": run.recipe.export.saliency,
            "seed": run.recipe.seed,
            "size": int(probes.images.shape[-1]),
        },
        versions={name: str(value) for name, value in run.lock["environment"].items() if name in LICENCES},
        licences=[
            {"what": "edgexai, and agent.pyz made of it", "licence": "Apache-2.0"},
            {"what": f"images of {named} among probes and golden vectors", "licence": licence},
            {"what": f"the network, trained on {named}", "licence": "as its maker says; none is given here"},
        ],
        target=target,
    )
    return write_bundle(contents, out)


def bundle_name(folder: Path) -> str:
    """File name for the bundle of a run folder: recipe and run, e.g. ``pruned_signs-0a1b2c3d4e5f.tar``."""
    lock = read_lock(folder)
    plain = re.sub(r"[^\w.-]+", "_", str(lock["name"])).strip(".-") or "recipe"
    return f"{plain}-{str(lock['run'])[:12]}.tar"


def _rows(folder: Path, arm: str, artefact: str) -> bytes:
    """The workstation's rows of the deployed network."""
    lines = (folder / ROWS).read_text(encoding="utf-8").splitlines() if (folder / ROWS).is_file() else []
    rows = [Row.from_json(line) for line in lines if line.strip()]
    return "".join(row.to_json() + "\n" for row in rows if (row.arm, row.artefact) == (arm, artefact)).encode()
