"""What ``edgexai explain`` explains: a run's engine with its twin, or any ONNX file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgexai.errors import UserError
from edgexai.types import Predict

if TYPE_CHECKING:
    from torch import nn

    from edgexai.engine.foreign import ForeignOnnx, Preprocessing


@dataclass(frozen=True)
class OpenedModel:
    """A classifier ready to be asked.

    Attributes:
        name: for messages.
        predict: what the black-box methods ask.
        subject: what that is: "engine (int8-tensorrt)", "onnx file", "twin".
        runtime: what runs it.
        size: height and width of the input, pixels.
        classes: names; () where unknown.
        n_classes: K.
        twin: for the gradient methods; None where there is none.
        twin_runtime: "" without a twin.
        exact_cam: the twin ends in global average pooling and a linear head.
        prepared: how images become the file's input, in words for the JSON.
    """

    name: str
    predict: Predict
    subject: str
    runtime: str
    size: tuple[int, int]
    classes: tuple[str, ...]
    n_classes: int
    twin: nn.Module | None
    twin_runtime: str
    exact_cam: bool
    prepared: dict[str, object]


def open_model(
    name: str,
    prepare: Preprocessing,
    *,
    labels: Path | None,
    on: str | None = None,
    classes: int | None = None,
    weights: Path | None = None,
) -> OpenedModel:
    """Opens a recipe's latest run, a run folder, an ONNX file, or a PyTorch network of the user's own.

    Args:
        name: as on the command line.
        prepare: of an ONNX file; nothing of it may be given with a run, only the size with a network.
        labels: text file with a class name a line.
        on: of a run: "engine" or "twin", what black-box methods ask; None: the engine where there is one.
        classes, weights: of a network given as "module:function".

    Raises:
        UserError: nothing of this name, or what is there cannot be explained.
    """
    from edgexai.engine.foreign import ForeignOnnx

    path = Path(name)
    if path.suffix in (".engine", ".plan"):
        raise UserError(
            f"{name}: a TensorRT engine runs on the board it was built on",
            next_step="explain the ONNX file it was built from",
        )
    if path.suffix in (".pt", ".pth", ".bin", ".safetensors", ".h5", ".tflite", ".pkl"):
        raise UserError(
            f"{name}: {path.suffix} files hold weights, not a network that can be run",
            next_step="export it to ONNX, or make a run: model.factory and model.weights in a recipe",
        )
    if path.suffix == ".onnx" or path.is_file():
        if on == "twin":
            raise UserError(f"--on twin: {name} is a file without the network it was made from")
        engine = ForeignOnnx(path, prepare=prepare)
        return _opened(name, engine, "onnx file", labels=labels, twin=None)
    if ":" in name and not path.exists():
        if on is not None:
            raise UserError("--on: chooses between a run's engine and twin", next_step="leave it out")
        return _open_factory(name, prepare, labels, classes, weights)
    return _open_run(name, prepare, labels, on)


def _open_factory(
    name: str, prepare: Preprocessing, labels: Path | None, classes: int | None, weights: Path | None
) -> OpenedModel:
    from dataclasses import replace

    from edgexai.config.own_network import network_digests
    from edgexai.engine.foreign import Preprocessing
    from edgexai.engine.twin import Twin
    from edgexai.models.arch import Arch, OwnFactory
    from edgexai.models.own import OwnNetwork
    from edgexai.models.own_weights import load_own_weights
    from edgexai.models.store import build

    if replace(prepare, size=None) != Preprocessing():
        raise UserError(
            f"{name}: a PyTorch network takes images in [0,1] and gives logits", next_step="only --size goes"
        )
    if classes is None and labels is None:
        raise UserError(f"{name}: how many classes has it?", next_step="give --labels FILE or --classes N")
    count = classes if classes is not None else len(_lines(labels))
    height, width = prepare.size or (224, 224)
    if height != width:
        raise UserError(
            f"--size {height}x{width}: the function is asked for a square input", next_step="give one number"
        )
    digests = network_digests(name, None if weights is None else str(weights))
    own = OwnFactory(name, digests["factory_sha256"], "none")
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    net = build(Arch("own", (), count, height, zero, one, own), seed=0)
    if weights is not None and isinstance(net, OwnNetwork):
        load_own_weights(net, own, weights, sha256=digests["weights_sha256"])
    whole = Twin(net)
    return OpenedModel(
        name, whole, "twin", whole.runtime, (height, height), _names(labels, (), count), count,
        net.eval(), whole.runtime, False, {"input": "images in [0,1]"},
    )  # fmt: skip


def _open_run(name: str, prepare: Preprocessing, labels: Path | None, on: str | None) -> OpenedModel:
    from edgexai.cli.report import find_run
    from edgexai.config.home import default_home
    from edgexai.engine.foreign import ForeignOnnx, Preprocessing
    from edgexai.recipe.deployed import ARTEFACTS
    from edgexai.recipe.twin_of_run import twin_of_run

    if prepare != Preprocessing():
        raise UserError(f"{name}: a run knows its own preprocessing", next_step="leave --mean, --std, --size ... out")
    home = default_home()
    run = find_run(name, home)
    folder = twin_of_run(run, home / "store")
    twin = None if folder is None else _load_twin(folder)
    for artefact in ARTEFACTS if on != "twin" else ():
        file = run / "engine" / f"{artefact}.onnx"
        if file.is_file():
            return _opened(name, ForeignOnnx(file), f"engine ({artefact})", labels=labels, twin=twin)
    if on == "engine":
        raise UserError(f"--on engine: {run} has none", next_step="a recipe with [export] makes one")
    if twin is None:
        raise UserError(
            f"{run}: neither an engine nor the network it was made from is there",
            next_step=f"edgexai recipe run {name}",
        )
    import torch

    from edgexai.engine.twin import Twin

    whole = Twin(twin)  # type: ignore[arg-type]
    arch = whole.net.arch
    return OpenedModel(
        name, whole, "twin", whole.runtime, (arch.size, arch.size), _names(labels, (), arch.classes), arch.classes,
        twin, f"torch {torch.__version__.split('+')[0]} CPU", whole.net.linear_head, {"input": "images in [0,1]"},
    )  # fmt: skip


def _load_twin(folder: Path) -> nn.Module:
    from edgexai.models import store

    return store.load(folder).eval()


def _opened(
    name: str, engine: ForeignOnnx, subject: str, *, labels: Path | None, twin: nn.Module | None
) -> OpenedModel:
    prepared: dict[str, object] = {
        "mean": engine.prepare.mean, "std": engine.prepare.std, "layout": engine.prepare.layout,
        "size": engine.size, "answer": engine.answer,
    }  # fmt: skip
    runtime = ""
    if twin is not None:
        import torch

        runtime = f"torch {torch.__version__.split('+')[0]} CPU"
    return OpenedModel(
        name, engine, subject, engine.runtime, engine.size, _names(labels, _told(engine), engine.classes),
        engine.classes, twin, runtime, bool(getattr(twin, "linear_head", False)), prepared,
    )  # fmt: skip


def _told(engine: ForeignOnnx) -> tuple[str, ...]:
    """Class names from the file's metadata; none where it has none, or something else under that key."""
    try:
        names = json.loads(engine.metadata.get("edgexai.classes", "[]"))
    except ValueError:
        return ()
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _names(file: Path | None, told: tuple[str, ...], count: int) -> tuple[str, ...]:
    if file is None:
        return told if len(told) == count else ()
    names = _lines(file)
    if len(names) != count:
        raise UserError(f"--labels {file}: {len(names)} lines, the network has {count} classes")
    return names


def _lines(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    try:
        return tuple(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--labels {file}: cannot be read: {error}") from error
