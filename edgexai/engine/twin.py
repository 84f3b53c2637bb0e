"""The twin as both callables: forward-only on NumPy, and differentiable on torch tensors."""

from __future__ import annotations

import torch

from edgexai.errors import MissingCapability
from edgexai.models.base import Network
from edgexai.types import Images, Logits


class Twin:
    """The PyTorch network an engine was made from, in eval mode.

    ``twin(images)`` is ``Predict``; ``twin.net`` is ``Differentiable``.
    """

    def __init__(self, net: Network, *, device: str = "cpu", batch_size: int = 256) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise MissingCapability("no CUDA device for torch", next_step="use --device cpu")
        self.net = net.to(device).eval().to(memory_format=torch.channels_last)
        self.device, self.batch_size = device, batch_size
        self.runtime = f"torch {torch.__version__.split('+')[0]} {device.upper()}"

    def __call__(self, images: Images) -> Logits:
        """(N,3,H,W) -> (N,K)."""
        out = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                batch = torch.from_numpy(images[start : start + self.batch_size]).to(self.device)
                out.append(self.net(batch.contiguous(memory_format=torch.channels_last)).cpu())
        logits: Logits = torch.cat(out).numpy()
        return logits
