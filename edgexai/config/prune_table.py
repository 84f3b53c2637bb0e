"""The [prune] table of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgexai.config.fields import Eps, Fraction01, Positive, Table


class PruneTable(Table):
    """Channels physically removed to a target ("channel"), or weights held at zero ("masked"), then fine-tuned.

    A key that decides nothing under the method keeps its default, see ``undecided``.
    """

    method: Literal["channel", "masked"]
    importance: Literal["group_l2", "l1", "l2", "bn_scale", "taylor", "fisher", "attribution", "robust", "random"] = (
        Field("group_l2", description="what a channel is worth; 'random' is the control")
    )
    macs_ratio: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="target: share of the dense network's MACs, at most; 0.5 where no target is given"
    )
    round_to: Positive = Field(16, description="widths become multiples of this")
    finetune_epochs: Annotated[int, Field(ge=0)] = 4
    augment_strength: Fraction01 = Field(1.0, description="of the fine-tuning; after [refine], refine.augment_strength")
    adversarial_weight: Annotated[float, Field(ge=0)] | None = Field(
        None, description="of the fine-tuning after [refine]; refine.adversarial_weight when absent"
    )
    batch_size: Positive = 64
    lr: Annotated[float, Field(gt=0)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    parameter_ratio: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="target instead: share of the dense network's parameters, at most"
    )
    latency_ms: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="target instead: of the fp32 engine here, one image, one thread, no other work; met within 10 %",
    )
    scope: Literal["per_layer", "global", "isomorphic", "structured"] = Field(
        "per_layer",
        description="what competes; 'isomorphic': channels of like layers; 'structured': masks of whole filters",
    )
    steps: Positive = Field(1, description="portions in which channels go; each is scored anew")
    step_epochs: Annotated[int, Field(ge=0)] = Field(1, description="fine-tuning after every portion but the last")
    score_images: Positive = Field(512, description="training images, stratified, for importances that look at data")
    eps: Eps = Field("8/255", description="of the attack of importance = 'robust'")
    amount: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="share of weights or filters masked")
    amount_linear: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="of linear layers, where masks are per layer; if absent, amount"
    )
    when: Literal["before", "after"] = Field("after", description="masks: before training from scratch, or after it")
    attribution_weight: Annotated[float, Field(ge=0)] = Field(
        0.0, description="fine-tuning keeps the class activation map near the dense network's; 0 = off"
    )

    def undecided(self) -> set[str]:
        """Keys that decide nothing under this method, importance and scope."""
        channel = {"importance", "macs_ratio", "parameter_ratio", "latency_ms", "round_to", "steps"}
        channel |= {"step_epochs", "score_images", "eps"}
        masked, tuning = {"amount", "amount_linear", "when"}, {"finetune_epochs", "augment_strength", "batch_size"}
        tuning |= {"lr", "weight_decay", "attribution_weight", "adversarial_weight"}
        if self.method == "masked":
            unused = channel if self.scope == "per_layer" else channel | {"amount_linear"}
            return unused | (tuning if self.when == "before" else set())
        unused = masked if self.steps > 1 else masked | {"step_epochs"}
        if self.importance not in ("taylor", "fisher", "attribution", "robust"):
            unused |= {"score_images"}
        return unused if self.importance == "robust" else unused | {"eps"}

    def targets(self) -> dict[str, float]:
        """The one target of channels by name; none for masks."""
        if self.method == "masked":
            return {}
        names = ("macs_ratio", "parameter_ratio", "latency_ms")
        given = {name: float(getattr(self, name)) for name in names if getattr(self, name) is not None}
        return given or {"macs_ratio": 0.5}

    @model_validator(mode="after")
    def _coherent(self) -> PruneTable:
        fields = type(self).model_fields
        set_in_vain = [k for k in fields if k in self.undecided() and getattr(self, k) != fields[k].default]
        if set_in_vain:
            by = f'method = "{self.method}"' + (f' with when = "{self.when}"' if self.method == "masked" else "")
            raise ValueError(f"{by} does not use {', '.join(set_in_vain)}; take that out")
        if len(self.targets()) > 1:
            raise ValueError(f"{', '.join(self.targets())}: give one target only")
        allowed = ("per_layer", "global", "structured" if self.method == "masked" else "isomorphic")
        if self.scope not in allowed:
            raise ValueError(f'scope = "{self.scope}": method = "{self.method}" takes {", ".join(allowed)}')
        return self
