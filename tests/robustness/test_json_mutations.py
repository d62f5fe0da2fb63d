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
import sqlite3
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import torch
from lightning.pytorch import Trainer

from torchgeo_cmr.datasets import SyntheticLandscape
from torchgeo_cmr.embed import read_report
from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.export import (
    compare_records,
    describe_layer,
    make_record,
    read_manifest,
    read_search,
    to_html,
    write,
)
from torchgeo_cmr.scenes.catalogue import header_catalogue
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.search import RetrievalIndex, Where, describe_index
from torchgeo_cmr.search.where.area import read_area
from torchgeo_cmr.speech import corpus
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, describe
from torchgeo_cmr.table.archive.part_schema import METADATA_KEY
from torchgeo_cmr.tasks import CMIRPretrain, describe_checkpoint, load_task
from torchgeo_cmr.tasks.storage import checkpoint as checkpoint_file

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
EVERY = bool(os.environ.get('TORCHGEO_CMR_EVERY_MUTATION'))
TRIED = len(WRONG) if EVERY else 4
_MARK = 'the value that is replaced'


def mutations(content: Any, tried: int) -> Iterator[bytes]:
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
        for wrong in draw.sample(WRONG, tried):
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


def endure(
    content: Any, use: Callable[[bytes], Any], tried: int = TRIED
) -> tuple[int, int]:
    """Use mutations; count those that were taken and those that were refused."""
    taken = refused = 0
    raw: dict[str, bytes] = {}
    for text in mutations(content, tried):
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


@pytest.mark.slow
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
    assert taken > 15
    assert refused > 60


@pytest.mark.slow
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
    assert taken > 15
    assert refused > 60


@pytest.mark.slow
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
    assert taken > 15
    assert refused > 60


