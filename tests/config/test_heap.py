"""Freed memory is kept: counted in page faults, in processes of their own, because the setting is the process's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults of the GNU C library")

FAULTS = """
import resource, sys
import numpy as np
from edgexai.config.heap import keep_freed_memory
from edgexai.cli.main import main
how, sys.argv[1:], taken = sys.argv[1], ["recipe", "show", "no-such-recipe"], None
if how == "kept":
    taken = keep_freed_memory()
elif how == "command":
    main()
elif how == "called":
    main(sys.argv[1:])
def block():
    np.ones(48 << 20, np.uint8)
block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block()
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> tuple[str, int]:
    clean = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], env=clean | environment, capture_output=True, text=True, check=True
    )
    taken, count = done.stdout.split()
    return taken, int(count)


def test_a_block_freed_and_asked_for_again_is_not_zeroed_by_the_kernel_each_time() -> None:
    _, handed_back = faults("as it is")
    taken, kept = faults("kept")
    if taken == "False":
        pytest.skip("another C library than GNU's")
    assert handed_back > 400  # 20 blocks of 48 MiB: 12,288 small pages each, or 24 huge ones
    assert kept < handed_back / 20


def test_the_command_keeps_it_and_leaves_the_process_of_a_caller_as_it_is() -> None:
    if faults("kept")[0] == "False":
        pytest.skip("another C library than GNU's")
    assert faults("command")[1] < faults("called")[1] / 20


def test_what_the_environment_says_of_memory_stays() -> None:
    assert faults("kept", MALLOC_MMAP_THRESHOLD_="65536")[0] == "False"
