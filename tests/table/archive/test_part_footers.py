"""What a part must say of itself, and have, to be read."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable, verify_archive
from torchgeo_cmr.table.archive.folder import FORMAT_VERSION
from torchgeo_cmr.table.archive.part_footers import check_part, reading
from torchgeo_cmr.table.archive.part_schema import METADATA_KEY, to_arrow


def _facts() -> dict[str, object]:
    return {'version': FORMAT_VERSION, 'key': 'a', 'rows': 12, 'spaces': []}


def test_check_part_names_what_is_wrong(frame, vectors) -> None:  # noqa: ANN001
    table = EmbeddingTable.from_frame(frame, vectors)
    arrow = to_arrow(table.frame, table.vectors, _facts())
    assert check_part(arrow.schema, 5, 'p')['version'] == FORMAT_VERSION
    with pytest.raises(
        ArchiveError, match=r'vectors of 5 numbers but the header gives 6'
    ):
        check_part(arrow.schema, 6, 'p')
    with pytest.raises(ArchiveError, match='no torchgeo_cmr metadata'):
        check_part(arrow.schema.remove_metadata(), 5, 'p')
    with pytest.raises(ArchiveError, match='lacks the columns bbox'):
        check_part(arrow.drop_columns('bbox').schema, 5, 'p')
    half = arrow.schema.set(
        arrow.schema.get_field_index('vector'),
        pa.field('vector', pa.list_(pa.float16(), 5)),
    )
    with pytest.raises(ArchiveError, match='reads float32 and packed bits only'):
        check_part(half, 5, 'p')
    newer = arrow.schema.with_metadata({METADATA_KEY: b'{"version": 99}'})
    with pytest.raises(ArchiveError, match='format version 99'):
        check_part(newer, 5, 'p')


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (PermissionError(errno.EACCES, 'Failed to open', 'p'), 'Permission denied'),
        (OSError(errno.EMFILE, 'Failed to open', 'p'), 'Too many open files'),
    ],
)
def test_a_part_that_the_system_does_not_give_is_not_called_broken(
    error: OSError, reason: str, tmp_path: Path
) -> None:
    """To remove it, as a broken one, could lose it."""
    with (
        pytest.raises(ArchiveError, match=f'{reason}.*it may be whole') as caught,
        reading(tmp_path / 'part-a.parquet'),
    ):
        raise error
    assert 'remove' not in str(caught.value)
    with (
        pytest.raises(ArchiveError, match='truncated or broken; remove it'),
        reading(tmp_path / 'part-a.parquet'),
    ):
        raise OSError("Couldn't deserialize thrift")


@pytest.mark.skipif(sys.platform != 'linux', reason='names of files are text elsewhere')
def test_an_archive_in_a_folder_whose_name_is_not_utf8(
    frame: Any, vectors: Any, tmp_path: Path
) -> None:
    archive = EmbeddingTable.from_frame(frame, vectors).save(tmp_path / 'a')
    odd = tmp_path / os.fsdecode(b'caf\xe9')
    odd.mkdir()
    archive = archive.rename(odd / 'a')
    with pytest.raises(
        ArchiveError, match=r"name 'caf.udce9' is not UTF-8; it may be whole: rename"
    ):
        EmbeddingTable.load(archive)
    (finding,) = [each for each in verify_archive(archive) if each.fault]
    assert finding.fault == r"the name 'caf\udce9' is not UTF-8"
    assert 'rename that file or folder' in finding.cure
    assert 'remove' not in finding.cure
