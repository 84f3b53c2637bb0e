"""Schema of a recipe: what each table may say, its defaults and its limits. Imports no torch.

A table that is absent is a stage that does not run. Strict: unknown keys and wrong types are faults, and all of them
are reported at once (see ``load.py``).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def pixels(text: str) -> float:
    """``"8/255"`` or ``"0.03"`` -> 0.0313...; epsilon is always in pixels of [0,1]."""
    return float(Fraction(text.replace(" ", "")))


def _check_eps(text: str) -> str:
    try:
        value = pixels(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f'"{text}" is not a fraction or a number; write "8/255"') from error
    if not 0 < value <= 1:
        raise ValueError(f'"{text}" is not in (0, 1]')
    return text


Eps = Annotated[str, AfterValidator(_check_eps)]
Fraction01 = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """Base of every table: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataTable(Table):
    """Which data set, at which size, and how much of it is held out by track for validation."""

    name: Literal["gtsrb", "signs", "signs_shortcut"] = Field(description="dataset card")
    size: Annotated[int, Field(ge=16, le=256)] = Field(32, description="side of the square input, pixels")
    validation: Annotated[float, Field(gt=0, lt=0.5)] = Field(0.1, description="share of tracks held out, per class")
    per_class: Positive | None = Field(None, description="rendered training images per class; only for rendered data")
    rendered: Annotated[int, Field(ge=0)] = Field(
        0, description="rendered images per class added to the photographs that train; never to val or test"
    )


class ModelTable(Table):
    """Which architecture; widths default to the architecture's own."""

    name: Literal["signnet", "resnet18", "vgg16", "lisa_cnn"]
    widths: tuple[Positive, ...] | None = Field(None, strict=False, description="channels per stage")


class TrainTable(Table):
    """Natural training from scratch."""

    method: Literal["natural"]
    epochs: Positive = 12
    batch_size: Positive = 64
    lr: Annotated[float, Field(gt=0)] = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    label_smoothing: Fraction01 = Field(0.0, description="of this training, of refinement and of fine-tuning")
    weight_average: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="decay per step of the averaged weights that are kept; 0 switches averaging off"
    )
    augment: Literal["sign", "none"] = Field("sign", description="'sign' never flips: a flip changes the class")
    augment_strength: Fraction01 = Field(1.0, description="scales every range of the augmentation")


class RefineTable(Table):
    """LIME-guided refinement: rounds of explain -> detect -> refine."""

    method: Literal["lime"]
    rounds: Positive = 3
    epochs: Positive = Field(4, description="per round")
    batch_size: Positive = 64
    lr: Annotated[float, Field(gt=0)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    grid: Annotated[int, Field(ge=3, le=16)] = Field(8, description="cells per side")
    n_images: Positive = Field(1000, description="training images explained per round, stratified")
    n_samples: Annotated[int, Field(ge=64)] = Field(256, description="LIME masks per image and repeat")
    repeats: Annotated[int, Field(ge=2)] = Field(3, description="LIME seeds per image, for instability")
    relevance: Literal["mask", "roi", "none"] = Field("roi", description="what tells sign from background")
    importance_quantile: Fraction01 = Field(0.8, description="tau: within-image quantile of |beta|")
    sensitivity_quantile: Fraction01 = Field(0.9, description="within-image quantile of cell-mean |d logit|")
    instability: Annotated[float, Field(gt=0)] = Field(0.5, description="std / |mean| of beta over repeats")
    max_flagged: Fraction01 = Field(0.25, description="cap: share of cells flagged in one image")
    class_frequency: Fraction01 = Field(0.3, description="rho: a cell is flagged for the class above this share")
    mask_probability: Fraction01 = Field(
        0.7, description="chance that a training image has its flagged cells replaced; 0 switches masking off"
    )
    replace: Literal["swap", "mean"] = Field("swap", description="by another image's cells, or by the data set's mean")
    sensitivity_weight: Annotated[float, Field(ge=0)] = Field(0.1, description="share of the task loss at the start")
    adversarial_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="alpha of the adversarial term")
    eps: Eps = Field("8/255", description="of the adversarial term")
    augment_strength: Fraction01 = Field(0.5, description="weaker than natural training's: attacks augment already")
    weight_average: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="decay per step of the averaged weights that are kept; 0 switches averaging off"
    )
    control: Literal["random_masks", "none"] = Field("random_masks", description="same budget with random cells")


