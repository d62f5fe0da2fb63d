"""Files of a hash that are none: one sentence, and no codes of zeros."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import Alignment, Hash

FLOATS = np.ones((4, 8), np.float32)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'PK\x03\x04',
        b'no',
        {'kind': 'lsh', 'mean': FLOATS[:, 0]},
        {'kind': 'lsh', 'mean': FLOATS[:3, 0], 'planes': FLOATS},
        {'kind': 'lsh', 'mean': FLOATS[:, 0], 'planes': FLOATS[0]},
        {'kind': 'lsh', 'mean': FLOATS[:, 0], 'planes': FLOATS.astype(object)},
        {'kind': 'lsh', 'mean': FLOATS[:, 0], 'planes': FLOATS.astype(str)},
        {'kind': 'lsh', 'mean': FLOATS[:, 0] * np.nan, 'planes': FLOATS},
        {'kind': 'lsh', 'mean': FLOATS[:, 0], 'planes': FLOATS * np.inf},
        {'kind': 'lsh', 'mean': FLOATS[:, 0], 'planes': FLOATS[:, :7]},
        {'kind': 'lsh', 'mean': FLOATS[:, 0], 'planes': FLOATS[:, :0]},
        {'kind': ['a', 'b'], 'mean': FLOATS[:, 0], 'planes': FLOATS},
        FLOATS,
    ],
)
def test_a_file_that_is_no_hash(tmp_path: Path, content: Any) -> None:
    file = tmp_path / 'hash.npz'
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(file, **content)
    else:
        with file.open('wb') as target:
            np.save(target, content)
    with pytest.raises(ArchiveError, match='save one with') as caught:
        Hash.load(file)
    assert '\n' not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='there are no pipes')
@pytest.mark.parametrize('kind', [Alignment, Hash])
def test_a_file_that_never_ends_or_grows_is_refused(
    tmp_path: Path, kind: type[Alignment | Hash]
) -> None:
    pipe, bomb = tmp_path / 'pipe.npz', tmp_path / 'bomb.npz'
    os.mkfifo(pipe)
    with pytest.raises(ArchiveError, match=r'pipe\.npz is a named pipe'):
        kind.load(pipe)
    with zipfile.ZipFile(bomb, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('method.npy', bytes(80_000_000))
    with pytest.raises(ArchiveError, match=r'bomb\.npz .* bytes would become 80000000'):
        kind.load(bomb)
