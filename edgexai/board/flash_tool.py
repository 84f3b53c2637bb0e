"""Packs the board's half of ``edgexai flash`` into one small zip file that Python runs.

Convention: same sources, same bytes: fixed order, dates and attributes, so that the digest in its name is its version.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgexai import __version__
from edgexai.board.canonical_zip import zip_bytes

_MODULES = (
    "board/canonical_tar",
    "board/flash_there",
    "board/flash_there_agent",
    "board/flash_there_release",
    "board/manifest",
    "board/unpack",
    "errors",
)
_MAIN = "import sys\n\nfrom edgexai.board.flash_there import main\n\nsys.exit(main(sys.argv[1:]))\n"


@dataclass(frozen=True)
class Tool:
    """The packed tool.

    Attributes:
        content: bytes of the zip file.
        name: "<first 12 hex digits of its SHA-256>.pyz".
    """

    content: bytes
    name: str


def pack_tool() -> Tool:
    """The tool of this edgexai."""
    package = Path(__file__).parents[1]
    files = {"__main__.py": _MAIN, "edgexai/__init__.py": f'__version__ = "{__version__}"\n'}
    files["edgexai/board/__init__.py"] = ""
    files |= {f"edgexai/{m}.py": (package / f"{m}.py").read_text(encoding="utf-8") for m in _MODULES}
    content = zip_bytes({name: text.encode() for name, text in files.items()})
    return Tool(content, f"{hashlib.sha256(content).hexdigest()[:12]}.pyz")
