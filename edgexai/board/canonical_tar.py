"""One way, and one only, to write a set of files as a tar: same files, same bytes.

Format: POSIX ustar, uncompressed. Plain files alone, in the order given, mtime 0, uid and gid 0, no names of users,
mode 0755 for ``*.pyz`` and 0644 otherwise, zero padding, two empty blocks at the end. Because every header follows from
name and size, a reader compares instead of interpreting: a link, a device, a long-name extension, a flipped bit in the
padding are all simply "not what would have been written". Standard library only: the board reads it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_LONGEST = 99
_MOST_BYTES = 8**11 - 1


def is_safe_name(name: str) -> bool:
    """A relative path of plain ASCII parts, at most 99 characters: no "..", no leading dot, dash or slash."""
    parts = name.split("/")
    return len(name) <= _LONGEST and len(parts) <= 4 and all(_PART.fullmatch(part) for part in parts)


def mode_of(name: str) -> int:
    """Permission bits of a member: only the agent may be run."""
    return 0o755 if name.endswith(".pyz") else 0o644


def header(name: str, size_bytes: int) -> bytes:
    """The 512 bytes before a member.

    Raises:
        ValueError: a name or size that a bundle may not hold.
    """
    if not is_safe_name(name) or not 0 <= size_bytes <= _MOST_BYTES:
        raise ValueError(f"{name!r} of {size_bytes} bytes cannot be a member")
    fields = [
        name.encode("ascii").ljust(100, b"\0"), b"%07o\0" % mode_of(name), b"0000000\0", b"0000000\0",
        b"%011o\0" % size_bytes, b"00000000000\0", b" " * 8, b"0", bytes(100), b"ustar\x0000", bytes(32), bytes(32),
        b"0000000\0", b"0000000\0", bytes(155), bytes(12),
    ]  # fmt: skip
    fields[6] = b"%06o\0 " % sum(b"".join(fields))
    return b"".join(fields)


def padding(size_bytes: int) -> bytes:
    """Zeros that fill a member's last block."""
    return bytes(-size_bytes % BLOCK_BYTES)


def size_in_tar(size_bytes: int) -> int:
    """Bytes that a member takes, header and padding included."""
    return BLOCK_BYTES + size_bytes + -size_bytes % BLOCK_BYTES


def write_tar(stream: BinaryIO, members: Mapping[str, bytes | Path]) -> None:
    """Writes all members, in the mapping's order, and the end.

    Args:
        stream: open for writing.
        members: name -> contents, or the file that holds them.

    Raises:
        ValueError: a name that ``is_safe_name`` refuses.
    """
    for name, source in members.items():
        data = source if isinstance(source, bytes) else source.read_bytes()
        stream.write(header(name, len(data)))
        stream.write(data)
        stream.write(padding(len(data)))
    stream.write(END)
