from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tdcnet.allocator import VARIABLES

FAULTS = """
import resource, sys
import numpy as np
from tdcnet.allocator import keep_freed_memory
done = keep_freed_memory() if sys.argv[1] == "keep" else False
for i in range(11):
    if i == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str, **variables: str) -> tuple[bool, int]:
    """Page faults of writing 64 MiB ten times, after a first time."""
    env = {k: v for k, v in os.environ.items() if k not in VARIABLES} | {"NUMPY_MADVISE_HUGEPAGE": "0"} | variables
    done, count = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], env=env, capture_output=True, text=True, check=True
    ).stdout.split()
    return done == "True", int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_used_again():
    _, fresh = faults("leave")
    done, kept = faults("keep")
    if not done:
        pytest.skip("the C library is not glibc")
    assert kept < fresh / 10


def test_what_the_user_has_set_stays():
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="1000000")[0] is False
