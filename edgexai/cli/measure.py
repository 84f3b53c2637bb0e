"""``edgexai measure ENGINE --data CARD``: an ONNX file's accuracy on a data set's test split, with intervals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.options import DataRootOption, Device, DeviceOption
from edgexai.errors import UserError

app = typer.Typer(add_completion=False)


@app.command()
def measure(
    engine: Annotated[str, typer.Argument(help="An ONNX file, or a recipe's name: the engine of its latest run.")],
    data: Annotated[str, typer.Option("--data", help="Data set card, see: edgexai data ls.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the rows here, as JSON lines.")] = None,
    device: DeviceOption = Device.CPU,
    data_root: DataRootOption = None,
) -> None:
    """Measure clean accuracy, overall and per class."""
    from edgexai.config.home import default_home
    from edgexai.config.recipe import DataTable
    from edgexai.data import DATASETS
    from edgexai.data.load import load
    from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
    from edgexai.measure.foreign import clean_rows
    from edgexai.recipe.evaluations import log_evaluation

    if data not in DATASETS:
        raise UserError(f'data set "{data}" is unknown', next_step=f"choose one of: {', '.join(DATASETS)}")
    home = default_home()
    path = _engine_file(engine, home)
    run = OnnxRuntimeEngine(path, device=device.value)
    arch = json.loads(run.metadata.get("edgexai.arch", "{}"))
    table = DataTable.model_validate({"name": data, "size": int(arch.get("size", 32))})
    found = load(table, seed=0, data_root=data_root)
    artefact = run.metadata.get("edgexai.artefact", "fp32")
    trained_on = run.metadata.get("edgexai.data", "unknown")
    home.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, split in found.splits.items():
        if name in ("train", "val"):
            continue
        log_evaluation(home, recipe=f"measure {path.name}", arm=artefact, data_key=f"{data}/{name}", key="")
        part = clean_rows(run, split, classes=found.classes, artefact=artefact, runtime=run.runtime)
        rows += [replace(row, detail={**row.detail, "data": data, "trained_on": trained_on}) for row in part]
    for row in rows:
        if row.value is None or row.low is None or row.high is None:
            continue
        what = f"{data}/{row.split}" + (f", {row.detail['class']}" if "class" in row.detail else ", all classes")
        print(f"{row.value:7.2%}  [{row.low:.2%}, {row.high:.2%}]  n {row.n:>6,}  {what}")
    print(f"trained on {trained_on}; {run.runtime}; 95 % Wilson intervals")
    if out is not None:
        out.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")


def _engine_file(name: str, home: Path) -> Path:
    from edgexai.cli.report import find_run

    if name.endswith(".onnx"):
        return Path(name)
    folder = find_run(name, home) / "engine"
    for artefact in ("int8-tensorrt", "fp32"):
        if (folder / f"{artefact}.onnx").is_file():
            return folder / f"{artefact}.onnx"
    raise UserError(f"{folder}: no engine there", next_step=f"edgexai recipe run {name}")
