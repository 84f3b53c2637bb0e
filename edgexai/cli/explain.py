"""``edgexai explain MODEL IMAGE...``: heatmaps of what a classifier looks at, for a run or any ONNX file."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.options import JsonOption
from edgexai.cli.preprocessing import (
    AnswerOption,
    LayoutOption,
    MeanOption,
    OutputOption,
    SizeOption,
    StdOption,
    preprocessing,
)

app = typer.Typer(add_completion=False)


class FitChoice(str, Enum):
    """How a picture is brought to the input's proportions."""

    CROP = "crop"
    SQUASH = "squash"


class ScoreChoice(str, Enum):
    """What the black-box methods explain."""

    PROBABILITY = "probability"
    LOGIT = "logit"


@app.command(no_args_is_help=True)
def explain(
    model: Annotated[str, typer.Argument(help="A recipe's name (its latest run), a run folder, or an ONNX file.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures of any format and size.")],
    method: Annotated[
        str | None, typer.Option("--method", help="Some of vg, ig, gradcam, lime, kernelshap, rise, ...; by commas.")
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="Of LIME: fast, auto, tml, fau or tmlr.")] = "fast",
    out: Annotated[Path, typer.Option("--out", help="Folder for pictures, maps and JSON.")] = Path("explained"),
    target: Annotated[int | None, typer.Option("--target", min=0, help="Class; default: each image's first.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    mean: MeanOption = None,
    std: StdOption = None,
    size: SizeOption = None,
    layout: LayoutOption = None,
    answer: AnswerOption = None,
    output: OutputOption = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="Text file, a class name a line.")] = None,
    fit: Annotated[FitChoice, typer.Option("--fit", help="The middle, or all of it squashed.")] = FitChoice.CROP,
    score: Annotated[ScoreChoice, typer.Option("--score", help="Of black-box methods.")] = ScoreChoice.PROBABILITY,
    layer: Annotated[str | None, typer.Option("--layer", help="Of Grad-CAM, a submodule's name.")] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=16, help="RISE masks, SHAP coalitions.")] = None,
    min_segments: Annotated[int, typer.Option("--min-segments", min=2, help="Fewer are refused.")] = 8,
    check: Annotated[bool, typer.Option("--sanity", help="Also hold each method against a network of noise.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Explain a classifier's decision on pictures: overlays, a contact sheet, maps and figures."""
    from edgexai.cli.explain_model import open_model
    from edgexai.cli.explain_work import run_explain
    from edgexai.explain.apply import ExplainSettings, check_method
    from edgexai.explain.presets import preset_named

    preset_named(preset)
    names = [name.strip() for name in method.split(",") if name.strip()] if method else None
    for name in names or ():
        check_method(name)
    prepare = preprocessing(mean=mean, std=std, size=size, layout=layout, answer=answer, output=output)
    opened = open_model(model, prepare, labels=labels)
    settings = ExplainSettings(
        preset=preset,
        shap_samples=samples or 1024,
        rise_masks=samples or 2000,
        score=score.value,
        layer=layer,
        min_segments=min_segments,
    )
    lines = run_explain(
        opened, images, methods=names, settings=settings, target=target, seed=seed, fit=fit.value, out=out, check=check
    )
    if as_json:
        print((out / "explanations.json").read_text(encoding="utf-8"), end="")
    else:
        print("\n".join(lines))
