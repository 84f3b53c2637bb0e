"""One way to write a set of files as a zip: same files, same bytes, in every interpreter. Standard library only."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping


def zip_bytes(files: Mapping[str, bytes], *, start: bytes = b"") -> bytes:
    """Stored, sorted by name, dated 1980, mode 0644; behind ``start``, e.g. the line that makes it a program."""
    out = io.BytesIO()
    out.write(start)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, data)
    return out.getvalue()
