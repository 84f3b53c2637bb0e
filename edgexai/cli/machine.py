"""Looks at this machine: packages, devices, data sets, disk. It looks and never installs.

Convention: a package counts as here when it can be imported, for the ones that carry native libraries (torch,
ONNX Runtime), and when its metadata says so for the rest.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgexai.config.home import default_home
from edgexai.errors import EdgexaiError

_AGAIN = "pip install --force-reinstall edgexai"
# Distribution -> what would install it. Those with native libraries are imported on top (see _native).
_PLAIN = {
    "onnx": _AGAIN,
    "captum": _AGAIN,
    "torch-pruning": _AGAIN,
    "lime": "pip install 'edgexai[reference]'",
    "scikit-image": "pip install 'edgexai[reference]'",
    "shap": "pip install 'edgexai[reference]'",
    "mlflow": "pip install 'edgexai[track]'",
    "ray": "pip install 'edgexai[distributed]'",
}
OPTIONAL = frozenset({"tensorrt", "tensorrt-rtx", "lime", "scikit-image", "shap", "mlflow", "ray"})


@dataclass(frozen=True)
class Finding:
    """One capability.

    Attributes:
        name: "torch", "cuda", "data:gtsrb", "home" ...
        here: whether it can be used now.
        detail: version, place or what went wrong.
        remedy: what would bring it; empty when it is here.
    """

    name: str
    here: bool
    detail: str
    remedy: str = ""


def findings(*, data_root: Path | None) -> list[Finding]:
    """Everything edgexai can make use of, here or not, in a fixed order."""
    torch, cuda = _torch()
    tensorrt = [_tensorrt(), _tensorrt_rtx()]
    found = [torch, _onnxruntime(), *tensorrt, *(_package(name, remedy) for name, remedy in _PLAIN.items()), cuda]
    return [*found, *_data_sets(data_root), _home()]


def _torch() -> tuple[Finding, Finding]:
    """The package, and whether it reaches a CUDA device."""
    absent = "install the NVIDIA driver and a CUDA build of torch, or use --device cpu"
    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:
        return Finding("torch", False, _first_line(error), _AGAIN), Finding("cuda", False, "torch is missing", absent)
    there = bool(torch.cuda.is_available())
    device = torch.cuda.get_device_name(0) if there else "torch sees no CUDA device"
    return Finding("torch", True, str(torch.__version__)), Finding("cuda", there, device, "" if there else absent)


def _onnxruntime() -> Finding:
    try:
        runtime = import_module("onnxruntime")
    except (ImportError, OSError) as error:
        return Finding("onnxruntime", False, _first_line(error), _AGAIN)
    providers = [name.removesuffix("ExecutionProvider") for name in runtime.get_available_providers()]
    return Finding("onnxruntime", True, f"{runtime.__version__} ({', '.join(providers)})")


def _tensorrt() -> Finding:
    """Of JetPack or a workstation, with the GPU it needs."""
    from edgexai.engine.cuda import open_cuda
    from edgexai.engine.tensorrt_library import load_tensorrt

    try:
        gpu = open_cuda().gpu()  # before TensorRT is touched
        library = load_tensorrt()
    except EdgexaiError as error:
        return Finding("tensorrt", False, error.what, error.next_step)
    where = f"{gpu.name}, compute capability {gpu.compute_capability}, CUDA {gpu.cuda_runtime}"
    return Finding("tensorrt", True, f"{library.__version__} on {where}; edgexai was not yet run on it by its tests")


def _tensorrt_rtx() -> Finding:
    """NVIDIA's parser as a check of the ONNX."""
    remedy = "pip install tensorrt-rtx: NVIDIA's parser and builder as a check of the ONNX, no GPU wanted"
    found = _package("tensorrt-rtx", remedy)
    if not found.here:
        return found
    return Finding(found.name, True, f"{found.detail}: checks what a board may parse; its engines are never run")


def _package(name: str, remedy: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", remedy)


def _data_sets(data_root: Path | None) -> list[Finding]:
    """Every card, in the order of ``edgexai data ls``."""
    from edgexai.config.cards import card_names
    from edgexai.data.place import find_place

    found = []
    for name in card_names():
        try:
            place = find_place(name, data_root=data_root)
            where = f"{place.base} ({place.what})" if place else "rendered by edgexai, nothing to download"
            found.append(Finding(f"data:{name}", True, where))
        except EdgexaiError as error:
            found.append(Finding(f"data:{name}", False, error.what, error.next_step or "edgexai data ls"))
    return found


def _home() -> Finding:
    """The folder of the store and the runs: writable, and how much fits."""
    home = default_home()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding("home", False, f"{home}: {there} is not writable", "set EDGEXAI_HOME to a folder you may write")
    return Finding("home", True, f"{home} ({shutil.disk_usage(there).free / 1e9:.1f} GB free)")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
