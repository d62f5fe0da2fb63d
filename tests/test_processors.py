"""Cores of this process, also among the ranks of a torchrun; huge pages of torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from torchgeo_cmr.processors import cores

PAGES = Path('/sys/kernel/mm/transparent_hugepage/enabled')


@pytest.mark.parametrize(
    ('present', 'allowed', 'ranks', 'mine'),
    [
        (16, 16, None, 16),
        (16, 4, None, 4),
        (16, 16, '4', 4),
        (16, 16, '3', 5),
        # Ranks that are bound to cores have their share already.
        (16, 4, '4', 4),
        # A part of the machine that all ranks share.
        (16, 8, '4', 2),
        (2, 2, '4', 1),
        (16, 16, 'many', 16),
        (16, 16, '0', 16),
    ],
)
def test_ranks_of_a_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch,
    present: int,
    allowed: int,
    ranks: str | None,
    mine: int,
) -> None:
    monkeypatch.setattr(os, 'cpu_count', lambda: present)
    monkeypatch.setattr(
        os, 'sched_getaffinity', lambda _: set(range(allowed)), raising=False
    )
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    if ranks is not None:
        monkeypatch.setenv('LOCAL_WORLD_SIZE', ranks)
    assert cores() == mine


@pytest.mark.slow
@pytest.mark.skipif(
    not PAGES.exists() or '[never]' in PAGES.read_text(), reason='no huge pages here'
)
@pytest.mark.parametrize(('chosen', 'huge'), [(None, True), ('0', False)])
def test_large_tensors_lie_in_huge_pages_unless_the_user_says_no(
    chosen: str | None, huge: bool
) -> None:
    if not huge and '[always]' in PAGES.read_text():
        pytest.skip('all large arrays lie in them here')
    pytest.importorskip('torch')
    code = (
        'import torchgeo_cmr.processors, torch; x = torch.ones(2**24); '
        "print(*(line.split()[1] for line in open('/proc/self/smaps_rollup') "
        "if line.startswith('AnonHugePages')))"
    )
    environment = {k: v for k, v in os.environ.items() if k != 'THP_MEM_ALLOC_ENABLE'}
    if chosen is not None:
        environment['THP_MEM_ALLOC_ENABLE'] = chosen
    done = subprocess.run(
        [sys.executable, '-c', code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    # KiB: the tensor alone has 64 MiB.
    assert (int(done.stdout) > 32 * 1024) == huge
