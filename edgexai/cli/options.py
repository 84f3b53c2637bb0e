"""Command line options that several verbs share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Device(str, Enum):
    """Where torch computes; what is asked for is used or refused."""

    CPU = "cpu"
    CUDA = "cuda"


DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute: used or refused, never replaced.")]
DataRootOption = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder with the data sets; default: $EDGEXAI_DATA."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
