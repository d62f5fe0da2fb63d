"""Arrays in temporary files: as in memory, gone with the array, refused where a disk is full."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.evaluate import make_report
from torchgeo_cmr.evaluate.picking import pick
from torchgeo_cmr.spool import spooled
from torchgeo_cmr.table import EmbeddingTable

from .test_evaluate_memory import table

#: Loads an archive of 60 MB of vectors, picks every second row and tells the anonymous memory that took.
_LOADING = """
import gc
import sys
import numpy as np
import pyarrow as pa
from pathlib import Path
from torchgeo_cmr.evaluate.picking import pick
from torchgeo_cmr.table import EmbeddingTable

def anonymous():
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon')) << 10

def load(spool):
    before = anonymous()
    table = EmbeddingTable.load(sys.argv[1], spool=spool)
    half = pick(table.vectors, np.arange(0, len(table), 2))
    gc.collect()
    pa.default_memory_pool().release_unused()
    return anonymous() - before, table.vectors.nbytes, half

load(True)  # what is imported and kept once
spooled, size, _ = load(True)
held, _, _ = load(False)
print(spooled, held, size)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of temporary files."""
    folder = tmp_path / 'temporary'
    folder.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(folder))
    return folder


@pytest.mark.parametrize('with_room', [True, False])
def test_an_array_is_zeros_that_can_be_written(
    temporary: Path, with_room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_room:  # as on systems that cannot reserve room
        monkeypatch.delattr(os, 'posix_fallocate')
        monkeypatch.setattr('torchgeo_cmr.spool._BLOCK', 7)
    made = spooled((3, 5), np.float32)
    assert made.shape == (3, 5)
    assert not made.any()
    made[1] = 2
    assert made.sum() == 10
    assert not [
        *temporary.iterdir()
    ]  # it has no name: nothing is left by a killed process
    assert spooled((0, 5), np.uint8).shape == (0, 5)


def test_its_room_is_given_back(temporary: Path) -> None:
    def opened() -> int:
        return sum(
            str(temporary) in os.readlink(f'/proc/self/map_files/{name}')
            for name in os.listdir('/proc/self/map_files')
        )

    if not os.access('/proc/self/map_files', os.R_OK):
        pytest.skip('this system does not list its mapped files')
    made = spooled((4,), np.float32)
    assert opened() == 1
    del made
    gc.collect()
    assert opened() == 0


def test_more_than_the_disk_holds(temporary: Path) -> None:
    with pytest.raises(
        ArchiveError, match=rf'vectors take 4e\+09 GB .* {temporary} .* TMPDIR'
    ):
        spooled((10**9, 10**9), np.float32)
    assert not [*temporary.iterdir()]


def test_rows_are_the_same(tmp_path: Path) -> None:
    whole = table(60)
    mixed = whole.select(np.random.default_rng(1).permutation(60))
    mixed.save(tmp_path / 'archive')
    held, lying = (
        EmbeddingTable.load(tmp_path / 'archive', spool=spool)
        for spool in (False, True)
    )
    assert isinstance(lying.vectors, np.memmap)
    assert not lying.vectors.flags.writeable
    assert np.array_equal(held.vectors, lying.vectors)
    assert lying.frame.equals(held.frame)
    rows = np.array([1, 4, 5, 59])
    assert isinstance(pick(lying.vectors, rows), np.memmap)
    assert np.array_equal(pick(lying.vectors, rows), held.vectors[rows])
    reports = [make_report(t, t, relevance='label:label') for t in (held, lying)]
    assert reports[0].to_json() == reports[1].to_json()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='memory is read from /proc')
def test_vectors_are_not_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = table(15_000).frame
    vectors = rng.standard_normal((len(frame), 1024), dtype=np.float32)
    EmbeddingTable.from_frame(frame, vectors).save(tmp_path / 'archive')
    done = subprocess.run(
        [sys.executable, '-c', _LOADING, str(tmp_path / 'archive')],
        capture_output=True,
        text=True,
        check=True,
    )
    lying, held, size = map(int, done.stdout.split())
    assert held > 0.9 * size
    assert lying < 0.2 * size
