"""The table of what a run's golden vectors would catch: rebuilt engines that must pass, broken ones that must not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edgexai.board.detection import Answers, Line, detection
from edgexai.board.golden import map_parts
from edgexai.board.rebuilds import Rebuild, rebuilds
from edgexai.board.sabotage import exchanged, layers, scaled_layer
from edgexai.data import pack
from edgexai.errors import UserError
from edgexai.export import FLAVOURS
from edgexai.measure.drift import decision_agreement
from edgexai.probe.probe_set import read_probes
from edgexai.recipe.bundle import REBUILDS
from edgexai.recipe.deployed import Deployed, deployed_of
from edgexai.types import Images, Maps, Progress

_OFF = (0.02, 0.05, 0.10, 0.20)
_PAIRS = 12


def detection_of_run(
    folder: Path,
    *,
    home: Path,
    n: int,
    n_maps: int,
    pool: int,
    repeats: int = REBUILDS,
    tries: int = 1000,
    seed: int = 0,
    progress: Progress = lambda event: None,
) -> list[Line]:
    """Runs every engine once on ``pool`` test images, then draws.

    Args:
        folder: run folder.
        home: ``EDGEXAI_HOME``.
        n, n_maps: of a golden draw.
        pool: images to draw from; all of the split where it has fewer.
        repeats: recalibrations behind a try's limits; twice as many are made.
        tries: draws.
        seed: of the draws.
        progress: takes events.

    Raises:
        UserError: as ``bundle_run``.
    """
    from edgexai.probe.make import probe_index  # torch: only when it runs

    run = deployed_of(folder, home=home)
    data = pack.read(run.entries["data"])
    split = data.splits[str(read_probes(run.entries["probe"]).settings["split"])]
    chosen = split.take(probe_index(split.labels, min(pool, len(split)), seed=seed))
    images = chosen.as_float()
    some = min(2 * n_maps, len(images))
    golden, maps = Rebuild("golden", run.path).run(images, n_maps=some)

    def answers(rebuild: Rebuild, given: Images = images) -> Answers:
        logits, found = rebuild.run(given, n_maps=some)
        progress({"what": rebuild.kind})
        return Answers(logits, _parts(maps, found, decision_agreement(golden, logits)))

    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        good: dict[str, list[Answers]] = {}
        made = rebuilds(
            run.entries["export"] / "fp32.onnx",
            run.path,
            artefact=run.artefact,
            calibration=run.calibration(data.splits["train"]),
            method=run.calibration_method,
            repeats=2 * repeats,
            work=place,
        )
        for rebuild in made:
            good.setdefault(rebuild.kind, []).append(answers(rebuild))
        good["re-exported"] = [answers(Rebuild("re-exported", _exported_again(run, place)))]
        bad: dict[str, list[Answers]] = {
            "red and blue swapped": [answers(Rebuild("swapped", run.path), images[:, ::-1])]
        }
        for arm, path in _stale(run).items():
            bad[f"stale weights: {arm}"] = [answers(Rebuild(f"stale {arm}", path))]
        rng = np.random.default_rng([seed, 1])
        pairs = [rng.choice(golden.shape[1], 2, replace=False) for _ in range(_PAIRS)]
        kept = _parts(maps, maps, np.ones(len(golden), np.bool_))
        bad["two classes exchanged"] = [Answers(exchanged(golden, int(a), int(b)), kept) for a, b in pairs]
        for off in _OFF:
            of = bad.setdefault(f"a layer's scale off by {off:.0%}", [])
            for layer in layers(onnx.load(run.path)):
                for factor in (1 + off, 1 - off):
                    scaled_layer(run.path, place / "scaled.onnx", layer, factor=factor)
                    of.append(answers(Rebuild(f"{layer} x {factor:g}", place / "scaled.onnx")))
    return detection(golden, good, bad, n=n, n_maps=n_maps, repeats=repeats, tries=tries, seed=seed)


def _stale(run: Deployed) -> dict[str, Path]:
    """Arm -> the same export, or the float one, of the networks that came before the deployed one."""
    found = {}
    for arm, folder in run.earlier.items():
        for name in ("fp32", run.artefact):
            if (folder / f"{name}.onnx").is_file():
                found[arm] = folder / f"{name}.onnx"
    return found


def _exported_again(run: Deployed, place: Path) -> Path:
    """The twin exported once more and, where the file is int8, calibrated on the draw the export used."""
    table = run.recipe.export
    if table is None:
        raise UserError("the recipe has no [export]")
    from edgexai.models import store

    net = store.load(run.entries["network"])
    again, out = place / "again.onnx", place / "again_deployed.onnx"
    FLAVOURS["fp32"].load()(net, again, opset=table.opset, saliency=table.saliency, metadata={})
    if run.artefact == "fp32":
        return again
    if run.artefact == "fp16":
        FLAVOURS["fp16"].load()(again, out, metadata={})
        return out
    images = run.export_calibration(pack.read(run.entries["data"]).splits["train"])
    FLAVOURS[run.artefact].load()(
        again, out, flavour=run.artefact, images=images, metadata={}, calibration=run.calibration_method
    )
    return out


def _parts(golden: Maps | None, found: Maps | None, same: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    return None if golden is None or found is None else map_parts(golden, found, same=same[: len(golden)])