class PruneTable(Table):
    """Structured pruning: channels physically removed to a MACs ratio, then fine-tuned."""

    method: Literal["channel"]
    importance: Literal["group_l2", "random"] = "group_l2"
    macs_ratio: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="of the dense network's MACs, at most")
    round_to: Positive = Field(16, description="widths become multiples of this")
    finetune_epochs: Annotated[int, Field(ge=0)] = 4
    augment_strength: Fraction01 = Field(1.0, description="of the fine-tuning; after [refine], refine.augment_strength")
    adversarial_weight: Annotated[float, Field(ge=0)] | None = Field(
        None, description="of the fine-tuning after [refine]; refine.adversarial_weight when absent"
    )
    batch_size: Positive = 64
    lr: Annotated[float, Field(gt=0)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4


class ExportTable(Table):
    """The ONNX file: precision is written into the graph, never asked of a builder."""

    precision: Literal["fp32", "int8"] = "int8"
    saliency: Literal["cam", "none"] = Field("cam", description="second output of the same graph")
    opset: Annotated[int, Field(ge=18, le=20)] = 18
    calibration_images: Annotated[int, Field(ge=32)] = Field(512, description="training images, stratified")
    min_agreement: Fraction01 = Field(0.98, description="parity gate: share of validation decisions kept")


class EngineTable(Table):
    """What runs the ONNX file."""

    runtime: Literal["onnxruntime"]
    threads: Annotated[int, Field(ge=0)] = Field(0, description="0 = one per core")


class MeasureTable(Table):
    """What is measured on every engine."""

    explainers: tuple[Literal["vg", "ig", "smoothgrad", "gradcam", "cam", "lime"], ...] = Field(
        ("vg", "ig", "smoothgrad", "gradcam", "lime"), strict=False
    )
    attacks: tuple[Literal["fgsm", "pgd", "square", "noise"], ...] = Field(
        ("fgsm", "pgd", "square", "noise"), strict=False
    )
    eps: tuple[Eps, ...] = Field(("2/255", "8/255"), strict=False)
    n: Positive = Field(1000, description="test images, stratified, for attacks and explanations")
    clean_n: Positive | None = Field(None, description="test images for clean accuracy; all when absent")
    pgd_steps: Positive = 40
    square_queries: Positive = 1000
    square_n: Positive = Field(300, description="images under Square, at the largest eps")
    explain_n: Positive = Field(300, description="images whose maps are scored")
    lime_samples: Annotated[int, Field(ge=64)] = 512


class GateTable(Table):
    """Conditions on the deployed engine, e.g. ``clean_acc = ">= 0.97"``; decided on the interval's bound."""

    clean_acc: str | None = None
    robust_acc: str | None = Field(None, description="PGD at the largest eps")
    agreement: str | None = None
    roi_share: str | None = None
    latency_ms: str | None = None

    @model_validator(mode="after")
    def _well_formed(self) -> GateTable:
        for name, text in self.model_dump(exclude_none=True).items():
            if not re.fullmatch(r"(>=|<=)\s*\d+(\.\d+)?", text):
                raise ValueError(f'{name} = "{text}": write ">= 0.97" or "<= 2.5"')
        return self


class Recipe(Table):
    """A whole recipe."""

    title: str
    seed: Annotated[int, Field(ge=0)] = 0
    source: str = Field("", description="the paper this follows, if any")
    data: DataTable
    model: ModelTable
    train: TrainTable
    refine: RefineTable | None = None
    prune: PruneTable | None = None
    export: ExportTable | None = None
    engine: EngineTable | None = None
    measure: MeasureTable | None = None
    gate: GateTable | None = None

    @model_validator(mode="after")
    def _order(self) -> Recipe:
        for later, earlier in (("engine", "export"), ("measure", "engine"), ("gate", "measure")):
            if getattr(self, later) is not None and getattr(self, earlier) is None:
                raise ValueError(f"[{later}] needs [{earlier}]")
        return self
