"""The [model] table of a recipe: an architecture of edgexai, or a network of the user's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from edgexai.config.fields import Positive, Table


def _check_factory(text: str) -> str:
    module, colon, function = text.partition(":")
    if not colon or not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f'"{text}" does not name a function; write "module:function", as in "mynets.small:make"')
    return text


def _check_weights(text: str) -> str:
    if not text.endswith(".safetensors"):
        raise ValueError(f'"{text}" is not a .safetensors file; no other form is read, for those may run code')
    return text


Factory = Annotated[str, AfterValidator(_check_factory)]
Weights = Annotated[str, AfterValidator(_check_weights)]


class ModelTable(Table):
    """Which architecture; widths default to the architecture's own. Or ``factory``: a network of your own.

    ``factory = "module:function"`` names ``function(n_classes, size) -> torch.nn.Module``, whose forward takes float32
    (N,3,size,size) in [0,1] and returns logits (N,n_classes): it normalises by itself if it wants to. ``feature_map``
    says what else the module has; everything is checked before training starts, and nothing of it by validation.
    """

    name: Literal["signnet", "resnet18", "resnet20", "mobilenet_v2", "densenet_small", "vgg16", "lisa_cnn", "own"]
    widths: tuple[Positive, ...] | None = Field(None, strict=False, description="channels per stage")
    factory: Factory | None = Field(
        None, description='"module:function" of your own network, with name = "own" (which may be left out)'
    )
    weights: Weights | None = Field(
        None, description="of your own network: a .safetensors file that training starts from"
    )
    feature_map: Literal["none", "features", "linear_head"] = Field(
        "none",
        description="of your own network: 'features': it has features(images) -> (N,C,h,w) and classify(features); "
        "'linear_head': also head, a Linear on their global average (needed for cam)",
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, table: Any) -> Any:
        if isinstance(table, dict) and "factory" in table and "name" not in table:
            return {"name": "own", **table}
        return table

    @model_validator(mode="after")
    def _own_or_ours(self) -> ModelTable:
        if self.name == "own":
            if self.factory is None:
                raise ValueError('name = "own" needs factory = "module:function"')
            if self.widths is not None:
                raise ValueError("widths: a network of your own has its own; leave them out")
            return self
        given = [key for key in ("factory", "weights") if getattr(self, key) is not None]
        given += ["feature_map"] if self.feature_map != "none" else []
        if given:
            raise ValueError(f'{", ".join(given)}: only with name = "own", not "{self.name}"')
        return self

    @model_serializer(mode="wrap")
    def _what_decides(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # The keys of networks trained before there were own ones must stay.
        table: dict[str, Any] = dump(self)
        own = ("factory", "weights", "feature_map")
        return table if self.name == "own" else {k: v for k, v in table.items() if k not in own}
