"""Where edgexai keeps its own files: stage store, run folders, downloads, digest memos.

``EDGEXAI_HOME`` if set, else the platform's cache folder. Nothing is created here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_home() -> Path:
    """The home folder, absolute; it need not exist yet."""
    if chosen := os.environ.get("EDGEXAI_HOME"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "edgexai"
