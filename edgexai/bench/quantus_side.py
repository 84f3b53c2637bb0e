"""Runs Quantus 0.5.3 in an interpreter of its own, on orders from ``metrics_over_quantus``: one JSON object a line.

Not imported by edgexai: it is started as a script, because Quantus needs NumPy below 2.4. The network is read from the
same files, the arrays from the same .npz; answers go back as JSON.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from edgexai.models import store

_PLAIN = {"disable_warnings": True, "display_progressbar": False, "normalise": False, "abs": False}


def serve(folder: Path) -> None:
    """Answers orders on standard input until it ends."""
    quantus = import_module("quantus")
    torch.set_num_threads(1)
    with np.load(folder / "arrays.npz", allow_pickle=False) as data:
        given = {name: data[name] for name in data.files}
    net = store.load(folder / "network").eval()
    linear = _Linear(torch.from_numpy(given["weights"])).eval()
    sys.stdout.write(json.dumps({"quantus": quantus.__version__, "numpy": np.__version__}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        order = json.loads(line)
        before = process_time()
        values = _MEASURES[order["do"]](quantus, given, net, linear)
        answer = {"seconds": process_time() - before, "values": np.asarray(values, np.float64).tolist()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class _Linear(torch.nn.Module):
    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(weights, requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logit = (images * self.weights).sum((1, 2, 3))
        return torch.stack([logit, torch.zeros_like(logit)], 1)


def _call(metric: Any, net: torch.nn.Module, given: dict[str, Any], *, softmax: bool, **more: Any) -> Any:
    batch = {"x_batch": given["images"], "y_batch": given["labels"], "a_batch": given["maps"][:, None], **more}
    return metric(model=net, channel_first=True, softmax=softmax, device="cpu", **batch)


def _road(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    levels = given["percentages"].tolist()
    found = _call(quantus.ROAD(percentages=levels, noise=0.0, **_PLAIN), net, given, softmax=False)
    return [found[level] for level in levels]


def _pixel_flipping(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    metric = quantus.PixelFlipping(features_in_step=64, perturb_baseline=0.5, **_PLAIN)
    few = {"x_batch": given["images"][:8], "y_batch": given["labels"][:8], "a_batch": given["maps"][:8, None]}
    return _call(metric, net, given, softmax=True, **few)


def _sparseness(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    return _call(quantus.Sparseness(**{**_PLAIN, "abs": True}), net, given, softmax=False)


def _complexity(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    return _call(quantus.Complexity(**{**_PLAIN, "abs": True}), net, given, softmax=False)


def _pointing(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    masks = given["relevance"][:, None].astype(np.float32)
    return _call(quantus.PointingGame(**_PLAIN), net, given, softmax=False, s_batch=masks)


def _max_sensitivity(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    made = iter(given["copies"])

    def perturb(arr: Any, indices: Any, indexed_axes: Any, **_: Any) -> Any:
        return next(made_one)

    def explain(model: Any, inputs: Any, targets: Any, **_: Any) -> Any:
        return (np.asarray(inputs) ** 2 * given["weights"]).sum(1, keepdims=True)

    # Quantus hands over image by image, copy after copy.
    made_one = (image for copy in made for image in copy)
    metric = quantus.MaxSensitivity(nr_samples=len(given["copies"]), perturb_func=perturb, **_PLAIN)
    return _call(metric, net, given, softmax=False, a_batch=None, explain_func=explain, batch_size=len(given["images"]))


def _input_stability(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    metric = quantus.RelativeInputStability(disable_warnings=True)
    parts = [
        metric.relative_input_stability_objective(
            given["images"].astype(float),
            copy.astype(float),
            given["maps"][:, None].astype(float),
            moved[:, None].astype(float),
        )
        for copy, moved in zip(given["copies"], given["moved"], strict=True)
    ]
    return np.max(parts, axis=0)


def _output_stability(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    metric = quantus.RelativeOutputStability(disable_warnings=True)
    parts = [
        metric.relative_output_stability_objective(
            given["logits"].astype(float), answers.astype(float), given["maps"].astype(float), moved.astype(float)
        )
        for answers, moved in zip(given["copy_logits"], given["moved"], strict=True)
    ]
    return np.max(parts, axis=0)


def _of_linear(given: dict[str, Any]) -> dict[str, Any]:
    few = given["images"][:8]
    return {
        "x_batch": few,
        "y_batch": np.zeros(len(few), np.int64),
        "a_batch": given["exact"][: len(few), None],
    }


def _infidelity(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    metric = quantus.Infidelity(perturb_baseline=0.5, perturb_patch_sizes=[8], n_perturb_samples=1, **_PLAIN)
    return _call(metric, linear, given, softmax=False, **_of_linear(given))


def _sensitivity_n(quantus: Any, given: dict[str, Any], net: Any, linear: Any) -> Any:
    metric = quantus.SensitivityN(features_in_step=64, n_max_percentage=0.5, perturb_baseline=0.5, **_PLAIN)
    return _call(metric, linear, given, softmax=False, **_of_linear(given))


_MEASURES = {
    "road": _road,
    "pixel_flipping": _pixel_flipping,
    "sparseness": _sparseness,
    "complexity": _complexity,
    "pointing": _pointing,
    "max_sensitivity": _max_sensitivity,
    "input_stability": _input_stability,
    "output_stability": _output_stability,
    "infidelity": _infidelity,
    "sensitivity_n": _sensitivity_n,
}

if __name__ == "__main__":
    serve(Path(sys.argv[1]))
