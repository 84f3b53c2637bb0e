"""``agent.pyz build``: TensorRT builds its engine on the board it runs on; ONNX Runtime needs none."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from edgexai.board.agent.runtime import ENGINE, STAMP, chosen_runtime, open_engine
from edgexai.board.agent.store_file import store_file
from edgexai.board.unpack import check_unpacked


def build(asked: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Fills STATE/engine, and notes there what it was built from."""
    manifest = check_unpacked(asked.bundle)
    chosen = chosen_runtime(asked.runtime)
    stamp = {"onnx_sha256": manifest["files"][manifest["engine"]]["sha256"], "runtime": chosen, "file": None}
    if chosen == "tensorrt":
        from edgexai.engine.tensorrt_cache import cached_engine
        from edgexai.engine.tensorrt_options import BuildOptions

        folder = asked.state / ENGINE
        built = cached_engine(asked.bundle / manifest["engine"], folder, options=BuildOptions())
        stamp["file"] = built.relative_to(folder).as_posix()
    store_file(asked.state / STAMP, json.dumps(stamp, sort_keys=True).encode() + b"\n")
    # opened here, so that an engine that does not load fails as a build
    engine = open_engine(asked.bundle, asked.state, manifest, runtime=chosen, threads=asked.threads)
    answer["runtime"], answer["engine"] = engine.runtime, stamp
    what = f"engine built: {stamp['file']}" if chosen == "tensorrt" else "ONNX Runtime runs the file itself"
    sys.stderr.write(f"{manifest['name']}: {what} ({engine.runtime})\n")
