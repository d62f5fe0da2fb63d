"""An archive as a STAC collection: valid by the extension's own schema, read by other libraries."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import pytest
import shapely

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import Catalogue, to_collection, to_stac_geoparquet
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

type Validate = Callable[[Any], None]

SHARED = Path(__file__).parents[4] / 'shared' / 'data' / 'geo_embeddings'
RECORD: dict[str, Any] = {
    'model': 'SSCMRSIR',
    'root': '/data/scenes',
    'bands': ['B2'],
    'size': 32,
    'stride': 32,
    'versions': {'torchgeo_cmr': '0.1'},
    'normalisation': {'mean': [0.1], 'std': [1.0]},
}


def part(
    name: str, lon: list[float], time: list[str | None], lat: float = 45
) -> EmbeddingTable:
    """A table of squares of 0.1 degrees."""
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{name}{i}' for i in range(len(lon))],
            'source': f'{name}.tif',
            'modality': 's2',
            'time_start': pd.to_datetime(time, utc=True),
            'time_end': pd.to_datetime(time, utc=True),
        },
        geometry=[shapely.box(x, lat, x + 0.1, lat + 0.1) for x in lon],
        crs=4326,
    )
    sources = {f'{name}.tif': [[f'{name}.tif', 1, 'B2', 10.0]]}
    vectors = np.random.default_rng(0).normal(size=(len(lon), 4))
    record = {**RECORD, 'sources': sources}
    return EmbeddingTable.from_frame(frame, vectors, space='abc', record=record)


def save(path: Path, *tables: EmbeddingTable) -> Path:
    sink = ParquetSink(path, {'space': 'abc'})
    for number, table in enumerate(tables):
        sink.commit(f'part {number}', table)
    sink.finish()
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    one = part('a', [9.0, 9.2], ['2024-06-01T10:30Z', '2024-06-03T10:30Z'])
    other = part('b', [11.0], ['2023-05-01T09:00Z'])
    return save(tmp_path / 'archive', one, other)


@pytest.fixture(scope='module')
def validate() -> Validate:
    """Compare with the schema of the extension, version 0.0.1.

    It refers to STAC 1.0.0 by address. Without a network, the schemas of STAC 1.1.0 that pystac ships stand for
    those, with the number of the version changed; of the extension Processing only the form of an expression is known.
    """
    jsonschema = pytest.importorskip('jsonschema')
    referencing = pytest.importorskip('referencing')
    if not SHARED.exists():
        pytest.skip(f'the schema is not there: {SHARED}')
    from pystac.validation.local_validator import get_local_schema_cache

    found = {
        'https://stac-extensions.github.io/processing/v1.2.0/schema.json': {
            'definitions': {
                'fields': {
                    'properties': {
                        'processing:expression': {
                            'type': 'object',
                            'required': ['format', 'expression'],
                            'properties': {'format': {'type': 'string'}},
                        }
                    }
                }
            }
        }
    }
    for address, schema in get_local_schema_cache().items():
        text = json.dumps(schema).replace('v1.1.0', 'v1.0.0')
        text = text.replace('"const": "1.1.0"', '"const": "1.0.0"')
        found[address.replace('v1.1.0', 'v1.0.0')] = json.loads(text)
    registry = referencing.Registry().with_resources(
        (
            address,
            referencing.Resource.from_contents(
                schema, default_specification=referencing.jsonschema.DRAFT7
            ),
        )
        for address, schema in found.items()
    )
    schema = json.loads((SHARED / 'schema.json').read_text())
    validator = jsonschema.Draft7Validator(schema, registry=registry)

    def check(document: Any) -> None:
        validator.validate(document)

    return check


def read(path: Path) -> Any:
    return json.loads(path.read_text())


class TestSchema:
    def test_the_schema_tells_right_from_wrong(self, validate: Validate) -> None:
        """Its own examples pass, and fail once something required is gone."""
        for name in ('collection', 'item'):
            document = read(SHARED / f'{name}.json')
            validate(document)
        del document['assets']['embeddings']
        with pytest.raises(Exception, match='is not valid under any'):
            validate(document)

    def test_collection_and_items_are_valid(
        self, archive: Path, tmp_path: Path, validate: Validate
    ) -> None:
        path = to_collection(archive, tmp_path / 'out' / 'archive.stac.json')
        validate(read(path))
        items = [*(tmp_path / 'out' / 'archive.items').iterdir()]
        assert len(items) == 2
        for item in items:
            validate(read(item))

    def test_an_archive_that_knows_little_is_valid(
        self, tmp_path: Path, validate: Validate
    ) -> None:
        frame = gpd.GeoDataFrame(
            {'patch_id': ['p']}, geometry=[shapely.Point(9, 45)], crs=4326
        )
        table = EmbeddingTable.from_frame(frame, np.ones((1, 4)))
        archive = table.save(tmp_path / 'archive')
        with pytest.raises(QueryError, match=r'1 parts .* --time 2024'):
            to_collection(archive, tmp_path / 'x.stac.json')
        assert not (tmp_path / 'x.items').exists()
        given = Catalogue(time='2024', licence='CC-BY-4.0', model='https://x.org/m')
        path = to_collection(archive, tmp_path / 'x.stac.json', catalogue=given)
        collection = read(path)
        validate(collection)
        links = {link['rel']: link['href'] for link in collection['links']}
        assert links['emb:model'] == 'https://x.org/m'
        assert links['emb:source-data'] == 'urn:torchgeo-cmr:unknown'
        assert collection['license'] == 'CC-BY-4.0'
        (item,) = (tmp_path / 'x.items').iterdir()
        validate(read(item))
        assert read(item)['properties']['end_datetime'] == '2024-12-31T23:59:59.999999Z'

    def test_codes_are_valid(self, tmp_path: Path, validate: Validate) -> None:
        frame = gpd.GeoDataFrame(
            {'patch_id': ['p']}, geometry=[shapely.Point(9, 45)], crs=4326
        )
        codes = np.zeros((1, 8), np.uint8)
        table = EmbeddingTable.from_frame(frame, codes, metric='hamming')
        given = Catalogue(time='2024-01-01/2024-02-01')
        path = to_collection(
            table.save(tmp_path / 'a'), tmp_path / 'a.stac.json', catalogue=given
        )
        validate(read(path))
        (item,) = (tmp_path / 'a.items').iterdir()
        validate(read(item))
        assert read(item)['properties']['emb:quantization']['method'] == 'binary'


class TestContents:
    def test_pystac_follows_the_links(self, archive: Path, tmp_path: Path) -> None:
        path = to_collection(archive, tmp_path / 'out' / 'archive.stac.json')
        collection = pystac.Collection.from_file(str(path))
        assert collection.id == 'archive'
        assert collection.extra_fields['emb:dimensions'] == 4
        assert collection.extent.spatial.bboxes == [[9.0, 45.0, 11.1, 45.1]]
        (interval,) = collection.extent.temporal.intervals
        assert interval == [
            pd.Timestamp('2023-05-01T09:00Z'),
            pd.Timestamp('2024-06-03T10:30Z'),
        ]
        items = sorted(collection.get_items(), key=lambda item: item.bbox or [])
        np.testing.assert_allclose(
            [item.bbox or [] for item in items],
            [[9.0, 45.0, 9.3, 45.1], [11.0, 45.0, 11.1, 45.1]],
        )
        first, second = items
        assert first.properties['start_datetime'] == '2024-06-01T10:30:00Z'
        assert second.datetime == pd.Timestamp('2023-05-01T09:00Z')
        assert first.get_collection() == collection
        # The asset is the part itself, wherever the catalogue lies.
        href = first.assets['embeddings'].get_absolute_href()
        assert href is not None
        rows = gpd.read_parquet(href)
        assert sorted(rows['patch_id']) == ['a0', 'a1']
        (scene,) = first.get_links('emb:source-data')
        assert scene.href == 'file:///data/scenes/a.tif'
        (model,) = collection.get_links('emb:model')
        assert (model.href, model.title) == ('urn:torchgeo-cmr:space:abc', 'SSCMRSIR')

    def test_a_source_that_is_given_stands_for_local_paths(
        self, archive: Path, tmp_path: Path
    ) -> None:
        given = Catalogue(source='https://example.org/sentinel-2')
        path = to_collection(archive, tmp_path / 'a.stac.json', catalogue=given)
        texts = [
            path.read_text(),
            *(p.read_text() for p in (tmp_path / 'a.items').iterdir()),
        ]
        assert not any('/data/scenes' in text for text in texts)
        item = json.loads(texts[1])
        (link,) = (k for k in item['links'] if k['rel'] == 'emb:source-data')
        assert link['href'] == 'https://example.org/sentinel-2'

    def test_across_the_antimeridian(self, tmp_path: Path, validate: Validate) -> None:
        fiji = part('f', [179.95, -179.9, 179.0], ['2024-06-01T00:00Z'] * 3, lat=-17)
        archive = save(tmp_path / 'archive', fiji)
        path = to_collection(archive, tmp_path / 'a.stac.json')
        (item,) = (tmp_path / 'a.items').iterdir()
        for document in (read(item), read(path)):
            validate(document)
        np.testing.assert_allclose(read(item)['bbox'], [179, -17, -179.8, -16.9])
        shape = shapely.geometry.shape(read(item)['geometry'])
        assert shape.geom_type == 'MultiPolygon'
        assert shape.area < 0.2
        (box,) = read(path)['extent']['spatial']['bbox']
        np.testing.assert_allclose(box, [179, -17, -179.8, -16.9])

    def test_rows_without_a_place(self, tmp_path: Path, validate: Validate) -> None:
        frame = gpd.GeoDataFrame(
            {'patch_id': ['p'], 'time_start': ['2024-01-01']},
            geometry=gpd.GeoSeries([None], crs=4326),
        )
        table = EmbeddingTable.from_frame(frame, np.ones((1, 4)), placeless=True)
        path = to_collection(table.save(tmp_path / 'a'), tmp_path / 'a.stac.json')
        (item,) = (tmp_path / 'a.items').iterdir()
        assert read(item)['geometry'] is None
        validate(read(item))
        validate(read(path))

    def test_items_as_one_table(self, archive: Path, tmp_path: Path) -> None:
        pytest.importorskip('stac_geoparquet')
        path = to_stac_geoparquet(archive, tmp_path / 'items.stac.parquet')
        table = gpd.read_parquet(path)
        assert len(table) == 2
        assert table.crs.to_epsg() == 4326
        assert {'emb:runtime_parameters', 'start_datetime', 'assets'} <= {*table}
        np.testing.assert_allclose(table.total_bounds, [9, 45, 11.1, 45.1])

    def test_without_the_library(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, 'stac_geoparquet.arrow', None)
        with pytest.raises(QueryError, match=r'pip install stac-geoparquet'):
            to_stac_geoparquet(archive, tmp_path / 'items.stac.parquet')


class TestFiles:
    def test_replaced_as_a_whole(self, archive: Path, tmp_path: Path) -> None:
        path = tmp_path / 'a.stac.json'
        to_collection(archive, path)
        with pytest.raises(OutputExistsError):
            to_collection(archive, path)
        ParquetSink(archive, {'space': 'abc'}).remove('part 1')
        to_collection(archive, path, overwrite=True)
        (item,) = (tmp_path / 'a.items').iterdir()
        links = [link['href'] for link in read(path)['links'] if link['rel'] == 'item']
        assert links == [f'./a.items/{item.name}']

    def test_nothing_is_left_of_what_fails(self, archive: Path, tmp_path: Path) -> None:
        (part, _) = sorted(archive.glob('part-*'))
        part.write_bytes(part.read_bytes()[:-100])
        with pytest.raises(Exception, match='truncated or broken'):
            to_collection(archive, tmp_path / 'a.stac.json')
        assert [p.name for p in tmp_path.iterdir()] == ['archive']
