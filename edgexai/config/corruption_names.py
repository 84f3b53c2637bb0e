"""The 19 common corruptions by name, for recipes; what each does is in ``data.corruptions``. Imports no NumPy."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BeforeValidator

CorruptionName: TypeAlias = Literal[
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
    "speckle_noise", "gaussian_blur", "spatter", "saturate",
]  # fmt: skip
CORRUPTION_NAMES: tuple[str, ...] = get_args(CorruptionName)


def _spelled_out(value: Any) -> Any:
    """ "all", alone or as the only item of a list, as every name: one thing must not have two keys."""
    return CORRUPTION_NAMES if value in ("all", ["all"], ("all",)) else value


CorruptionNames: TypeAlias = Annotated[
    tuple[CorruptionName, ...],
    BeforeValidator(_spelled_out, json_schema_input_type=Literal["all"] | tuple[CorruptionName | Literal["all"], ...]),
]
