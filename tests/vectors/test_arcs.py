"""Geometries with arcs: GDAL makes lines of them, and where nobody does they are a sentence."""

import json
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search.where.area import read_area
from torchgeo_cmr.search.where.columns import footprints_of
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.part_schema import frame_from_arrow
from torchgeo_cmr.vectors.vector_file import read_frame

ARC = 'CIRCULARSTRING(0 0, 1 1, 2 0)'
#: Half a disk of radius 1 round (1, 0).
DISK = f'CURVEPOLYGON(COMPOUNDCURVE({ARC}, (2 0, 0 0)))'
WKB = struct.pack('<BII6d', 1, 8, 3, 0, 0, 1, 1, 2, 0)


def written(path: Path, wkt: str) -> Path:
    path.write_text(f'WKT\n"{wkt}"\n')
    return path


def test_files_have_lines_for_arcs(tmp_path: Path) -> None:
    area = read_area(written(tmp_path / 'area.csv', DISK), 4326)
    assert area.area == pytest.approx(3.14159 / 2, rel=2e-3)
    assert area.contains(shapely.Point(1, 0.99))


def test_arcs_in_a_collection(tmp_path: Path) -> None:
    for wkt in (
        f'GEOMETRYCOLLECTION({ARC})',
        f'GEOMETRYCOLLECTION(POINT(0 0), GEOMETRYCOLLECTION({ARC}))',
    ):
        path = written(tmp_path / 'area.csv', wkt)
        with pytest.raises(
            QueryError, match=r'area.csv holds arcs in a collection; make'
        ):
            read_frame(path)
    path = written(tmp_path / 'area.csv', 'GEOMETRYCOLLECTION(POINT(1 2))')
    assert read_area(path, 4326).equals(shapely.Point(1, 2))


@pytest.mark.parametrize('stored', [WKB, WKB.hex(), DISK])
def test_parquet_files(tmp_path: Path, stored: bytes | str) -> None:
    path = tmp_path / 'a.parquet'
    columns = pa.table({'embedding': [[1.0, 2.0]], 'geometry': [stored]})
    pq.write_table(columns, path)
    with pytest.raises(
        ArchiveError, match=r'column geometry holds a geometry with arcs'
    ):
        EmbeddingTable.from_parquet(path, crs='EPSG:4326')
    geo = {'encoding': 'WKB', 'geometry_types': []}
    text = {
        'version': '1.0.0',
        'primary_column': 'geometry',
        'columns': {'geometry': geo},
    }
    if isinstance(stored, bytes):
        pq.write_table(columns.replace_schema_metadata({'geo': json.dumps(text)}), path)
        with pytest.raises(
            QueryError, match=r'a.parquet holds arcs; make its arcs lines'
        ):
            read_frame(path)


def test_a_damaged_footprint_that_reads_as_arcs() -> None:
    """One byte of a line makes an arc of it."""
    column = pa.chunked_array([[WKB]])
    with pytest.raises(ArchiveError, match=r'footprint of the index is broken'):
        footprints_of(column)
    with pytest.raises(ArchiveError, match=r'footprint of the archive is broken'):
        frame_from_arrow(pa.table({'geometry': column}))
