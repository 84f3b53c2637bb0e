"""``edgexai verify BUNDLE``: every byte, the signature where asked for, and the engine against its golden vectors.

The same checks, by the same code, as the agent's ``verify`` on a board; here the engine runs in ONNX Runtime.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.options import JsonOption

app = typer.Typer(add_completion=False)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle's tar.")],
    signers: Annotated[
        Path | None, typer.Option("--signers", help="OpenSSH allowed_signers: refuse unless one of them signed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle: bytes, signature, and that its engine computes what was evaluated."""
    from edgexai.board.agent.runtime import open_engine
    from edgexai.board.agent.verify import golden_answers
    from edgexai.board.golden import judge, read_golden
    from edgexai.board.sign import check_signature
    from edgexai.board.unpack import unpack
    from edgexai.errors import GateFailed

    signer = None if signers is None else check_signature(bundle, signers=signers)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "bundle"
        manifest = unpack(bundle, folder)
        golden = read_golden(folder)
        engine = open_engine(folder, Path(work), manifest, runtime="onnxruntime", threads=1)
        verdict = judge(golden, *golden_answers(engine, golden))
    content = {
        "ok": verdict.passed, "name": manifest["name"], "files": len(manifest["files"]), "runtime": engine.runtime,
        "signer": signer, "statistics": dict(verdict.statistics), "limits": dict(verdict.limits),
        "problems": list(verdict.problems),
    }  # fmt: skip
    if as_json:
        print(json.dumps(content, sort_keys=True))
    else:
        print(f"{bundle}: {manifest['name']}, {len(manifest['files'])} files as written")
        print(f"signed by {signer}" if signer else "signature: not asked for (--signers)")
        for name, value in verdict.statistics.items():
            print(f"  {name:<14}{value:<12.4g}at most {verdict.limits[name]:.4g}")
    if not verdict.passed:
        raise GateFailed(f"{bundle}: {engine.runtime} does not compute what was evaluated", problems=verdict.problems)
    if not as_json:
        print(f"verified on {len(golden.labels)} golden images ({engine.runtime})")
