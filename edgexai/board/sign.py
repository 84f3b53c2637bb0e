"""A detached signature over a bundle, made and checked by OpenSSH: keys that people already have, nothing to install.

``<bundle>.sig`` is what ``ssh-keygen -Y sign -n edgexai-bundle`` writes. The signers' file is OpenSSH's
allowed_signers: one ``name key`` a line.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from edgexai.errors import GateFailed, MissingCapability, UserError

_NAMESPACE = "edgexai-bundle"
_TIMEOUT_S = 120


def signature_of(bundle: Path) -> Path:
    """Where the signature of a bundle lies."""
    return bundle.with_name(bundle.name + ".sig")


def sign(bundle: Path, *, key: Path) -> Path:
    """Signs with a private key, or with a public one whose private half the agent of ssh holds.

    Raises:
        MissingCapability: no ssh-keygen.
        UserError: no such key, or it does not sign.
    """
    check_key(key)
    target = signature_of(bundle)
    target.unlink(missing_ok=True)
    done = _run(["-Y", "sign", "-n", _NAMESPACE, "-f", str(key), str(bundle)])
    if done.returncode or not target.is_file():
        raise UserError(f"{key}: does not sign: {_last(done.stderr)}", next_step="is it a private key of yours?")
    return target


def check_key(key: Path) -> None:
    """Refuses a key that is not there, before hours of work that it is to sign.

    Raises:
        UserError: no such key.
    """
    if not key.is_file():
        raise UserError(f"{key}: no such key", next_step="ssh-keygen -t ed25519 -f KEY makes one")


def check_signature(bundle: Path, *, signers: Path) -> str:
    """The name of the signer.

    Raises:
        MissingCapability: no ssh-keygen.
        UserError: no signers' file.
        GateFailed: no signature, by nobody in ``signers``, or of other bytes.
    """
    signature = signature_of(bundle)
    if not signers.is_file():
        raise UserError(f"{signers}: no such file of signers")
    if not signature.is_file():
        raise GateFailed(
            f"{bundle}: is not signed: {signature} is missing", next_step="ask its maker for the signature"
        )
    found = _run(["-Y", "find-principals", "-s", str(signature), "-f", str(signers)])
    names = found.stdout.decode(errors="replace").splitlines()
    if found.returncode or not names:
        raise GateFailed(f"{bundle}: signed by nobody whom {signers} names", next_step="do not use it")
    name = names[0]
    words = ["-Y", "verify", "-n", _NAMESPACE, "-I", name, "-s", str(signature), "-f", str(signers)]
    if _run(words, stdin=bundle).returncode:
        raise GateFailed(f"{bundle}: the signature of {name} is of other bytes", next_step="do not use it")
    return name


def _run(words: list[str], *, stdin: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    tool = shutil.which("ssh-keygen")
    if tool is None:
        raise MissingCapability("signatures need ssh-keygen, which is not here", next_step="install OpenSSH's client")
    with Path(stdin or "/dev/null").open("rb") as stream:
        try:
            return subprocess.run([tool, *words], stdin=stream, capture_output=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"ssh-keygen gave no answer within {_TIMEOUT_S} s", next_step="does the key wait for a passphrase?"
            ) from error


def _last(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "ssh-keygen gave no reason"
