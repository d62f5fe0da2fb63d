"""Files of a hash that are none: one sentence, and no codes of zeros."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import Hash

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
