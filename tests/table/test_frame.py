"""Frames that users give: which become those of a table, and how; which are refused."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.schema import STANDARD

#: Any: pandas' stubs lose the type of assigned frames.
type Frame = Any

RECORD = {
    'model': 'm',
    'bands': {'s2': ['B02']},
    'sources': {'scene.tif': [['scene.tif', 1, 'B02', 10.0]], 'unused.tif': []},
}


def test_standard_columns_and_own_ones(frame: Frame, vectors: np.ndarray) -> None:
    table = EmbeddingTable.from_frame(
        frame, vectors, space='abc', modality='s2', record=RECORD
    )
    assert list(table.frame.columns) == [
        *STANDARD,
        'cloud',
        'word',
        'count',
        'flag',
        'class',
        'labels',
        'small',
        'geometry',
    ]
    assert table.space == 'abc'
    assert table.modality == 's2'
    assert (len(table), table.dim, table.metric) == (12, 5, 'cosine')
    assert table.frame['time_end'].isna().all()
    assert str(table.frame['time_end'].dtype) == 'datetime64[us, UTC]'
    assert table.frame['valid_fraction'].dtype == np.float64
    assert table.frame['count'].dtype == 'Int64'
    assert table.frame.index.equals(pd.RangeIndex(12))
    assert '12 rows, dim=5, modality=s2' in repr(table)


def test_arguments_stay(frame: Frame, vectors: np.ndarray) -> None:
    before, numbers, record = (
        frame.copy(deep=True),
        vectors.copy(),
        json.dumps(RECORD),
    )
    table = EmbeddingTable.from_frame(frame, vectors, space='x', record=RECORD)
    assert_geodataframe_equal(frame, before)
    assert (vectors == numbers).all()
    table.record['sources'].clear()
    assert json.dumps(RECORD) == record


def test_crs_is_changed_and_other_geometry_name_taken(
    frame: Frame, vectors: np.ndarray
) -> None:
    renamed = frame.rename_geometry('shape')
    table = EmbeddingTable.from_frame(renamed, vectors)
    assert table.frame.crs.to_epsg() == 4326
    back = table.frame.geometry.to_crs(32632)
    assert shapely.equals_exact(
        back.to_numpy(), frame.geometry.to_numpy(), tolerance=1e-3
    ).all()


def test_two_zones_agree_on_the_ground(vectors: np.ndarray) -> None:
    # 12 degrees east is the border of zones 32 and 33.
    point = gpd.GeoSeries([shapely.Point(12, 46)], crs=4326)
    tables = []
    for zone in (32632, 32633):
        x, y = point.to_crs(zone).iloc[0].coords[0]
        one = gpd.GeoDataFrame(
            {'patch_id': [str(zone)]},
            geometry=[shapely.box(x - 50, y - 50, x + 50, y + 50)],
            crs=zone,
        )
        tables.append(EmbeddingTable.from_frame(one, vectors[:1]))
    both = EmbeddingTable.concat(tables)
    assert both.frame.geometry.intersects(shapely.Point(12, 46)).all()
    assert (
        both.frame.geometry.iloc[0].centroid.distance(
            both.frame.geometry.iloc[1].centroid
        )
        < 1e-6
    )


def test_antimeridian_footprint_is_cut() -> None:
    fiji = gpd.GeoDataFrame(
        {'patch_id': ['a']},
        geometry=[shapely.box(790_000, 8e6, 860_000, 8.07e6)],
        crs=32760,
    )
    shape = EmbeddingTable.from_frame(fiji, [[1.0, 2.0]]).frame.geometry.iloc[0]
    assert shape.geom_type == 'MultiPolygon'
    assert shape.area < 1


def test_times(frame: Frame, vectors: np.ndarray) -> None:
    given = frame.assign(
        time_start=['2024-06-01', '2024-06-01T12:00+05:00', None] * 4,
        time_end=pd.Timestamp('2024-06-02'),
    )
    start = EmbeddingTable.from_frame(given, vectors).frame['time_start']
    assert start[0] == pd.Timestamp('2024-06-01', tz='UTC')
    assert start[1] == pd.Timestamp('2024-06-01 07:00', tz='UTC')
    assert pd.isna(start[2])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda f: f.set_crs(None, allow_override=True),
            r'no CRS; declare it with frame\.set_crs',
        ),
        (lambda f: pd.DataFrame(f), 'come as a GeoDataFrame'),
        (lambda f: f.drop(columns='patch_id'), 'no column patch_id'),
        (lambda f: f.assign(patch_id=range(12)), 'patch_id of row 0 is 0; give text'),
        (lambda f: f.assign(patch_id=[None, *'bcdefghijkl']), 'patch_id of row 0'),
        (
            lambda f: f.assign(patch_id=[*'abcdefghijk', 'b']),
            "'b' occurs more than once",
        ),
        (
            lambda f: f.assign(geometry=[None, *f.geometry[1:]]),
            '0_0_32x32.* is null or empty',
        ),
        (
            lambda f: f.assign(geometry=[shapely.Polygon(), *f.geometry[1:]]),
            'is null or empty',
        ),
        (
            lambda f: f.assign(
                geometry=[
                    shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]),
                    *f.geometry[1:],
                ]
            ),
            'make_valid',
        ),
        (
            lambda f: f.set_geometry(
                f.geometry.affine_transform([1e9, 0, 0, 1e9, 0, 0])
            ),
            'cannot be expressed in EPSG:4326 from EPSG:32632',
        ),
        (
            lambda f: f.assign(time_start='soon'),
            'column time_start holds something that is not a time',
        ),
        (lambda f: f.assign(time_start=5), 'plain numbers'),
        (
            lambda f: f.assign(time_end=pd.Timestamp('2020-01-01')),
            'ends before it starts',
        ),
        (lambda f: f.assign(native_corners=[[1, 2]] * 12), 'not eight finite numbers'),
        (lambda f: f.assign(source=3), 'source of patch_id .* is 3'),
        (
            lambda f: f.assign(valid_fraction='much'),
            'valid_fraction holds other things than numbers',
        ),
        (
            lambda f: f.assign(valid_fraction=[*[0.5] * 11, 97]),
            'valid_fraction of patch_id .* is 97; give a share from 0 to 1',
        ),
        (lambda f: f.assign(vector=1), "needs the column name 'vector' itself"),
        (
            lambda f: f.assign(space='other'),
            "space='abc' was given but row 0 has 'other'",
        ),
        (
            lambda f: f.assign(mixed=[1, 'a'] * 6),
            "column 'mixed' cannot be stored .*for column mixed",
        ),
        (
            lambda f: f.assign(huge=[2**70] * 12),
            "column 'huge' cannot be stored .*too large",
        ),
        (
            lambda f: f.assign(cut=pd.Series(['\ud83d'] * 12, f.index, dtype=object)),
            "column 'cut' cannot be stored .*surrogates",
        ),
        (lambda f: f.assign(second=f.geometry), 'second geometry column'),
        (lambda f: f.rename(columns={'cloud': 7}), 'column name is not text'),
        (lambda f: f.rename(columns={'cloud': 'word'}), "'word' is there twice"),
        (
            lambda f: f.rename(columns={'cloud': 'patch_id'}),
            "'patch_id' is there twice",
        ),
    ],
)
def test_refuses_frames(
    frame: Frame, vectors: np.ndarray, change: Callable[..., Any], message: str
) -> None:
    with pytest.raises(ArchiveError, match=message):
        EmbeddingTable.from_frame(change(frame), vectors, space='abc')


def test_long_whole_numbers_among_nulls_are_not_rounded(
    frame: Frame, vectors: np.ndarray
) -> None:
    """As objects, as JSON and databases give them: Arrow made floats of them."""
    long = [2**53 + 1, None, 2**63 - 1, *range(len(frame) - 3)]
    given = frame.assign(
        number=pd.Series(long, index=frame.index, dtype=object),
        short=pd.Series(
            [1, None, *range(len(frame) - 2)], index=frame.index, dtype=object
        ),
    )
    table = EmbeddingTable.from_frame(given, vectors)
    assert [None if pd.isna(n) else int(n) for n in table.frame['number']] == long
    assert table.frame['short'].dtype == np.dtype('float64')


@pytest.mark.parametrize(
    ('kind', 'value'),
    [
        (pa.list_(pa.int64()), [1, 2]),
        (pa.list_(pa.float32(), 2), [1.5, 2.5]),
        (pa.struct([('a', pa.string())]), {'a': 'x'}),
        (pa.dictionary(pa.int32(), pa.string()), 'x'),
        (pa.decimal128(5, 1), Decimal('1.5')),
        (pa.binary(3), b'abc'),
        (pa.string_view(), 'x'),
        (pa.int64(), 2**53 + 1),
        (pa.bool_(), True),
        (pa.timestamp('us', 'UTC'), pd.Timestamp('2024-06-01', tz='UTC')),
    ],
    ids=str,
)
def test_types_of_arrow_in_pandas_are_read_back(
    frame: Frame, vectors: np.ndarray, tmp_path: Path, kind: pa.DataType, value: object
) -> None:
    """Pandas writes their names into a file and does not understand most of them."""
    own = pd.Series([value] * 11 + [None], index=frame.index, dtype=pd.ArrowDtype(kind))
    table = EmbeddingTable.from_frame(frame.assign(own=own), vectors)
    archive = table.save(tmp_path / 'archive')
    index = RetrievalIndex.build(table, tmp_path / 'index')
    for back in (EmbeddingTable.load(archive), index.table):
        found = back.frame.set_index('patch_id')['own'].loc[table.frame['patch_id']]
        assert found.dtype == table.frame['own'].dtype
        given = found.iloc[0]
        given = given.tolist() if isinstance(given, np.ndarray) else given
        assert given == value
        assert found.isna().tolist() == [False] * 11 + [True]
