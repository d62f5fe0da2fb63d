"""Reading an archive: its vectors are in memory once, and as many as there are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable, ParquetSink
from torchgeo_cmr.table.archive import part_footers, part_reader
from torchgeo_cmr.table.archive.folder import read_header
from torchgeo_cmr.table.archive.part_reader import read_part
from torchgeo_cmr.table.archive.part_schema import METADATA_KEY

DIM, ROWS, PARTS = 256, 20_000, 3
#: Tells the most that Arrow had in memory while an archive was read, and what the vectors take.
LOADING = """
import sys
import pyarrow as pa
from torchgeo_cmr.table import EmbeddingTable
table = EmbeddingTable.load(sys.argv[1])
print(pa.default_memory_pool().max_memory(), table.vectors.nbytes)
"""


def write(path: Path, rows: int, dim: int, **columns: float) -> np.ndarray:
    """Write an archive of several parts and give its vectors."""
    archive, vectors = ParquetSink(path, {'space': None}), []
    for part in range(PARTS):
        rng = np.random.default_rng(part)
        x, y = rng.uniform(0, 40, (2, rows))
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'{part}:{i}' for i in range(rows)], **columns},
            geometry=shapely.box(x, y, x + 0.01, y + 0.01),
            crs='EPSG:4326',
        )
        vectors.append(rng.standard_normal((rows, dim), dtype=np.float32))
        table = EmbeddingTable.from_frame(frame, vectors[-1])
        archive.commit(str(part), table)
        vectors[-1] = table.vectors
    return np.concatenate(vectors)


@pytest.mark.slow
def test_vectors_are_in_memory_once(tmp_path: Path) -> None:
    write(tmp_path / 'archive', ROWS, DIM)
    told = subprocess.run(
        [sys.executable, '-c', LOADING, tmp_path / 'archive'],
        capture_output=True,
        text=True,
        check=True,
    )
    most, size = map(int, told.stdout.split())
    assert size == PARTS * ROWS * DIM * 4
    # Besides the array that is made: some rows of them, and the other columns; older Arrows read more at a time.
    assert most < 1.7 * size


def test_columns_that_are_called_like_pieces_of_the_vectors(tmp_path: Path) -> None:
    columns = {'vector.list': 1.5, 'vector.x': 2.5, 'bbox.xmin': 3.5}
    vectors = write(tmp_path / 'archive', 40, 8, **columns)
    loaded = EmbeddingTable.load(tmp_path / 'archive')
    assert np.array_equal(loaded.vectors, vectors)
    assert not loaded.vectors.flags.writeable
    for name, value in columns.items():
        assert (loaded.frame[name] == value).all()


def test_a_part_that_is_replaced_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / 'archive', 40, 8)
    vectors = write(tmp_path / 'other', 50, 8)
    read, calls = part_reader._read_part, 0

    def reading(part: Path, header: Any, into: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:  # an update commits all parts anew
            for file in (tmp_path / 'other').glob('part-*'):
                file.replace(tmp_path / 'archive' / file.name)
        return read(part, header, into)

    monkeypatch.setattr(part_reader, '_read_part', reading)
    loaded = EmbeddingTable.load(tmp_path / 'archive')
    assert np.array_equal(loaded.vectors, vectors)
    assert calls == 2 + PARTS


@pytest.mark.parametrize('rows', [10**15, 1 << 62])
def test_a_claim_of_more_rows_than_fit(tmp_path: Path, rows: int) -> None:
    write(tmp_path / 'archive', 40, 8)
    part = next((tmp_path / 'archive').glob('part-*'))
    content = pq.read_table(part, partitioning=None)
    facts = json.loads(content.schema.metadata[METADATA_KEY])
    metadata = {
        **content.schema.metadata,
        METADATA_KEY: json.dumps({**facts, 'rows': rows}),
    }
    pq.write_table(content.replace_schema_metadata(metadata), part)
    with pytest.raises(ArchiveError, match=rf'claims {rows + 80} vectors of 8 numbers'):
        EmbeddingTable.load(tmp_path / 'archive')


def test_a_broken_footprint_is_named_with_its_part(tmp_path: Path) -> None:
    """Whoever reads a part, to load it here or into a database."""
    write(tmp_path / 'archive', 40, 8)
    part = sorted((tmp_path / 'archive').glob('part-*'))[1]
    content = pq.read_table(part, partitioning=None)
    place = content.schema.get_field_index('geometry')
    words = [b'no geometry', *content.column(place).to_pylist()[1:]]
    broken = pa.array(words, content.schema.field(place).type)
    pq.write_table(content.set_column(place, content.schema.field(place), broken), part)
    sentence = rf'{part.name}: a footprint of the archive is broken'
    with pytest.raises(ArchiveError, match=sentence):
        read_part(part, read_header(tmp_path / 'archive'))
    with pytest.raises(ArchiveError, match=sentence):
        list(EmbeddingTable.load_parts(tmp_path / 'archive'))


def test_footers_are_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To see that no row is missing, to make room and to read: of many parts, each list takes time."""
    write(tmp_path / 'archive', 40, 8)
    table = EmbeddingTable.load(tmp_path / 'archive')
    table.save(tmp_path / 'whole')
    read, seen = part_footers.read_schema, []

    def reading(part: Path) -> pa.Schema:
        seen.append(part.name)
        return read(part)

    monkeypatch.setattr(part_footers, 'read_schema', reading)
    for folder, parts in (('archive', PARTS), ('whole', 1)):
        EmbeddingTable.load(tmp_path / folder)
        assert len(list(EmbeddingTable.load_parts(tmp_path / folder))) == parts
        assert len(seen) == 2 * len(set(seen)) == 2 * parts
        seen.clear()
