"""``agent.pyz unpack FILE FOLDER``: opens a bundle, every byte held against what was written."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from edgexai.board.unpack import unpack as unpack_bundle


def unpack(asked: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Unpacks ``asked.file`` as the new folder ``asked.folder``."""
    manifest = unpack_bundle(asked.file, asked.folder)
    answer["bundle"] = {"name": manifest["name"], "seal": manifest["seal"]}
    sys.stderr.write(f"{asked.folder}: {manifest['name']}, {len(manifest['files'])} files, all as written\n")
