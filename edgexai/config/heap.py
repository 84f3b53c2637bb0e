"""Keeps memory that was freed, instead of handing it back to the kernel after every layer.

A network's activations are large blocks that live for milliseconds. The GNU C library maps each anew and the kernel
fills it with zeros, page by page; with images of 224 pixels that can take longer than the arithmetic. The results are
the same bits; the process stays at its peak size until it ends.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h
_LARGEST = 2**31 - 1
_PAD_BYTES = 64 << 20
_OWN_CHOICE = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> bool:
    """For this process, from now on.

    Returns:
        Whether the C library took it: not where it is another than GNU's, and not where the environment already says
        how memory is to be had (``GLIBC_TUNABLES``, ``MALLOC_..._``).
    """
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in _OWN_CHOICE):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _PAD_BYTES))
    taken = [set_option(option, value) == 1 for option, value in wanted]
    return all(taken)
