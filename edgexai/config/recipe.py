"""Schema of a recipe: what each table may say, its defaults and its limits. Imports no torch.

A table that is absent is a stage that does not run. Strict: unknown keys and wrong types are faults, and all of them
are reported at once (see ``load.py``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from edgexai.config.corruption_names import CorruptionNames
from edgexai.config.fields import CardName, Eps, Fraction01, Positive, Radius
from edgexai.config.fields import Table as Table
from edgexai.config.fields import pixels as pixels
from edgexai.config.gate_table import GateTable as GateTable
from edgexai.config.model_table import ModelTable as ModelTable
from edgexai.config.prune_table import PruneTable as PruneTable


class DataTable(Table):
    """Which data set, at which size, and how much of it is held out by track for validation."""

    name: CardName = Field(description="dataset card, shipped or your own (edgexai data ls)")
    size: Annotated[int, Field(ge=16, le=256)] = Field(32, description="side of the square input, pixels")
    validation: Annotated[float, Field(gt=0, lt=0.5)] = Field(0.1, description="share of tracks held out, per class")
    per_class: Positive | None = Field(None, description="rendered training images per class; only for rendered data")
    rendered: Annotated[int, Field(ge=0)] = Field(
        0, description="rendered images per class added to the photographs that train; never to val or test"
    )
    drop_duplicates: bool = Field(default=False, description="leave out test images that are equal to a training image")
    limit_per_class: Positive | None = Field(
        default=None, description="for trying out: only the first n training and validation images of every class"
    )

    @model_serializer(mode="wrap")
    def _what_decides(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Absent and false are one thing: a key that came later must not change the keys of stored results.
        table: dict[str, Any] = dump(self)
        later = {"drop_duplicates": False, "limit_per_class": None}
        return {k: v for k, v in table.items() if k not in later or v != later[k]}


class TrainTable(Table):
    """Training from scratch: on clean images, on attacked ones too, or on those through batch norms of their own.

    The keys from ``attack`` on belong to the methods "adversarial" and "advprop"; a key that decides nothing keeps its
    default, see ``undecided``.
    """

    method: Literal["natural", "adversarial", "advprop"]
    epochs: Annotated[int, Field(ge=0)] = Field(12, description="0, with model.weights: keep those as they are")
    batch_size: Positive = 64
    lr: Annotated[float, Field(gt=0)] = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    label_smoothing: Fraction01 = Field(0.0, description="of this training, of refinement and of fine-tuning")
    weight_average: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="decay per step of the averaged weights that are kept; 0 switches averaging off"
    )
    augment: Literal["sign", "flip_crop", "none"] = Field(
        "sign", description="'sign' never flips: a flip changes the class; 'flip_crop': mirrored or not, and shifted"
    )
    augment_strength: Fraction01 = Field(1.0, description="scales every range of the augmentation")
    precision: Literal["fp32", "amp"] = Field(
        "fp32", description="'amp': bfloat16 where that is safe, only on CUDA; of refinement and of fine-tuning too"
    )
    shuffle_labels: bool = Field(
        default=False, description="permute the training labels: no classifier, a control for explain --against"
    )
    attack: Literal["fgsm", "pgd", "trades"] = Field("fgsm", description="inside the step, from a random start")
    attack_steps: Annotated[int, Field(ge=2)] = Field(10, description="of 'pgd' and 'trades'; 'fgsm' takes one")
    attack_step: Radius | None = Field(None, description="of one step; if absent 2.5 eps / steps, at most 1.25 eps")
    norm: Literal["linf", "l2"] = Field("linf", description="what eps is: of one value, or a whole image's length")
    eps: Radius = Field("8/255", description="of the attack, in pixels of [0,1]")
    clean_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="of the clean images; 0 = attacked ones only")
    adversarial_weight: Annotated[float, Field(gt=0)] = Field(
        1.0, description="of the attacked images; beta of 'trades' (its paper: 6)"
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        0, description="epochs without a better robust validation accuracy before training ends; 0 = run all, keep last"
    )

    def undecided(self) -> set[str]:
        """Keys that decide nothing under this method and attack."""
        keys = list(type(self).model_fields)
        attacking = set(keys[keys.index("attack") :])
        if self.method == "natural":
            return attacking
        unused = {"attack_steps"} if self.attack == "fgsm" else set()
        if self.method == "advprop":
            return unused | {"clean_weight", "patience"}
        return unused | ({"clean_weight"} if self.attack == "trades" else set())

    @model_validator(mode="after")
    def _coherent(self) -> TrainTable:
        fields = type(self).model_fields
        set_in_vain = [k for k in fields if k in self.undecided() and getattr(self, k) != fields[k].default]
        if set_in_vain:
            by = f'method = "{self.method}"' + ("" if self.method == "natural" else f' with attack = "{self.attack}"')
            raise ValueError(f"{by} does not use {', '.join(set_in_vain)}; take that out")
        if self.method == "advprop" and self.attack == "trades":
            raise ValueError('attack = "trades": a loss of method = "adversarial"; "advprop" takes "fgsm" or "pgd"')
        eps = pixels(self.eps)
        if self.norm == "linf" and eps > 1:
            raise ValueError(f'eps = "{self.eps}": with norm = "linf" at most 1; pixels lie in [0,1]')
        if self.attack_step is not None and pixels(self.attack_step) > 2 * eps:
            raise ValueError(f'attack_step = "{self.attack_step}": longer than the ball is wide (2 eps)')
        return self


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

    @model_validator(mode="after")
    def _control_has_cells(self) -> RefineTable:
        if self.control != "none" and not self.mask_probability and not self.sensitivity_weight:
            raise ValueError(
                "mask_probability and sensitivity_weight are 0, so no cell decides anything and a control with random "
                'ones would be the same network; write control = "none"'
            )
        return self


class ExportTable(Table):
    """The ONNX file: precision is written into the graph, never asked of a builder."""

    precision: Literal["fp32", "fp16", "int8"] = "int8"
    saliency: Literal["cam", "gradient", "none"] = Field("cam", description="second output of the same graph")
    opset: Annotated[int, Field(ge=18, le=20)] = 18
    calibration_images: Annotated[int, Field(ge=32)] = Field(512, description="training images, stratified")
    calibration: Literal["max", "percentile", "entropy", "mse", "auto"] = Field(
        "max", description="of int8's ranges; 'auto': tries all, keeps what decides most as the twin on validation"
    )
    qat_epochs: Annotated[int, Field(ge=0)] = Field(
        0, description="of fine-tuning the deployed network through int8's rounding; it is then the twin of every file"
    )
    min_agreement: Fraction01 = Field(0.98, description="parity gate: share of validation decisions kept")
    min_fidelity: Fraction01 | None = Field(
        None,
        description="saliency gate: mean rank correlation with the twin's map on validation images; if absent, with "
        "'gradient' 0.95 and in int8 0.85, with 'cam' none",
    )

    @model_validator(mode="after")
    def _of_use(self) -> ExportTable:
        if self.calibration != "max" and self.precision != "int8":
            raise ValueError(f'calibration = "{self.calibration}": only precision = "int8" is calibrated; take it out')
        if self.qat_epochs and self.precision != "int8":
            raise ValueError(f'qat_epochs = {self.qat_epochs}: only precision = "int8" rounds so; take it out')
        if self.min_fidelity is not None and self.saliency == "none":
            raise ValueError('min_fidelity: saliency = "none" gives no map to compare; take it out')
        return self


class EngineTable(Table):
    """What runs the ONNX file."""

    runtime: Literal["onnxruntime", "tensorrt"] = Field(
        description="'tensorrt' builds and runs on this machine's NVIDIA GPU, or says what is missing"
    )
    threads: Annotated[int, Field(ge=0)] = Field(0, description="of onnxruntime; 0 = one per core")

    @model_validator(mode="after")
    def _threads_of_a_processor(self) -> EngineTable:
        if self.runtime == "tensorrt" and self.threads:
            raise ValueError('threads: runtime = "tensorrt" runs on the GPU and takes none; take that out')
        return self


class MeasureTable(Table):
    """What is measured on every engine."""

    explainers: tuple[Literal["vg", "ig", "smoothgrad", "gradcam", "cam", "lime"], ...] = Field(
        ("vg", "ig", "smoothgrad", "gradcam", "lime"), strict=False
    )
    attacks: tuple[Literal["fgsm", "pgd", "apgd", "square", "noise", "patch", "sticker"], ...] = Field(
        ("fgsm", "pgd", "square", "noise"), strict=False
    )
    eps: tuple[Eps, ...] = Field(("2/255", "8/255"), strict=False)
    n: Positive = Field(1000, description="test images, stratified, for attacks and explanations")
    clean_n: Positive | None = Field(None, description="test images for clean accuracy; all when absent")
    pgd_steps: Positive = 40
    apgd_steps: Positive = Field(100, description="of each run of APGD: one with cross-entropy, up to nine with DLR")
    apgd_n: Positive = Field(300, description="images under APGD; only where attacks has it")
    square_queries: Positive = 1000
    square_n: Positive = Field(300, description="images under Square")
    strong_eps: Eps | None = Field(
        None, description="the one eps of APGD and Square; if absent APGD meets every eps, Square the largest"
    )
    patch_n: Positive = Field(200, description="images under patch and sticker; only where attacks has one")
    patch_area: Annotated[float, Field(gt=0, le=0.5)] = Field(0.1, description="of the print, as a share of the sign")
    patch_steps: Positive = Field(100, description="of patch and sticker, each in a pose and light drawn anew")
    explain_n: Positive = Field(300, description="images whose maps are scored")
    lime_samples: Annotated[int, Field(ge=64)] = 512
    split: Literal["test", "val"] = Field(
        "test", description="'val' for choosing between recipes: the test images are not looked at"
    )
    corruptions: CorruptionNames = Field((), strict=False, description='common corruptions by name, or "all" of the 19')
    corruption_severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field((1, 3, 5), strict=False)
    corruption_n: Positive = Field(300, description="images, stratified, each under every corruption and severity")
    ledger_n: Annotated[int, Field(ge=0)] = Field(
        0, description="images whose maps the drift ledger follows from training to int8, at most explain_n; 0 = none"
    )
    metrics: tuple[
        Literal["sparsity", "faithfulness", "localisation", "calibration", "stability", "randomisation"], ...
    ] = Field((), strict=False, description="further metrics by family, beside those that are always measured")
    metrics_n: Positive = Field(100, description="images for families of metrics, of those explained")
    unknown: CardName | None = Field(None, description="card of classes the network does not know: are they rejected?")
    unknown_n: Positive = Field(300, description="its test images, stratified; only with unknown")
    stability_n: Annotated[int, Field(ge=0)] = Field(
        0, description="images whose gradient maps are made again on noisy copies, at most explain_n; 0 = not measured"
    )

    @model_validator(mode="after")
    def _each_once(self) -> MeasureTable:
        for name in ("corruptions", "corruption_severities", "metrics"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names one of its values twice: each counts once in the mean")
        if self.strong_eps is not None and self.strong_eps not in self.eps:
            raise ValueError(f'strong_eps = "{self.strong_eps}" is not one of eps: {", ".join(self.eps)}')
        if "stability" in self.metrics and not self.stability_n:
            raise ValueError('metrics has "stability", which needs noisy copies: write stability_n = 60, for example')
        if self.ledger_n > self.explain_n:
            raise ValueError(f"ledger_n = {self.ledger_n}: only explain_n = {self.explain_n} images are explained")
        if not self.corruption_severities:
            raise ValueError("corruption_severities is empty: name at least one of 1 to 5")
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
