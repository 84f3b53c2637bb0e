"""``edgexai lint FILE``: whether the board's TensorRT takes an ONNX file, node by node; exit code 2: it would not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def lint(
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    tensorrt: Annotated[
        list[str] | None, typer.Option("--tensorrt", help="10.3, 10.13 or 11.4; all of them when absent.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Also refuse what no table confirms.")] = False,
) -> None:
    """Say which nodes of an ONNX file TensorRT would not take, and why."""
    from edgexai.errors import UserError
    from edgexai.export.lint import refuse_unfit
    from edgexai.export.operators import VERSIONS

    if not file.is_file():
        raise UserError(f"{file}: no such file")
    versions = tensorrt or list(VERSIONS)
    refuse_unfit(file, versions=versions, strict=strict)
    print(f"{file}: nothing in it that TensorRT {', '.join(versions)} is known to refuse; the board's parser decides")
