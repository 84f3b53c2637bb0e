"""The ``lime`` package as its users run it: an image at a time, its own batch of 10, a progress bar for nobody."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.bench.workshop import SEED
from edgexai.models.base import Network
from edgexai.types import Images, Labels, Segments


def package_lime(
    net: Network, images: Images, targets: Labels, *, segments: Segments, n_samples: int
) -> NDArray[np.float64]:
    """Coefficients (N,S) from the ``lime`` package with the torch network.

    Raises:
        ImportError: the package is not installed.
    """

    def classify(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            pixels = torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
            shares: NDArray[np.float32] = net(pixels).softmax(1).numpy()
        return shares

    return package_lime_of(classify, images, targets, segments=segments, n_samples=n_samples)


def package_lime_of(
    classify: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    images: Images,
    targets: Labels,
    *,
    segments: Segments,
    n_samples: int,
) -> NDArray[np.float64]:
    """Coefficients (N,S) from the ``lime`` package with any classifier: images (N,H,W,3) -> probabilities (N,K).

    Raises:
        ImportError: the package is not installed.
    """
    explainer_class: Any = import_module("lime.lime_image").LimeImageExplainer
    coefficients = np.zeros((len(images), int(segments.max()) + 1))
    for index, (image, target) in enumerate(zip(images, targets.tolist(), strict=True)):
        explainer = explainer_class(random_state=SEED)
        with redirect_stderr(io.StringIO()):
            found = explainer.explain_instance(
                image.transpose(1, 2, 0),
                classify,
                labels=(target,),
                top_labels=None,
                num_samples=n_samples,
                segmentation_fn=lambda _: segments,
            )
        for segment, value in found.local_exp[target]:
            coefficients[index, segment] = value
    return coefficients


def missing_package() -> str:
    """Why the package cannot be run here; "" where it can."""
    try:
        import_module("lime.lime_image")
    except ImportError as error:
        return f'the lime package is not here ({error}); pip install "edgexai[reference]"'
    return ""
