"""Runs a recipe over the tiny stages in a process of its own: ``run_one.py HOME NAME [UNTIL|- [FROM]]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recipes_for_tests import loaded
from tiny_stages import REGISTRY, REPORT, SOURCE

from edgexai.errors import EdgexaiError
from edgexai.recipe.run import run_recipe


def main() -> int:
    home, name = Path(sys.argv[1]), sys.argv[2]
    until, from_ = (word if word != "-" else None for word in [*sys.argv[3:], "-", "-"][:2])
    try:
        result = run_recipe(
            loaded(name),
            home=home,
            until=until,
            from_=from_,
            stages=REGISTRY,
            source_digest=SOURCE,
            report=REPORT,
        )
    except EdgexaiError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    nodes = {o.node.name: [o.digest, o.built] for o in result.nodes}
    heavy = sorted({"torch", "onnxruntime"} & set(sys.modules))
    sys.stdout.write(json.dumps({"nodes": nodes, "folder": str(result.folder), "heavy": heavy}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
