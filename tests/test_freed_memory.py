"""Memory that is freed is taken again without the system."""

import platform
import subprocess
import sys

import pytest

_COUNT = """
import resource, sys
import numpy as np
from torchgeo_cmr.freed_memory import keep

def take():
    return [np.ones(2**20) for _ in range(4)]

if sys.argv[1] == 'kept':
    keep()
for _ in range(3):
    take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='only glibc learns from sizes'
)
def test_freed_memory_is_kept() -> None:
    pages = {}
    for name in ('kept', 'given back'):
        done = subprocess.run(
            [sys.executable, '-c', _COUNT, name],
            capture_output=True,
            text=True,
            check=True,
        )
        pages[name] = int(done.stdout)
    # 32 MiB are 8,192 pages of 4 KiB; huge pages are fewer.
    assert pages['kept'] < 50
    assert pages['given back'] > pages['kept']
