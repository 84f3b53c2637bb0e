"""``edgexai measure ENGINE --data CARD``: any classifier file on a data set's test splits, with intervals.

Of a file that edgexai made, accuracy alone unless more is named: the rest stands in its run. Of a foreign file all that
needs no twin. ``--probes`` replays a stored probe set; ``PART... --merge`` puts together what several processes did.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.options import DataRootOption, Device, DeviceOption
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


class Launcher(str, Enum):
    """Who does the work."""

    LOCAL = "local"
    RAY = "ray"


@app.command(no_args_is_help=True)
def measure(
    engine: Annotated[
        list[str],
        typer.Argument(
            metavar="ENGINE", help="An ONNX or TensorRT file, or a recipe's name: the engine of its latest run."
        ),
    ],
    data: Annotated[str | None, typer.Option("--data", help="Data set card, see: edgexai data ls.")] = None,
    probes: Annotated[
        str | None, typer.Option("--probes", help="A folder of probes, or a recipe's name: those of its latest run.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="Images of each test split, drawn once; all when absent.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the rows here, as JSON lines.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write a run folder with a report here.")] = None,
    attacks: Annotated[str | None, typer.Option("--attacks", help="noise,square; or none.")] = None,
    eps: Annotated[str | None, typer.Option("--eps", help="In pixels of [0,1]: 2/255,8/255.")] = None,
    attack_n: Annotated[int | None, typer.Option("--attack-n", min=1, help="Images under noise.")] = None,
    square_n: Annotated[int | None, typer.Option("--square-n", min=1, help="Images under Square.")] = None,
    square_queries: Annotated[int | None, typer.Option("--square-queries", min=1, help="For each of them.")] = None,
    explainers: Annotated[
        str | None, typer.Option("--explainers", help="lime,rise,occlusion,kernelshap; or none.")
    ] = None,
    explain_n: Annotated[int | None, typer.Option("--explain-n", min=1, help="Images whose maps are scored.")] = None,
    rise_masks: Annotated[int | None, typer.Option("--rise-masks", min=16, help="Masks per image.")] = None,
    corruptions: Annotated[str | None, typer.Option("--corruptions", help="fog,snow,...; all; or none.")] = None,
    corruption_n: Annotated[int | None, typer.Option("--corruption-n", min=1, help="Images under each.")] = None,
    severities: Annotated[str | None, typer.Option("--severities", help="Of the corruptions: 1,3,5.")] = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", help="Text file: for each output, in order, the name of its class.")
    ] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    size: SizeOption = None,
    layout: LayoutOption = None,
    answer: AnswerOption = None,
    output: OutputOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    shards: Annotated[
        str | None, typer.Option("--shards", help="k/n: do the k-th of n shares; --out then takes a part.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="ENGINE... are parts that --shards wrote.")] = False,
    launcher: Annotated[Launcher, typer.Option(help="In this process, or on a Ray cluster.")] = Launcher.LOCAL,
    workers: Annotated[int, typer.Option(min=1, help="Shares at one time, on a Ray cluster.")] = 2,
    device: DeviceOption = Device.CPU,
    data_root: DataRootOption = None,
) -> None:
    """Measure a classifier: accuracy overall and per class, noise, Square, corruptions, explanations, time."""
    from edgexai.cli.measure_asked import asked_for
    from edgexai.cli.measure_work import engine_file, measure_data, measure_probes, merge_files, read_classes
    from edgexai.config.home import default_home

    if merge:
        merge_files([Path(name) for name in engine], out=out, report=report)
        return
    if len(engine) > 1:
        raise UserError(f"{len(engine)} engines: one at a time", next_step="parts of one measurement: add --merge")
    if (data is None) == (probes is None):
        raise UserError("measured on what?", next_step="give --data CARD or --probes FOLDER")
    home = default_home()
    path = engine_file(engine[0], home)
    words = {
        "attacks": attacks, "eps": eps, "explainers": explainers, "corruptions": corruptions, "severities": severities,
    }  # fmt: skip
    numbers = {
        "n": n, "attack_n": attack_n, "square_n": square_n, "square_queries": square_queries, "explain_n": explain_n,
        "rise_masks": rise_masks, "corruption_n": corruption_n,
    }  # fmt: skip
    prepare = preprocessing(mean=mean, std=std, size=size, layout=layout, answer=answer, output=output)
    if probes is not None:
        if shards or launcher is Launcher.RAY or report or classes:
            raise UserError("--probes: is one piece of work; leave --shards, --launcher, --report and --classes out")
        measure_probes(
            path, probes, words=words, numbers=numbers, prepare=prepare, home=home, device=device.value, out=out
        )
        return
    from edgexai.measure.foreign import Request

    request = Request(
        engine=path.absolute(),
        data=str(data),
        asked=asked_for(path, str(data), words=words, numbers=numbers, seed=seed),
        prepare=prepare,
        classes=None if classes is None else read_classes(classes),
        device=device.value,
        data_root=None if data_root is None else data_root.absolute(),
    )
    measure_data(
        request,
        home=home,
        shard=_share(shards),
        ray_workers=workers if launcher is Launcher.RAY else 0,
        out=out,
        report=report,
    )


def _share(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) <= 10_000):
        raise UserError(f"--shards {text}: wanted k/n with k from 1 to n, e.g. 1/3")
    return int(first), int(last)
