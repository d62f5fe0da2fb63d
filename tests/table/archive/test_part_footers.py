"""What a part must say of itself, and have, to be read."""

import pyarrow as pa
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.folder import FORMAT_VERSION
from torchgeo_cmr.table.archive.part_footers import check_part
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
