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

_ENGINES = ("int8-tensorrt", "fp32")


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


def open_model(name: str, prepare: Preprocessing, *, labels: Path | None) -> OpenedModel:
    """Opens a recipe's latest run, a run folder, or an ONNX file.

    Args:
        name: as on the command line.
        prepare: of an ONNX file; nothing of it may be given with a run.
        labels: text file with a class name a line.

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
    if path.suffix == ".onnx" or (path.is_file() and not path.is_dir()):
        engine = ForeignOnnx(path, prepare=prepare)
        return _opened(name, engine, "onnx file", labels=labels, twin=None)
    return _open_run(name, prepare, labels)


def _open_run(name: str, prepare: Preprocessing, labels: Path | None) -> OpenedModel:
    from edgexai.cli.report import find_run
    from edgexai.config.home import default_home
    from edgexai.engine.foreign import ForeignOnnx, Preprocessing
    from edgexai.recipe.twin_of_run import twin_of_run

    if prepare != Preprocessing():
        raise UserError(f"{name}: a run knows its own preprocessing", next_step="leave --mean, --std, --size ... out")
    home = default_home()
    run = find_run(name, home)
    folder = twin_of_run(run, home / "store")
    twin = None if folder is None else _load_twin(folder)
    for artefact in _ENGINES:
        file = run / "engine" / f"{artefact}.onnx"
        if file.is_file():
            return _opened(name, ForeignOnnx(file), f"engine ({artefact})", labels=labels, twin=twin)
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
    told = tuple(json.loads(engine.metadata.get("edgexai.classes", "[]")))
    prepared: dict[str, object] = {
        "mean": engine.prepare.mean, "std": engine.prepare.std, "layout": engine.prepare.layout,
        "size": engine.size, "answer": engine.answer,
    }  # fmt: skip
    runtime = ""
    if twin is not None:
        import torch

        runtime = f"torch {torch.__version__.split('+')[0]} CPU"
    return OpenedModel(
        name, engine, subject, engine.runtime, engine.size, _names(labels, told, engine.classes), engine.classes,
        twin, runtime, bool(getattr(twin, "linear_head", False)), prepared,
    )  # fmt: skip


def _names(file: Path | None, told: tuple[str, ...], count: int) -> tuple[str, ...]:
    if file is None:
        return told if len(told) == count else ()
    try:
        names = tuple(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--labels {file}: cannot be read: {error}") from error
    if len(names) != count:
        raise UserError(f"--labels {file}: {len(names)} lines, the network has {count} classes")
    return names
