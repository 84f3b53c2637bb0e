"""CAM and Grad-CAM: which places of the last feature map speak for the target class.

Sources: Zhou et al., 2016 (arXiv 1512.04150); Selvaraju et al., 2017 (arXiv 1610.02391), computed by Captum's
``LayerGradCam``. Convention: weighted sum over channels, ReLU, then bilinear interpolation with
``align_corners=False`` to the image's size; the map is not normalised. For global average pooling and a linear head,
Grad-CAM of the last feature map is CAM divided by its number of places h*w.
"""

from __future__ import annotations

from difflib import get_close_matches

import torch
from captum.attr import LayerGradCam
from torch import nn
from torch.nn.functional import interpolate

from edgexai.errors import UserError
from edgexai.explain.contract import check_gradient_inputs, points_per_pass


def gradcam(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int = 0,
    layer: nn.Module | str | None = None,
    batch_size: int = 128,
) -> torch.Tensor:
    """Grad-CAM at ``layer``.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched, and no
            hook stays.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: unused: nothing is drawn.
        layer: a submodule with output (N,C,h,w), or its name as in ``model.named_modules()``. When None, the one that
            makes ``model.features``' output; of a network without features, the outermost module that makes the last
            map of more than one place.
        batch_size: images per pass, fewer of large ones.

    Returns:
        (N,H,W) >= 0, detached; all zero where no place speaks for the class.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, a target that is no class, or a layer that cannot be used.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    explainer = LayerGradCam(model, _layer(model, images[:1], layer))
    maps = []
    per_pass = points_per_pass(images, batch_size)
    for start in range(0, len(images), per_pass):
        chunk = images[start : start + per_pass].detach().clone().requires_grad_(True)
        small = explainer.attribute(chunk, target=targets[start : start + per_pass], relu_attributions=True)
        if small.ndim != 4:
            raise UserError(f"layer gives {tuple(small.shape)}; Grad-CAM needs a feature map (N,C,h,w)")
        maps.append(_enlarge(small.detach(), images))
    return torch.cat(maps)


def cam(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, *, seed: int = 0, batch_size: int = 128
) -> torch.Tensor:
    """Exact class activation map of a network that ends in global average pooling and a linear head.

    Args:
        model: images -> logits (N,K), in eval mode, with ``features`` and an ``nn.Linear`` named ``head``.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: unused: nothing is drawn.
        batch_size: images per pass, fewer of large ones.

    Returns:
        (N,H,W) >= 0, detached, without gradients: forward passes only.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, a target that is no class, or a network that does not end that way (it is tried on
            the first image).
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    features, head = getattr(model, "features", None), getattr(model, "head", None)
    if not callable(features) or not isinstance(head, nn.Linear):
        raise UserError("cam needs model.features and a linear model.head", next_step="use gradcam for this network")
    maps = []
    with torch.no_grad():
        first = images[:1].detach()
        feature_map = features(first)
        if feature_map.ndim != 4 or feature_map.shape[1] != head.in_features:
            raise UserError(
                f"cam: features give {tuple(feature_map.shape)}, the head takes {head.in_features} channels",
                next_step="use gradcam for this network",
            )
        pooled, logits = head(feature_map.mean(dim=(2, 3))), model(first)
        if (pooled - logits).abs().max() > 1e-3 * logits.abs().max():
            raise UserError(
                "cam: the logits are not the linear head of the globally averaged features, so the map would be wrong",
                next_step="use gradcam for this network",
            )
        per_pass = points_per_pass(images, batch_size)
        for start in range(0, len(images), per_pass):
            part = slice(start, start + per_pass)
            small = torch.einsum("nchw,nc->nhw", features(images[part].detach()), head.weight[targets[part]])
            maps.append(_enlarge(small.relu()[:, None], images))
    return torch.cat(maps)


def _enlarge(small: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    height, width = images.shape[2:]
    return interpolate(small, size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def _layer(model: nn.Module, image: torch.Tensor, layer: nn.Module | str | None) -> nn.Module:
    """The submodule that is meant."""
    if isinstance(layer, nn.Module):
        return layer
    if layer is None:
        return _last_layer(model, image)
    named: dict[str, nn.Module] = dict(model.named_modules())
    if layer not in named or not layer:
        near = get_close_matches(layer, named, n=3)
        raise UserError(
            f'gradcam: the network has no layer "{layer}"' + (f"; near: {', '.join(near)}" if near else ""),
            next_step="take a name of model.named_modules()",
        )
    return named[layer]


def _last_layer(model: nn.Module, image: torch.Tensor) -> nn.Module:
    """The submodule whose output is what ``model.features`` returns; ``features`` may be a module or a method."""
    features = getattr(model, "features", None)
    if isinstance(features, nn.Module):
        return features
    outputs: list[tuple[nn.Module, object]] = []

    def note(module: nn.Module, _args: object, output: object) -> None:
        if module is not model:
            outputs.append((module, output))

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.no_grad():
            result = (features if callable(features) else model)(image.detach())
    finally:
        for hook in hooks:
            hook.remove()
    # A module called twice (one ReLU for a whole block) would mix two maps.
    calls = [module for module, _ in outputs]
    outputs = [(module, output) for module, output in outputs if calls.count(module) == 1]
    if not callable(features):
        maps = [out for _, out in outputs if isinstance(out, torch.Tensor) and out.ndim == 4 and out[0, 0].numel() > 1]
        if not maps:
            raise UserError(
                "gradcam: the network has no features, and none of its modules makes a map of more than one place",
                next_step="take a method that needs none, such as ig or rise",
            )
        result = maps[-1]
    for module, output in reversed(outputs):
        if output is result:
            return module
    raise UserError(
        "gradcam: what model.features returns is not the output of any submodule",
        next_step="give layer=, a submodule of the network",
    )
