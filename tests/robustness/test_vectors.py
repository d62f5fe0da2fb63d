"""Vectors and ids of a part that no search can use: refused with file and row, never ranked."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

type Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope='module')
def _archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    points = gpd.points_from_xy(range(12), range(12))
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{i:02}' for i in range(12)]}, geometry=points, crs='EPSG:4326'
    )
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    table = EmbeddingTable.from_frame(frame, vectors, space='x')
    sink = ParquetSink(tmp_path_factory.mktemp('rows') / 'archive', {'space': 'x'})
    sink.commit('a', table.select(range(6)))
    sink.commit('b', table.select(range(6, 12)))
    return sink.path


@pytest.fixture
def archive(_archive: Path, tmp_path: Path) -> Path:
    """Two parts of six rows."""
    return Path(shutil.copytree(_archive, tmp_path / 'archive'))


def column(name: str, values: Callable[[list[Any]], pa.Array]) -> Change:
    """Replace a column of a part."""

    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        return table.set_column(place, name, values(table.column(name).to_pylist()))

    return change


def vector(make: Callable[[np.ndarray], Any]) -> Change:
    """Change the vector of part row 2."""

    def change(table: pa.Table) -> pa.Table:
        rows = np.array(table.column('vector').to_pylist(), dtype=np.float32)
        place = table.column('part_row').to_pylist().index(2)
        rows[place] = make(rows[place])
        flat = pa.array(rows.ravel(), pa.float32())
        return column('vector', lambda _: pa.FixedSizeListArray.from_arrays(flat, 4))(
            table
        )

    return change


LONG = r'part-b-\w+\.parquet: the vector of patch_id .p08. \(row 2\) is .* long, not 1; remove it'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (vector(lambda v: np.nan), LONG),
        (vector(lambda v: [np.inf, 0, 0, 0]), LONG),
        (vector(lambda v: v * 100), LONG),
        (vector(lambda v: v * 0.9), LONG),
        (vector(lambda v: 0), LONG),
        (vector(lambda v: 3e38), LONG),
        (
            column(
                'vector', lambda v: pa.array([None, *v[1:]], pa.list_(pa.float32(), 4))
            ),
            # pyarrow before 26 does not read such a column
            r'part-b-\w+\.parquet (has rows without vector|cannot be read)',
        ),
        (
            column(
                'vector',
                lambda v: pa.array([r[:3] for r in v], pa.list_(pa.float32(), 3)),
            ),
            'holds vectors of 3 numbers but the header gives 4',
        ),
        (
            column('vector', lambda v: pa.array([b'x' * 4] * 6, pa.binary(4))),
            'holds vectors of 32 numbers but the header gives 4',
        ),
        (
            column('patch_id', lambda v: pa.array([None, *v[1:]])),
            'has rows without patch_id',
        ),
        (
            column('patch_id', lambda v: pa.array(['', *v[1:]])),
            'whose patch_id is empty',
        ),
        (
            column('patch_id', lambda v: pa.array([v[1], *v[1:]])),
            'patch_id .* is in two parts',
        ),
        (
            column('patch_id', lambda v: pa.array(['p00', *v[1:]])),
            "'p00' is in two parts",
        ),
        (column('patch_id', lambda v: pa.array(range(6))), 'stores patch_id as int64'),
        (
            column('part_row', lambda v: pa.array([None, *v[1:]])),
            'has rows without part_row',
        ),
        (
            column('part_row', lambda v: pa.array([9, *v[1:]])),
            'lacks rows or has some twice',
        ),
        (
            column('part_row', lambda v: pa.array(['1'] * 6)),
            'stores part_row as string',
        ),
        (lambda table: table.slice(0, 5), 'lacks rows or has some twice'),
        (
            column('geometry', lambda v: pa.array(['x'] * 6)),
            'stores geometry as string',
        ),
        (
            column('geometry', lambda v: pa.array([b'x'] * 6)),
            'footprint of the archive is broken',
        ),
        (
            column('time_start', lambda v: pa.array(['x'] * 6)),
            'stores time_start as string',
        ),
        (
            column('valid_fraction', lambda v: pa.array(['x'] * 6)),
            'stores valid_fraction as',
        ),
        (
            column('native_corners', lambda v: pa.array([1] * 6)),
            'stores native_corners as int',
        ),
        (column('bbox', lambda v: pa.array([1] * 6)), 'stores bbox as int64'),
    ],
)
def test_a_part_that_no_search_can_use(
    archive: Path, change: Change, message: str, tmp_path: Path
) -> None:
    (part,) = archive.glob('part-b-*')
    pq.write_table(change(pq.read_table(part, partitioning=None)), part)
    with pytest.raises(ArchiveError, match=message) as caught:
        EmbeddingTable.load(archive)
    assert '\n' not in str(caught.value)
    with pytest.raises(ArchiveError, match=message):
        RetrievalIndex.build(archive, tmp_path / 'index')
    assert [p.name for p in tmp_path.iterdir()] == ['archive']


@pytest.mark.parametrize('metric', ['euclid', 'hamming'])
def test_a_metric_that_the_parts_do_not_have(archive: Path, metric: str) -> None:
    header = archive / '_archive.json'
    header.write_text(
        header.read_text().replace('"cosine"', f'"{metric}"').replace('4', '8')
    )
    with pytest.raises(ArchiveError):
        EmbeddingTable.load(archive)


@pytest.mark.parametrize('vectors', ['float32', 'float16', 'int8', 'binary'])
@pytest.mark.parametrize('value', [np.nan, np.inf, 100])
def test_a_search_refuses_what_it_meets_of_them(
    archive: Path, tmp_path: Path, vectors: str, value: float
) -> None:
    folder = tmp_path / 'index'
    table = EmbeddingTable.load(archive)
    RetrievalIndex.build(table, folder, vectors=vectors)
    # As large files are when they are opened: not compared with their checksums.
    header = folder / 'index.json'
    text = header.read_text()
    file = folder / 'segment-0' / 'vectors.npy'
    whole = np.load(file, mmap_mode='r+')  # what lies behind the numbers stays
    whole[:3] *= value
    whole.flush()
    stated = text.split('"vectors.npy": "')[1][:8]
    from torchgeo_cmr.durable import checksum

    header.write_text(text.replace(stated, checksum(file)).replace('\n', '\n '))
    with pytest.raises(ArchiveError, match='torchgeo-cmr check names them'):
        RetrievalIndex.open(folder).search(table, 12)


@pytest.mark.parametrize(
    'words',
    [
        b'{{',
        b'[' * 20_000,
        b'{"columns": 5, "index_columns": []}',
        b'{"columns": [], "index_columns": ["nowhere"]}',
        # One bit of "numpy_type" was flipped.
        b'{"columns": [{"name": "cloud", "oumpy_type": "float64"}], "index_columns": []}',
    ],
)
def test_what_pandas_wrote_about_columns_is_broken(archive: Path, words: bytes) -> None:
    """The same rows, or one sentence."""
    whole = EmbeddingTable.load(archive).frame
    for part in archive.glob('part-*'):
        table = pq.read_table(part)
        facts = {**table.schema.metadata, b'pandas': words}
        pq.write_table(table.replace_schema_metadata(facts), part)
    message = ''
    try:
        assert EmbeddingTable.load(archive).frame.equals(whole)
    except ArchiveError as error:
        message = str(error)
    faults = (
        r'archive: what its metadata say about columns|its columns are not those that'
    )
    assert re.match(rf'.*({faults})|$', message)
    assert len(message) < 400
