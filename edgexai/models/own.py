"""A network of the user's own behind the interface that every network of edgexai has, checked when it is built.

Contract of the factory: ``function(n_classes, size) -> torch.nn.Module``. The module takes float32 (N,3,size,size) in
[0,1] - not normalised; it does that itself if it wants to - and returns float32 logits (N,n_classes), each row from its
own image alone. With ``features(images) -> (N,C,h,w)`` and ``classify(features)`` Grad-CAM works; with a linear
``head`` on the global average of the features also the exact class activation map, the engine's second output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models.arch import Arch, OwnFactory
from edgexai.models.base import Network
from edgexai.models.own_module import faulty_line, load_factory

_CLOSE = 1e-3
_NEXT = "function(n_classes, size) must return a torch.nn.Module that takes images (N,3,size,size) in [0,1]"


class OwnNetwork(Network):
    """The user's module; ``body`` is the whole of it."""

    def __init__(self, arch: Arch, module: nn.Module, *, feature_map: str) -> None:
        super().__init__(arch, module)
        self.linear_head = feature_map == "linear_head"
        if feature_map == "none":
            # explainers and losses ask whether there are features
            self.features = None  # type: ignore[assignment, method-assign]

    def features(self, images: Tensor) -> Tensor:
        """(N,3,H,W) in [0,1] -> (N,C,h,w), where the module has that."""
        out: Tensor = self.body.features(images)  # type: ignore[operator]
        return out

    def classify(self, features: Tensor) -> Tensor:
        """(N,C,h,w) -> logits (N,K), where the module has that."""
        out: Tensor = self.body.classify(features)  # type: ignore[operator]
        return out

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,H,W) in [0,1] -> logits (N,K)."""
        out: Tensor = self.body(images)
        return out

    def __getattr__(self, name: str) -> Any:
        # Not a submodule of this one: its weights would stand in the state twice.
        return getattr(self.body, "head") if name == "head" else super().__getattr__(name)  # noqa: B009


def build_own(arch: Arch, own: OwnFactory, *, seed: int) -> OwnNetwork:
    """Calls the factory; the same seed gives the same weights, global random state is left alone.

    Raises:
        UserError: the module cannot be found or has changed, the factory fails, or what it returns breaks the contract.
    """
    make = load_factory(own.factory, sha256=own.sha256)
    where = f'model.factory = "{own.factory}"'
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = make(arch.classes, arch.size)
        except Exception as error:
            raise UserError(
                f"{where}: fails for n_classes = {arch.classes}, size = {arch.size}",
                problems=(faulty_line(error),),
                next_step=_NEXT,
            ) from error
        if not isinstance(module, nn.Module):
            raise UserError(f"{where}: returned {type(module).__name__}", next_step=_NEXT)
        net = OwnNetwork(arch, module, feature_map=own.feature_map)
        check_own(net, own)
    return net


@torch.no_grad()
def check_own(net: OwnNetwork, own: OwnFactory) -> None:
    """Holds a network against the contract on a few random images; it stays as it is.

    Raises:
        UserError: wrong shape or type of the logits, NaN or infinity in them, rows that depend on each other, or a
            feature map that is not what ``feature_map`` says.
    """
    arch, where, was_training = net.arch, f'model.factory = "{own.factory}"', net.training
    images = torch.rand(3, 3, arch.size, arch.size, generator=torch.Generator().manual_seed(0)).to(net.mean.device)
    net.eval()
    try:
        logits = net(images)
        wanted = (3, arch.classes)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted or logits.dtype != torch.float32:
            got = f"{logits.dtype} {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(f"{where}: 3 images give {got}, expected torch.float32 {wanted}", next_step=_NEXT)
        if not torch.isfinite(logits).all():
            raise UserError(f"{where}: NaN or infinite logits for images in [0,1]")
        scale = _CLOSE * (1 + float(logits.abs().max()))
        if not torch.allclose(net(images[1:2]), logits[1:2], rtol=0, atol=scale):
            raise UserError(f"{where}: an image's logits depend on the other images of its batch, in eval mode")
        if own.feature_map != "none":
            _check_feature_map(net, images, logits, where=where, said=own.feature_map, scale=scale)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{where}: fails on images (3,3,{arch.size},{arch.size})", problems=(faulty_line(error),), next_step=_NEXT
        ) from error
    finally:
        net.train(was_training)


def _check_feature_map(net: OwnNetwork, images: Tensor, logits: Tensor, *, where: str, said: str, scale: float) -> None:
    lower = 'set model.feature_map = "none"' if said == "features" else 'set model.feature_map = "features" or "none"'
    if missing := [name for name in ("features", "classify") if not hasattr(net.body, name)]:
        raise UserError(f'{where}: model.feature_map = "{said}", but no {" and no ".join(missing)}', next_step=lower)
    features = net.features(images)
    if features.ndim != 4 or len(features) != len(images):
        raise UserError(
            f"{where}: features give {tuple(features.shape)}, expected ({len(images)},C,h,w)", next_step=lower
        )
    if not torch.allclose(net.classify(features), logits, rtol=0, atol=scale):
        raise UserError(f"{where}: classify(features(images)) differs from forward(images)", next_step=lower)
    if said == "features":
        return
    head = getattr(net.body, "head", None)
    if not isinstance(head, nn.Linear) or not torch.allclose(head(features.mean((2, 3))), logits, rtol=0, atol=scale):
        raise UserError(
            f"{where}: the logits are not head(features.mean((2, 3))) with a linear head, so a class activation map "
            "would not be exact",
            next_step=lower,
        )
