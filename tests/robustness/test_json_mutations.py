"""JSON that we read, with one place changed: the same answer or our error, and nothing else.

Every value is replaced by values of other types, by impossible numbers and by deep nesting, every
key is removed, and the text as a whole is cut, doubled or something else. Each value meets some of
what it can be replaced by; all of it with ``TORCHGEO_CMR_EVERY_MUTATION=1``.
"""

import copy
import json
import os
import random
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.search import RetrievalIndex, describe_index
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, describe
from torchgeo_cmr.table.schema import METADATA_KEY

#: What replaces a value; JSON texts, since some are none of Python's values.
WRONG = [
    *('null', 'true', '-1', '0', '7', '1.5', '1e308', '1e999', '9' * 30, '9' * 5000),
    *(
        'NaN',
        '-Infinity',
        '""',
        '"x"',
        '"../../x"',
        '"\\u0000"',
        '"\\udcff"',
        '[]',
        '[1]',
    ),
    *('{}', '{"a": 1}', '[[]]', '[null]', '[{"a": []}]', '[' * 800 + ']' * 800),
    *('[' * 50_000 + ']' * 50_000, '{"a":' * 5_000 + '1' + '}' * 5_000),
]
#: What replaces the text.
TEXTS = [
    b'',
    b'null',
    b'[]',
    b'{}',
    b'"x"',
    b'1',
    b'\xff\xfe',
    b'{"a": 1',
    b'[' * 100_000,
]
#: How many of them a value meets.
TRIED = len(WRONG) if os.environ.get('TORCHGEO_CMR_EVERY_MUTATION') else 6
_MARK = 'the value that is replaced'


def mutations(content: Any) -> Iterator[bytes]:
    """Give texts of JSON with one place changed."""
    text = json.dumps(content).encode()
    yield from (*TEXTS, text[: len(text) // 2], text + text, text[:-1] + b',}')
    yield text[:-1] + b', "unknown": [1]}'
    draw = random.Random(0)
    for path in paths(content):
        changed = copy.deepcopy(content)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = _MARK
        marked = json.dumps(changed)
        for wrong in draw.sample(WRONG, TRIED):
            yield marked.replace(f'"{_MARK}"', wrong).encode()
        del parent[path[-1]]
        yield json.dumps(changed).encode()


def paths(content: Any) -> Iterator[tuple[Any, ...]]:
    """Give the path of every value; of long lists, those of the first."""
    items: Any = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content[:1])
    for key, value in items:
        yield (key,)
        yield from ((key, *path) for path in paths(value))


def endure(content: Any, use: Callable[[bytes], Any]) -> tuple[int, int]:
    """Use every mutation; count those that were taken and those that were refused."""
    taken = refused = 0
    raw: dict[str, bytes] = {}
    for text in mutations(content):
        try:
            use(text)
        except CMRError as error:
            message = str(error)
            assert message, text[:200]
            assert '\n' not in message, text[:200]
            assert len(message) < 1_000, text[:200]
            refused += 1
        except Exception as error:  # noqa: BLE001 - what must not come
            place = traceback.extract_tb(error.__traceback__)[-1]
            raw[f'{type(error).__name__} at {place.filename}:{place.lineno}'] = text[
                :300
            ]
        else:
            taken += 1
    assert not raw
    return taken, refused


class World(NamedTuple):
    """A table as archive and index."""

    table: EmbeddingTable
    archive: Path
    index: Path


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Twelve rows with a record, in two parts."""
    home = tmp_path_factory.mktemp('json')
    x = np.arange(12.0)
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f's2:a.tif:{i}_0_1x1' for i in range(12)],
            'source': 'a.tif',
            'word': None,
        },
        geometry=shapely.box(x, 0, x + 1, 1),
        crs='EPSG:4326',
    )
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    record = {
        'root': '/nowhere',
        'sources': {'a.tif': [['a.tif', 1, 'B02', 10.0]]},
        'grids': {'a.tif': {'shape': [5, 5], 'transform': [1, 0, 0, 0, 1, 0]}},
        'nodata': {'a.tif': 0},
        'model': {'name': 'x', 'bands': ['B02']},
    }
    table = EmbeddingTable.from_frame(
        frame, vectors, space='x', modality='s2', record=record
    )
    header = {'space': 'x', 'rows': 12, 'record': record, 'work_items': 2, 'plan': [1]}
    sink = ParquetSink(home / 'archive', header)
    for key, rows in {'a': range(6), 'b': range(6, 12)}.items():
        sink.commit(key, table.select(rows))
    index = home / 'index'
    RetrievalIndex.build(home / 'archive', index, vectors='int8')
    return World(table, home / 'archive', index)


def same_rows(found: EmbeddingTable, table: EmbeddingTable) -> None:
    assert found.frame['patch_id'].tolist() == table.frame['patch_id'].tolist()
    assert np.array_equal(found.vectors, table.vectors)


def test_header_of_an_archive(world: World, tmp_path: Path) -> None:
    folder = tmp_path / 'archive'
    shutil.copytree(world.archive, folder)
    file = folder / '_archive.json'
    content = json.loads(file.read_text())

    def use(text: bytes) -> None:
        file.write_bytes(text)
        same_rows(EmbeddingTable.load(folder), world.table)
        describe(folder)

    taken, refused = endure(content, use)
    assert taken > 20
    assert refused > 80


def test_facts_of_a_part(world: World, tmp_path: Path) -> None:
    folder = tmp_path / 'archive'
    shutil.copytree(world.archive, folder)
    part = min(folder.glob('part-*'))
    stored = pq.read_table(part, partitioning=None)
    metadata = stored.schema.metadata
    content = json.loads(metadata[METADATA_KEY])

    def use(text: bytes) -> None:
        schema = stored.replace_schema_metadata({**metadata, METADATA_KEY: text})
        pq.write_table(schema, part)
        table = EmbeddingTable.load(folder)
        # The order of parts is that of their keys.
        assert sorted(table.frame['patch_id']) == sorted(world.table.frame['patch_id'])
        describe(folder)
        ParquetSink(
            folder, {}, replacing=['space', 'rows', 'record', 'work_items', 'plan']
        ).done()

    taken, refused = endure(content, use)
    assert taken > 20
    assert refused > 80


def test_header_of_an_index(world: World, tmp_path: Path) -> None:
    folder = tmp_path / 'index'
    shutil.copytree(world.index, folder)
    file = folder / 'index.json'
    content = json.loads(file.read_text())
    queries = world.table.select(range(2))
    expected = RetrievalIndex.open(folder).search(queries, 3)

    def use(text: bytes) -> None:
        file.write_bytes(text)
        index = RetrievalIndex.open(folder)
        found = index.search(queries, 3)
        assert found['patch_id'].tolist() == expected['patch_id'].tolist()
        describe_index(folder)

    taken, refused = endure(content, use)
    assert taken > 20
    assert refused > 80
