"""``edgexai measure ENGINE --data CARD``: an ONNX file's accuracy on a data set's test splits, with intervals.

Of a corrupted data set, one split is in memory at a time.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgexai.cli.options import DataRootOption, Device, DeviceOption
from edgexai.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

app = typer.Typer(add_completion=False)


@app.command()
def measure(
    engine: Annotated[
        str, typer.Argument(help="An ONNX or TensorRT file, or a recipe's name: the engine of its latest run.")
    ],
    data: Annotated[str, typer.Option("--data", help="Data set card, see: edgexai data ls.")],
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="Images of each test split, drawn once; all when absent.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the rows here, as JSON lines.")] = None,
    device: DeviceOption = Device.CPU,
    data_root: DataRootOption = None,
) -> None:
    """Measure accuracy, overall and per class; of corrupted data, overall for each corruption and severity."""
    from edgexai.config.cards import read_card
    from edgexai.config.home import default_home
    from edgexai.config.recipe import DataTable
    from edgexai.data.corrupted import CorruptedSplits, corruption_of
    from edgexai.data.load import load
    from edgexai.engine.open import open_engine
    from edgexai.measure.foreign import clean_rows
    from edgexai.recipe.evaluations import log_evaluation

    card = read_card(data)
    home = default_home()
    path = _engine_file(engine, home)
    run = open_engine(path, device=device.value)
    arch = json.loads(run.metadata.get("edgexai.arch", "{}"))
    table = DataTable.model_validate({"name": data, "size": int(arch.get("size", 32))})
    found = load(table, seed=0, data_root=data_root)
    artefact = run.metadata.get("edgexai.artefact", "fp32")
    trained_on = run.metadata.get("edgexai.data", "unknown")
    home.mkdir(parents=True, exist_ok=True)
    rows = []
    learnt = [split.name for split in card.splits if split.use != "test"]
    splits = found.splits
    if isinstance(splits, CorruptedSplits):
        # Drawn before it is corrupted: what is not scored need not be made.
        splits = splits.take(_index(len(splits.clean["test"]), n))
    for name in splits:
        if name in learnt:
            continue
        split = splits[name]
        split = split.take(_index(len(split), n))
        log_evaluation(home, recipe=f"measure {path.name}", arm=artefact, data_key=f"{data}/{name}", key="")
        part = clean_rows(run, split, classes=found.classes, artefact=artefact, runtime=run.runtime)
        about: dict[str, str | int | float] = {"data": data, "trained_on": trained_on}
        if which := corruption_of(name):
            part = [replace(part[0], metric="corruption_acc")]
            about |= {"corruption": which[0], "severity": which[1]}
        rows += [replace(row, detail={**row.detail, **about}) for row in part]
    for row in rows:
        if row.value is None or row.low is None or row.high is None:
            continue
        what = f"{data}/{row.split}" + (f", {row.detail['class']}" if "class" in row.detail else ", all classes")
        print(f"{row.value:7.2%}  [{row.low:.2%}, {row.high:.2%}]  n {row.n:>6,}  {what}")
    corrupted = [row.value for row in rows if row.metric == "corruption_acc" and row.value is not None]
    if corrupted:
        print(f"{sum(corrupted) / len(corrupted):7.2%}  mean of {len(corrupted)} corruptions and severities")
    print(f"trained on {trained_on}; {run.runtime}; 95 % Wilson intervals")
    if out is not None:
        out.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")


def _index(total: int, n: int | None) -> NDArray[np.int64]:
    """``n`` of ``total`` images, all where n is None; ascending, the same at every call."""
    import numpy as np

    if n is None or n >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng([0, 31]).permutation(total)[:n])


def _engine_file(name: str, home: Path) -> Path:
    from edgexai.cli.report import find_run

    if name.endswith((".onnx", ".engine", ".plan")):
        return Path(name)
    folder = find_run(name, home) / "engine"
    for artefact in ("int8-tensorrt", "fp16", "fp32"):
        if (folder / f"{artefact}.onnx").is_file():
            return folder / f"{artefact}.onnx"
    raise UserError(f"{folder}: no engine there", next_step=f"edgexai recipe run {name}")