@pytest.fixture(scope='module')
def checkpoint() -> dict[str, Any]:
    """A checkpoint of a small task, in memory."""
    task = CMIRPretrain({'pan': 1, 'ms': 4}, 3, 'cmir_small')
    numbers = {
        'mean': [0.0],
        'std': [1.0],
        'gsd': 10.0,
        'patch_size': 32,
        'nodata': 0.0,
    }
    task.set_specs({'pan': {**numbers, 'bands': ['B1'], 'units': 'dn', 'scale': [1.0]}})
    trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
    trainer.strategy.connect(task)
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    'part', ['torchgeo_cmr', 'torchgeo_cmr_details', 'hyper_parameters', '_extra_state']
)
def test_parts_of_a_checkpoint(
    checkpoint: dict[str, Any], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are plain values that torch has read, or JSON among the weights."""
    state = checkpoint['state_dict']
    content = (
        json.loads(bytes(state[part].tolist()))
        if part == '_extra_state'
        else checkpoint[part]
    )
    file = __file__  # one that exists

    def use(text: bytes) -> None:
        changed = {**checkpoint, 'state_dict': dict(state)}
        if part == '_extra_state':
            changed['state_dict'][part] = torch.tensor([*text], dtype=torch.uint8)
        else:
            try:
                changed[part] = json.loads(text)
            except (ValueError, RecursionError):
                return  # what no checkpoint can hold
        monkeypatch.setattr(checkpoint_file, 'load_plain', lambda *_, **__: changed)
        describe_checkpoint(file)
        task = load_task(file)
        assert (
            task.embed({task.keys['pan']: torch.ones(2, 1, 8, 8)}, 'pan').shape[0] == 2
        )

    _, refused = endure(content, use)
    assert refused > (2 if part == 'torchgeo_cmr_details' else 20)


@pytest.fixture(scope='module')
def record(world: World) -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    """A result and its record."""
    queries = world.table.select([0, 1])
    hits = RetrievalIndex(world.table).search(queries, 2)
    where = Where((0, 0, 90, 10), during='2020/2030')
    made = make_record(
        hits,
        archives={'archive': world.table},
        queries=queries,
        where=where,
        k=2,
        command=['torchgeo-cmr', 'search', 'archive'],
        asked=['x'],
    )
    return hits, made


def test_manifest(
    record: tuple[gpd.GeoDataFrame, dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / 'hits.json'
    content = {name: value for name, value in record[1].items() if name != 'scenes'}

    def use(text: bytes) -> None:
        file.write_bytes(text)
        read = read_manifest(file)
        if 'rows' in read:
            compare_records(read, content)

    _, refused = endure(content, use)
    assert refused > 40


@pytest.mark.slow
@pytest.mark.parametrize(
    'suffix', [pytest.param('gpkg', marks=pytest.mark.slow), 'parquet']
)
def test_record_of_a_saved_search(
    record: tuple[gpd.GeoDataFrame, dict[str, Any]], tmp_path: Path, suffix: str
) -> None:
    file, page = tmp_path / f'hits.{suffix}', tmp_path / 'page.html'
    hits, content = record[0], {n: v for n, v in record[1].items() if n != 'versions'}
    write(hits, file, record=content)

    def use(text: bytes) -> None:
        if suffix == 'gpkg':
            with closing(sqlite3.connect(file)) as db, db:
                db.execute(
                    'UPDATE gpkg_metadata SET metadata = ?',
                    (text.decode(errors='replace'),),
                )
        else:
            stored = pq.read_table(file)
            metadata = {**stored.schema.metadata, b'torchgeo_cmr': text}
            pq.write_table(stored.replace_schema_metadata(metadata), file)
        found = read_search(file)
        assert found.results['patch_id'].tolist() == hits['patch_id'].tolist()
        if suffix == 'gpkg':
            to_html(found.results, page, record=found.record or None, overwrite=True)

    _, refused = endure(content, use, TRIED if EVERY else 1)
    assert refused > 20


def test_metadata_of_geoparquet(world: World, tmp_path: Path) -> None:
    file = tmp_path / 'a.parquet'
    world.table.frame[['patch_id', 'geometry']].to_parquet(file)
    stored = pq.read_table(file)
    content = json.loads(stored.schema.metadata[b'geo'])
    content['columns']['geometry']['crs'] = 'EPSG:4326'

    def use(text: bytes) -> None:
        metadata = {**stored.schema.metadata, b'geo': text}
        pq.write_table(stored.replace_schema_metadata(metadata), file)
        describe_layer(file)
        with pytest.raises(CMRError):  # it is no result
            read_search(file)

    _, refused = endure(content, use)
    assert refused > 40


def test_report_of_a_run(tmp_path: Path) -> None:
    content = {
        'archive': 'a',
        'counts': {'done': 1},
        'refused': {'a.tif': 'x'},
        'done': ['b'],
    }

    def use(text: bytes) -> None:
        (tmp_path / 'a-report.json').write_bytes(text)
        assert read_report(tmp_path / 'a')['counts'] is not None

    assert endure(content, use)[1] > 20


def test_area_as_geojson() -> None:
    ring = [[0, 0], [1, 0], [1, 1], [0, 0]]
    feature = {
        'type': 'Feature',
        'properties': {},
        'geometry': {'type': 'Polygon', 'coordinates': [ring]},
    }
    content = {
        'type': 'FeatureCollection',
        'features': [feature],
        'crs': {'type': 'name', 'properties': {'name': 'EPSG:4326'}},
    }

    def use(text: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # it may lie anywhere
            read_area(text.decode(errors='replace'))

    assert endure(content, use)[1] > 50


@pytest.mark.slow
def test_catalogue_of_headers(
    write_raster: Callable[..., Path], tmp_path: Path
) -> None:
    """It is written again by whoever finds it broken, with a warning."""
    raster, file = (
        write_raster('a.tif', shape=(8, 8), nodata=0),
        tmp_path / 'headers.parquet',
    )
    with header_catalogue(file):
        expected = read_header(str(raster))
    stored = pq.read_table(file)
    for column in ('header', 'stamps'):
        content = json.loads(stored.column(column)[0].as_py())
        place = stored.schema.get_field_index(column)

        def use(text: bytes, place: int = place, column: str = column) -> None:
            cell = pa.array([text.decode(errors='replace')])
            pq.write_table(stored.set_column(place, column, cell), file)
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                with header_catalogue(file):
                    # What can be a header is believed.
                    found = read_header(str(raster))
            assert type(found.shape) is tuple
            assert found.count == expected.count

        endure(content, use)


def test_settings_of_a_corpus(tmp_path: Path) -> None:
    settings = {'voices': ['a'], 'seed': 0, 'speeds': [1]}

    def use(text: bytes) -> None:
        (tmp_path / 'speak.json').write_bytes(text)
        corpus._begin(tmp_path, settings, False)

    assert endure(settings, use)[1] > 20


@pytest.mark.slow
def test_manifest_of_an_invented_world(tmp_path: Path) -> None:
    make = partial(SyntheticLandscape, tmp_path / 'world', size=128, sensors=['s1'])
    make()
    file = tmp_path / 'world' / 'world.json'
    content = json.loads(file.read_text())

    def use(text: bytes) -> None:
        file.write_bytes(text)
        make()

    assert endure(content, use)[1] > 20
