"""``edgexai explain MODEL IMAGE...``: heatmaps of what a classifier looks at, for a run or any ONNX file."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.options import DataRootOption, JsonOption
from edgexai.cli.preprocessing import (
    AnswerOption,
    LayoutOption,
    MeanOption,
    OutputOption,
    SizeOption,
    StdOption,
    preprocessing,
)
from edgexai.errors import UserError

app = typer.Typer(add_completion=False)
_SHOWN = 8
"""Images of a data set that get pictures."""


class FitChoice(str, Enum):
    """How a picture is brought to the input's proportions."""

    CROP = "crop"
    SQUASH = "squash"


class SubjectChoice(str, Enum):
    """What a run's black-box methods ask."""

    ENGINE = "engine"
    TWIN = "twin"


class ScoreChoice(str, Enum):
    """What the black-box methods explain."""

    PROBABILITY = "probability"
    LOGIT = "logit"


@app.command(no_args_is_help=True)
def explain(
    model: Annotated[
        str, typer.Argument(help="A recipe's name (its latest run), a run folder, an ONNX file, or module:function.")
    ],
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="[IMAGE...]", help="Pictures of any format and size.")
    ] = None,
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
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", help="Where the object is: CSV path,x1,y1,x2,y2, or JSON. Scores the maps."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Test images of this data set in place of files, scored by its boxes.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Images drawn with --data.")] = 100,
    on: Annotated[
        SubjectChoice | None,
        typer.Option("--on", help="What black-box methods ask; default: the engine if there is one."),
    ] = None,
    n_classes: Annotated[
        int | None, typer.Option("--classes", min=2, help="Of a network given as module:function.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Of a network given as module:function: .safetensors.")
    ] = None,
    data_root: DataRootOption = None,
    check: Annotated[bool, typer.Option("--sanity", help="Also hold each method against a network of noise.")] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Also hold each method against this run, trained with train.shuffle_labels."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a classifier's decision on pictures: overlays, a contact sheet, maps and figures."""
    from edgexai.cli.explain_against import open_against
    from edgexai.cli.explain_model import open_model
    from edgexai.cli.explain_pictures import pictures_of_data, pictures_of_files
    from edgexai.cli.explain_work import run_explain
    from edgexai.explain.apply import ExplainSettings, check_method
    from edgexai.explain.presets import preset_named

    preset_named(preset)
    names = [name.strip() for name in method.split(",") if name.strip()] if method else None
    for name in names or ():
        check_method(name)
    prepare = preprocessing(mean=mean, std=std, size=size, layout=layout, answer=answer, output=output)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file", next_step="give a folder")
    if bool(images) == (data is not None):
        raise UserError("nothing to explain, or two things: give picture files, or --data CARD")
    if data is not None and boxes is not None:
        raise UserError("--boxes is for picture files; a data set has its own")
    opened = open_model(
        model, prepare, labels=labels, on=None if on is None else on.value, classes=n_classes, weights=weights
    )
    other = None if against is None else open_against(against, opened)
    if data is not None:
        pictures = pictures_of_data(data, opened, n=n, seed=seed, shown=_SHOWN, data_root=data_root)
    else:
        pictures = pictures_of_files(images or [], opened.size, fit=fit.value, boxes=boxes)
    settings = ExplainSettings(
        preset=preset,
        shap_samples=samples,
        rise_masks=samples or 2000,
        score=score.value,
        layer=layer,
        min_segments=min_segments,
    )
    lines = run_explain(
        opened,
        pictures,
        methods=names,
        settings=settings,
        target=target,
        seed=seed,
        out=out,
        check=check,
        against=other,
    )
    if as_json:
        print((out / "explanations.json").read_text(encoding="utf-8"), end="")
    else:
        print("\n".join(lines))
