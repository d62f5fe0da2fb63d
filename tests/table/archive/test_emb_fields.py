"""What parts say of themselves in the words of the community."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.emb_fields import collection_fields, fact, run_fields

RECORD: dict[str, Any] = {
    'model': 'SSCMRSIR',
    'bands': ['B2', 'B3'],
    'size': 32,
    'stride': 16,
    'min_valid': 0.5,
    'normalisation': {'mean': [0.1, 0.2], 'std': [1.0, 1.0]},
    'resampling': 'bilinear',
    'versions': {'torchgeo_cmr': '0.1'},
    'sources': {'a.tif': [['a.tif', 1, 'B2', 10.0], ['a.tif', 2, 'B3', 20.0]]},
}


def test_every_part_has_them_next_to_our_own(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {'patch_id': ['p'], 'source': 'a.tif'},
        geometry=[shapely.box(9, 45, 9.1, 45.1)],
        crs=4326,
    )
    table = EmbeddingTable.from_frame(frame, np.ones((1, 4)), space='x', record=RECORD)
    (part,) = table.save(tmp_path / 'a').glob('part-*')
    metadata = pq.read_schema(part).metadata
    assert {b'emb', b'geo', b'torchgeo_cmr'} <= {*metadata}
    assert json.loads(metadata[b'emb']) == {
        'version': '0.0.1',
        'schema': 'https://stac-extensions.github.io/embeddings/v0.0.1/schema.json',
        'emb:type': 'chip',
        'emb:dimensions': 4,
        'data_type': 'float32',
        'gsd': 10.0,
        'emb:chip_layout': {
            'layout_type': 'regular_grid',
            'chip_size': [32, 32],
            'stride': [16, 16],
        },
        'emb:fit_for_use': ['retrieval'],
        'emb:runtime_parameters': {
            'bands': ['B2', 'B3'],
            'size': 32,
            'stride': 16,
            'min_valid': 0.5,
        },
        'emb:preprocessing': {
            'format': 'torchgeo_cmr',
            'expression': {
                'normalisation': {'mean': [0.1, 0.2], 'std': [1.0, 1.0]},
                'resampling': 'bilinear',
            },
        },
        'emb:postprocessing': {'format': 'text', 'expression': 'l2_normalize'},
        'processing:software': {'torchgeo_cmr': '0.1'},
        'model': {'name': 'SSCMRSIR', 'space': ['x']},
    }
    again = EmbeddingTable.load(tmp_path / 'a')
    assert again.record == table.record


def test_codes_are_quantised() -> None:
    fields = collection_fields({}, 64, 'hamming')
    assert (fields['emb:dimensions'], fields['data_type']) == (64, 'uint8')
    assert run_fields({}, 'hamming')['emb:quantization']['method'] == 'binary'


def test_pixels_of_one_are_pixels() -> None:
    record = {'pixels': {'size': 1, 'stride': 1, 'gsd': 10.0}}
    fields = collection_fields(record, 64, 'cosine')
    assert (fields['emb:type'], fields['gsd']) == ('pixel', 10.0)
    assert 'emb:chip_layout' not in fields


def test_what_merged_archives_disagree_on_is_left_out() -> None:
    one, other = {**RECORD, 'size': 64}, {**RECORD, 'model': 'x'}
    merged = {'merged_from': [one, other]}
    assert fact(merged, 'size') is None
    assert fact(merged, 'bands') == ['B2', 'B3']
    assert 'emb:chip_layout' not in collection_fields(merged, 4, 'cosine')
    sources = {'a': [['a', 1, 'B', 10.0]], 'b': [['b', 1, 'B', 20.0]]}
    assert 'gsd' not in collection_fields({'sources': sources}, 4, 'cosine')


@pytest.mark.parametrize(
    'record',
    [
        {},
        {'pixels': 5, 'sources': [1], 'versions': 'x', 'size': '3', 'merged_from': 7},
        {'sources': {'a': [['a']], 'b': 3}, 'merged_from': [1, None]},
    ],
)
def test_records_of_any_kind(record: dict[str, Any]) -> None:
    assert collection_fields(record, 4, 'cosine')['emb:dimensions'] == 4
    json.dumps(run_fields(record, 'cosine'))
