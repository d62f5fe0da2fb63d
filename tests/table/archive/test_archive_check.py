"""What a check of an archive finds: nothing in a whole one, each damage by its file."""

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, verify_archive
from torchgeo_cmr.table.archive.part_schema import METADATA_KEY

type Frame = gpd.GeoDataFrame


@pytest.fixture
def archive(frame: Frame, vectors: np.ndarray, tmp_path: Path) -> Path:
    """An archive of three parts."""
    table = EmbeddingTable.from_frame(frame, vectors, space='x')
    sink = ParquetSink(tmp_path / 'archive', {'space': 'x', 'rows': len(table)})
    for begin in (0, 4, 8):
        sink.commit(f'scene {begin}', table.select(range(begin, begin + 4)))
    return sink.path


def faults(archive: Path) -> list[tuple[str, str]]:
    return [(Path(f.file).name, f.fault) for f in verify_archive(archive) if f.fault]


def rewrite(part: Path, change: Any) -> None:
    """Write a part again, with valid checksums but other content."""
    table = pq.read_table(part, partitioning=None)
    pq.write_table(change(table), part, write_page_checksum=True)


def test_a_whole_archive(archive: Path) -> None:
    findings = list(verify_archive(archive))
    assert [Path(f.file).name for f in findings] == [
        '_archive.json',
        *sorted(p.name for p in archive.glob('part-*')),
    ]
    assert not any(f.fault or f.cure for f in findings)


@pytest.mark.slow
def test_a_flipped_bit_is_found_or_changes_nothing(archive: Path) -> None:
    part = sorted(archive.glob('part-*'))[1]
    whole, table = part.read_bytes(), EmbeddingTable.load(archive)
    draw = random.Random(0)
    found = 0
    for _ in range(80):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        part.write_bytes(content)
        if names := [name for name, _ in faults(archive)]:
            assert names == [part.name]
            found += 1
        else:  # in a name or a number that nobody reads
            loaded = EmbeddingTable.load(archive)
            assert np.array_equal(loaded.vectors, table.vectors)
            assert loaded.frame.equals(table.frame)
    # What is left are statistics of the footer, which we do not read, and unused bits of page headers.
    assert found > 65


@pytest.mark.parametrize(
    ('column', 'values', 'message'),
    [
        ('patch_id', lambda c: pa.array([None, *c.to_pylist()[1:]]), 'has no patch_id'),
        ('patch_id', lambda c: pa.array(['', *c.to_pylist()[1:]]), 'has no patch_id'),
        ('patch_id', lambda c: pa.array(['x', *c.to_pylist()[1:]]), 'not those that'),
        ('part_row', lambda c: pa.array([0] * len(c)), 'numbers of its rows'),
        ('geometry', lambda c: pa.array([b'no', *c.to_pylist()[1:]]), 'a footprint'),
    ],
)
def test_columns_that_somebody_changed(
    archive: Path, column: str, values: Any, message: str
) -> None:
    part = min(archive.glob('part-*'))

    def change(table: pa.Table) -> pa.Table:
        i = table.schema.get_field_index(column)
        field = table.schema.field(i)
        return table.set_column(i, field, values(table.column(i)).cast(field.type))

    rewrite(part, change)
    ((name, fault),) = faults(archive)
    assert name == part.name
    assert message in fault


def test_a_type_in_the_footer_that_somebody_changed(archive: Path) -> None:
    """One bit of it makes bytes of text, and nothing else of it has a checksum."""
    part = min(archive.glob('part-*'))

    def change(table: pa.Table) -> pa.Table:
        i = table.schema.get_field_index('labels')
        kind = pa.list_(pa.binary())
        return table.set_column(i, pa.field('labels', kind), table.column(i).cast(kind))

    rewrite(part, change)
    with pytest.raises(ArchiveError, match='columns are not those that were written'):
        EmbeddingTable.load(archive)
    ((name, fault),) = faults(archive)
    assert name == part.name
    assert 'columns are not those that were written' in fault


@pytest.mark.parametrize('value', [np.nan, np.inf, 0, 3, 1e38])
def test_vectors_that_are_not_of_length_one(archive: Path, value: float) -> None:
    part = min(archive.glob('part-*'))

    def change(table: pa.Table) -> pa.Table:
        i = table.schema.get_field_index('vector')
        flat = table.column(i).combine_chunks().flatten().to_numpy().copy()
        flat[:5] = value
        made = pa.FixedSizeListArray.from_arrays(pa.array(flat), 5)
        return table.set_column(i, table.schema.field(i), made)

    rewrite(part, change)
    ((_, fault),) = faults(archive)
    assert 'long, not 1' in fault


def test_what_is_missing_or_twice(archive: Path) -> None:
    parts = sorted(archive.glob('part-*'))
    kept = parts[0].read_bytes()
    parts[0].unlink()
    assert faults(archive) == [
        ('archive', 'the parts hold 8 of 12 rows: one is missing')
    ]
    (archive / 'part-copy-0123456789abcdef.parquet').write_bytes(parts[1].read_bytes())
    ((name, fault),) = faults(archive)
    assert (name, fault[:24]) == (
        'part-copy-0123456789abcdef.parquet',
        'its name is not that of ',
    )
    parts[0].write_bytes(kept)


def test_ids_of_two_parts(frame: Frame, vectors: np.ndarray, tmp_path: Path) -> None:
    table = EmbeddingTable.from_frame(frame, vectors, space='x')
    sink = ParquetSink(tmp_path / 'a', {})
    sink.commit('one', table)
    sink.commit('two', table.select(range(3)))
    assert faults(sink.path) == [('a', '3 values of patch_id occur twice')]


def test_parts_of_earlier_versions_have_no_digest(archive: Path) -> None:
    part = min(archive.glob('part-*'))

    def change(table: pa.Table) -> pa.Table:
        facts = json.loads(table.schema.metadata[METADATA_KEY])
        for later in ('content', 'types', 'geo', 'checksum'):
            del facts[later]
        return table.replace_schema_metadata(
            {**table.schema.metadata, METADATA_KEY: json.dumps(facts)}
        )

    rewrite(part, change)
    assert faults(archive) == []


@pytest.mark.parametrize('text', ['', '[]', '{"format": "torchgeo_cmr.archive"}'])
def test_a_broken_header(archive: Path, text: str) -> None:
    (archive / '_archive.json').write_text(text)
    (finding,) = verify_archive(archive)
    assert finding.fault
    assert finding.file.endswith('_archive.json')


def test_a_column_whose_name_is_not_unicode(archive: Path) -> None:
    part = min(archive.glob('part-*'))
    part.write_bytes(part.read_bytes().replace(b'valid_fraction', b'valid_fracti\xb8n'))
    with pytest.raises(ArchiveError, match=part.name):
        EmbeddingTable.load(archive)
    assert [name for name, _ in faults(archive)] == [part.name]


@pytest.mark.skipif(sys.platform != 'linux', reason='names of files are text elsewhere')
def test_a_part_whose_name_is_not_utf8_is_named(
    frame: Any, vectors: Any, tmp_path: Path
) -> None:
    archive = EmbeddingTable.from_frame(frame, vectors).save(tmp_path / 'a')
    (part,) = archive.glob('part-*')
    part.rename(archive / os.fsdecode(b'part-caf\xe9.parquet'))
    _, finding = verify_archive(archive)
    assert finding.fault == r"the name 'part-caf\udce9.parquet' is not UTF-8"
    assert 'rename that file' in finding.cure
