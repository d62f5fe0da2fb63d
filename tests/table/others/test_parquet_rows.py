"""Embeddings of others as Parquet, in fake files of the layout that each publisher has."""

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable

N, DIM = 6, 8
VECTORS = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
UNIT = VECTORS / np.linalg.norm(VECTORS.astype(np.float64), axis=1, keepdims=True)
LON, LAT = 9 + 0.1 * np.arange(N), np.full(N, 45.0)
SQUARES = shapely.box(LON, 45, LON + 0.02, 45.02)
#: As PostGIS writes them.
EXTENDED = [
    f'SRID=4326;{word}' for word in shapely.to_wkt(SQUARES, rounding_precision=-1)
]


def rows(vectors: np.ndarray) -> list[np.ndarray]:
    return list(vectors)


def frame(columns: dict[str, Any], geometry: Any = SQUARES) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=geometry, crs='EPSG:4326')


def read(path: Path, **options: Any) -> EmbeddingTable:
    return EmbeddingTable.from_parquet(path, **options)


def write(path: Path, columns: dict[str, Any], **metadata: str) -> Path:
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata or None), path)
    return path


def simple(vectors: Any = None, **more: Any) -> dict[str, Any]:
    """Columns of a file with points, and the vectors given."""
    given = pa.array(rows(VECTORS)) if vectors is None else vectors
    return {'embedding': given, 'lon': LON, 'lat': LAT, **more}


class TestLayouts:
    def test_earth_index(self, tmp_path: Path) -> None:
        """Id, centre and vector, one file for each MGRS tile."""
        points = gpd.points_from_xy(LON, LAT)
        for tile, part in (('32TNR', slice(0, 4)), ('32TPR', slice(4, 6))):
            made = frame(
                {'id': [f'{tile}-{i}' for i in range(N)], 'embedding': rows(VECTORS)},
                points,
            )
            made.iloc[part].to_parquet(tmp_path / f'{tile}_2024-01-01.parquet')
        table = read(tmp_path, metres=320, modality='s2', space='softcon')
        np.testing.assert_allclose(table.vectors, UNIT, atol=1e-6)
        assert table.frame['patch_id'].tolist()[3:5] == ['32TNR-3', '32TPR-4']
        ground: Any = table.frame.geometry.to_crs(32632)
        np.testing.assert_allclose(ground.area, 320**2, rtol=1e-5)
        assert (table.modality, table.space) == ('s2', 'softcon')
        facts = table.record['parquet']
        assert facts['files'] == [
            '32TNR_2024-01-01.parquet',
            '32TPR_2024-01-01.parquet',
        ]
        assert facts['columns'] == {
            'vector': 'embedding',
            'geometry': 'geometry',
            'patch_id': 'id',
        }

    def test_clay_v0(self, tmp_path: Path) -> None:
        """The vector in ``embeddings``, a day, and an index that is not unique."""
        days = [datetime.date(2020, 1, 1 + i) for i in range(N)]
        made = frame(
            {
                'index': [0, 1, 2] * 2,
                'source_url': [f's3://x/{i}.tif' for i in range(N)],
                'date': days,
                'embeddings': rows(VECTORS),
            }
        )
        path = tmp_path / '27WXN_20200101_20231231_v001.gpq'
        made.to_parquet(path)
        table = read(path)
        assert table.frame['patch_id'][2] == f'{path.name}:2'
        assert table.frame['time_start'][1] == pd.Timestamp('2020-01-02', tz='UTC')
        assert table.frame['time_end'][1].isoformat() == (
            '2020-01-02T23:59:59.999999+00:00'
        )
        assert table.frame['source_url'][5] == 's3://x/5.tif'
        assert table.frame.geometry.geom_equals_exact(made.geometry, 1e-9).all()

    def test_lgnd_clay(self, tmp_path: Path) -> None:
        """Fixed-size lists, moments, a covering box that is not kept."""
        made = frame(
            {
                'id': np.arange(N),
                'datetime': pd.date_range('2024-06-01T10:00', periods=N),
            }
        )
        path = tmp_path / 'lgnd.parquet'
        made.to_parquet(path, write_covering_bbox=True)
        table = pq.read_table(path)
        flat = pa.array(VECTORS.reshape(-1), pa.float32())
        lists = pa.FixedSizeListArray.from_arrays(flat, DIM)
        pq.write_table(table.append_column('embeddings', lists), path)
        got = read(path)
        np.testing.assert_allclose(got.vectors, UNIT, atol=1e-6)
        assert got.frame['time_start'][2] == got.frame['time_end'][2]
        assert got.frame['time_end'][2] == pd.Timestamp('2024-06-03T10:00', tz='UTC')
        assert got.frame['patch_id'].tolist() == [str(i) for i in range(N)]
        assert 'bbox' not in got.frame

    def test_major_tom(self, tmp_path: Path) -> None:
        """Text for time, a list that is no vector, ``unique_id``."""
        made = frame(
            {
                'unique_id': [f'u{i}' for i in range(N)],
                'embedding': rows(VECTORS.astype(np.float16)),
                'timestamp': ['2024-06-01T10:00:00Z'] * N,
                'grid_cell': [f'{i}U_1L' for i in range(N)],
                'centre_lat': LAT,
                'centre_lon': LON,
                'pixel_bbox': [[0, 0, 1, 1]] * N,
                'utm_footprint': ['POLYGON EMPTY'] * N,
            }
        )
        made.to_parquet(tmp_path / 'tom.parquet')
        table = read(tmp_path / 'tom.parquet')
        assert table.frame['patch_id'][5] == 'u5'
        assert 'pixel_bbox' not in table.frame
        assert table.frame['grid_cell'][2] == '2U_1L'
        assert table.frame['time_end'].eq(pd.Timestamp('2024-06-01 10:00Z')).all()
        np.testing.assert_allclose(table.vectors, UNIT, atol=1e-3)

    def test_earth_embeddings(self, tmp_path: Path) -> None:
        """No geometry but centres: points, unless their width is stated."""
        pd.DataFrame(
            {
                'embedding': rows(VECTORS),
                'centre_lon': LON,
                'centre_lat': LAT,
                'timestamp': pd.date_range('2024-06-01T10:00', periods=N),
            }
        ).to_parquet(tmp_path / 'earth.parquet')
        table = read(tmp_path / 'earth.parquet')
        assert set(table.frame.geom_type) == {'Point'}
        np.testing.assert_allclose(table.frame.geometry.x, LON)
        wide = read(tmp_path / 'earth.parquet', metres=3840)
        assert set(wide.frame.geom_type) == {'Polygon'}

    def test_tessera_samples(self, tmp_path: Path) -> None:
        """A column for each number, a year, and NaN (null once written) where no tile was."""
        wide = VECTORS.copy()
        wide[2] = np.nan
        made = pd.DataFrame(wide, columns=[f'emb_{i}' for i in range(DIM)])
        made = made.assign(lon=LON, lat=LAT, year=2023, label='wheat')
        made.to_parquet(tmp_path / 'samples.parquet')
        with pytest.raises(
            ArchiveError, match=r'1 vectors .* null, .* row 2; give drop'
        ):
            read(tmp_path / 'samples.parquet')
        table = read(tmp_path / 'samples.parquet', drop_missing=True)
        np.testing.assert_allclose(table.vectors, np.delete(UNIT, 2, 0), atol=1e-6)
        assert table.frame['patch_id'].tolist()[2] == 'samples.parquet:3'
        assert table.frame['time_start'][0] == pd.Timestamp('2023-01-01', tz='UTC')
        assert table.frame['time_end'][0] == (
            pd.Timestamp('2023-12-31 23:59:59.999999', tz='UTC')
        )
        assert table.frame['label'].eq('wheat').all()
        assert 'emb_0' not in table.frame
        assert table.record['parquet']['dropped'] == {'null': 1}

    def test_a_part_of_ours(self, tmp_path: Path) -> None:
        made = frame({'patch_id': [f'p{i}' for i in range(N)], 'modality': 's1'})
        corners = [np.arange(8.0)] * N
        made['native_corners'], made['cloud'] = corners, np.arange(N) * 1.0
        table = EmbeddingTable.from_frame(made, VECTORS, space='x')
        (part,) = table.save(tmp_path / 'a').glob('part-*.parquet')
        again = read(part)
        order = again.frame['patch_id'].str[1:].astype(int).to_numpy()
        np.testing.assert_array_equal(again.vectors, table.vectors[order])
        assert (again.space, again.modality) == ('x', 's1')
        assert again.frame['native_corners'][0].tolist() == corners[0].tolist()
        assert again.record['parquet']['rescaled_to_length_1'] == 0


class TestPlaces:
    @pytest.mark.parametrize(
        'column',
        [
            pa.array(shapely.to_wkb(SQUARES)),
            pa.array(shapely.to_wkt(SQUARES, rounding_precision=-1)),
            pa.array(shapely.to_wkb(SQUARES, hex=True)),
            pa.array(EXTENDED),
            pa.array(
                shapely.to_wkb(shapely.set_srid(SQUARES, 4326), include_srid=True)
            ),
            pa.array(shapely.to_wkb(SQUARES)).dictionary_encode(),
            pa.array(
                shapely.to_wkt(SQUARES, rounding_precision=-1)
            ).dictionary_encode(),
            pa.array(shapely.to_wkb(SQUARES), pa.binary(93)),
            pa.array([list(b) for b in shapely.bounds(SQUARES)]),
            pa.StructArray.from_arrays(
                [pa.array(side) for side in shapely.bounds(SQUARES).T],
                names=['xmin', 'ymin', 'xmax', 'ymax'],
            ),
        ],
        ids=[
            'wkb',
            'wkt',
            'hex',
            'extended wkt',
            'extended wkb',
            'categories',
            'words',
            'same length',
            'list',
            'struct',
        ],
    )
    def test_every_encoding_is_the_same_ground(
        self, tmp_path: Path, column: pa.Array
    ) -> None:
        path = write(
            tmp_path / 'x.parquet', {'vec': rows(VECTORS), 'footprint': column}
        )
        table = read(path, crs='EPSG:4326')
        got = np.asarray(table.frame.geometry)
        assert shapely.equals(got, SQUARES).all()

    @pytest.mark.parametrize('srid', [32632, 999_999])
    def test_a_srid_is_not_overruled(self, tmp_path: Path, srid: int) -> None:
        shapes = shapely.set_srid(SQUARES, [4326] * (len(SQUARES) - 1) + [srid])
        for words in (
            shapely.to_wkb(shapes, include_srid=True),
            [f'srid={shapely.get_srid(s)}; {s.wkt}' for s in shapes],
        ):
            columns = {'vec': rows(VECTORS), 'footprint': pa.array(words)}
            path = write(tmp_path / 'x.parquet', columns)
            with pytest.raises(
                ArchiveError,
                match=rf"SRID {srid}, which are not in EPSG:4326: give crs='EPSG:{srid}'",
            ):
                read(path, crs='EPSG:4326')

    def test_a_crs_is_never_guessed(self, tmp_path: Path) -> None:
        columns = {'emb': rows(VECTORS), 'x': LON, 'y': LAT}
        path = write(tmp_path / 'x.parquet', columns)
        with pytest.raises(ArchiveError, match=r"CRS of x, y: give it, .*'EPSG:4326'"):
            read(path)
        assert read(path, crs=4326).frame.geometry.x[1] == LON[1]

    def test_a_stated_crs_is_believed(self, tmp_path: Path) -> None:
        made = frame({'emb': rows(VECTORS)}).to_crs(32632)
        made.to_parquet(tmp_path / 'x.parquet')
        table = read(tmp_path / 'x.parquet')
        assert table.frame.geometry.geom_equals_exact(
            gpd.GeoSeries(SQUARES, crs=4326), 1e-9
        ).all()
        with pytest.raises(ArchiveError, match=r'states EPSG:32632 .* not EPSG:4326'):
            read(tmp_path / 'x.parquet', crs=4326)

    def test_files_of_two_zones_are_one_table(self, tmp_path: Path) -> None:
        for code, part in ((32632, slice(0, 3)), (32633, slice(3, 6))):
            made = frame({'emb': rows(VECTORS)}).to_crs(code).iloc[part]
            made.to_parquet(tmp_path / f'{code}.parquet')
        table = read(tmp_path)
        np.testing.assert_allclose(table.boxes[:, 0], LON, atol=1e-9)
        np.testing.assert_allclose(table.vectors, UNIT, atol=1e-6)

    def test_rows_without_a_place_are_refused_or_meant(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'x.parquet', {'emb': rows(VECTORS)})
        with pytest.raises(ArchiveError, match=r'where its vectors are.*emb \(list'):
            read(path)
        assert not read(path, placeless=True).placed.any()
        shapes = SQUARES.copy()
        shapes[1] = None
        frame({'emb': rows(VECTORS)}, shapes).to_parquet(path)
        with pytest.raises(
            ArchiveError, match=r'1 rows have no place .*first in row 1; .*drop_missing'
        ):
            read(path)
        assert read(path, placeless=True).placed.sum() == N - 1

    def test_rows_without_a_place_are_left_out_with_those_without_a_vector(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level('INFO')
        shapes = np.array(SQUARES, object)
        shapes[1], shapes[3] = None, shapely.Polygon()
        vectors = [None if i == 4 else row for i, row in enumerate(VECTORS)]
        path = tmp_path / 'x.parquet'
        frame({'id': [*'abcdef'], 'emb': vectors}, shapes).to_parquet(path)
        table = read(path, drop_missing=True)
        assert table.frame['patch_id'].tolist() == ['a', 'c', 'f']
        np.testing.assert_allclose(table.vectors, UNIT[[0, 2, 5]], atol=1e-6)
        assert table.record['parquet']['dropped'] == {'without a place': 2, 'null': 1}
        assert table.record['parquet']['row_groups_skipped'] == 0
        assert '2 rows were left out: they have no place' in caplog.text

    @pytest.mark.parametrize('metres', [0, -1, 1e9, float('nan')])
    def test_a_width_that_no_square_has(self, tmp_path: Path, metres: float) -> None:
        path = write(tmp_path / 'x.parquet', simple())
        with pytest.raises(ArchiveError, match='give the width of a patch, above 0'):
            read(path, metres=metres)

    def test_swapped_coordinates(self, tmp_path: Path) -> None:
        columns = {'emb': rows(VECTORS), 'lon': LAT, 'lat': LON + 100}
        path = write(tmp_path / 'x.parquet', columns)
        with pytest.raises(ArchiveError, match=r'longitude comes first.*swap them'):
            read(path)

    def test_a_box_over_the_antimeridian(self, tmp_path: Path) -> None:
        columns = {
            'emb': rows(VECTORS[:2]),
            'bbox': [[179.0, 0.0, -179.0, 1.0], [10.0, 0.0, 11.0, 1.0]],
        }
        path = write(tmp_path / 'x.parquet', columns)
        (east,) = read(path, crs=4326, area=(178, 0, 179.5, 1)).frame.geometry
        assert east.geom_type == 'MultiPolygon'
        assert east.area == pytest.approx(2)
        assert len(read(path, crs=4326, area=(-180, 0, -179.5, 1))) == 1
        assert len(read(path, crs=4326, area=(178, 0, -178, 1))) == 1
        with pytest.raises(ArchiveError, match='no row that the area touches'):
            read(path, crs=4326, area=(-178, 0, 9, 1))

    def test_an_empty_geometry_is_nowhere(self, tmp_path: Path) -> None:
        shapes = [shapely.Polygon(), None, shapely.Point(), *SQUARES[3:]]
        path = write(tmp_path / 'x.parquet', simple(geom=shapely.to_wkb(shapes)))
        table = read(path, geometry='geom', crs='EPSG:4326', placeless=True)
        assert table.frame.geometry.isna().tolist() == [True] * 3 + [False] * 3


class TestArea:
    @pytest.fixture
    def many(self, tmp_path: Path) -> Path:
        """Ten row groups of 50 rows from west to east, with statistics."""
        count = 500
        lon = np.linspace(-20, 30, count)
        made = gpd.GeoDataFrame(
            {'embedding': rows(np.random.default_rng(1).normal(size=(count, 4)))},
            geometry=shapely.box(lon, 40, lon + 0.05, 40.05),
            crs=4326,
        )
        made.to_parquet(
            tmp_path / 'many.parquet', row_group_size=50, write_covering_bbox=True
        )
        return tmp_path / 'many.parquet'

    @pytest.mark.parametrize(
        'area', [(0, 30, 3, 50), (-20, 40, -19.9, 41), (29, 40, -15, 40.01)]
    )
    def test_equal_to_reading_all(self, many: Path, area: Any) -> None:
        everything, part = read(many), read(many, area=area)
        west, _, east, _ = area
        inside = [
            (b[0] <= east and b[2] >= west)
            if west <= east
            else (b[0] <= east or b[2] >= west)
            for b in everything.boxes
        ]
        expected = everything.frame['patch_id'][np.array(inside)].tolist()
        assert 0 < len(expected) < 500
        assert part.frame['patch_id'].tolist() == expected
        np.testing.assert_array_equal(part.vectors, everything.vectors[inside])

    @pytest.mark.parametrize('statistics', [True, False])
    def test_vectors_elsewhere_are_not_read(
        self, many: Path, monkeypatch: pytest.MonkeyPatch, statistics: bool
    ) -> None:
        if not statistics:
            made = pq.read_table(many).drop_columns(['bbox'])
            geo = json.loads(made.schema.metadata[b'geo'])
            del geo['columns']['geometry']['covering']
            made = made.replace_schema_metadata({b'geo': json.dumps(geo).encode()})
            pq.write_table(made, many, row_group_size=50)
        seen: list[tuple[int, bool]] = []
        real = pq.ParquetFile.read_row_group

        def spy(self: Any, group: int, columns: Any) -> Any:
            seen.append((group, 'embedding' in columns))
            return real(self, group, columns=columns)

        monkeypatch.setattr(pq.ParquetFile, 'read_row_group', spy)
        table = read(many, area=(-1, 40, 1, 41))
        assert {group for group, whole in seen if whole} == {3, 4}
        assert len({group for group, _ in seen}) == (2 if statistics else 10)
        assert table.record['parquet']['row_groups_skipped'] == 8

    @pytest.mark.parametrize('metres', [None, 3000, 400_000])
    @pytest.mark.parametrize(
        'area',
        [
            (-60, -20, -2, 20),
            (170, 0, -170, 10),
            (-1.01, 9.9, -0.01, 10.1),
            (178, -90, 179.99, 10.01),
        ],
    )
    def test_statistics_rule_out_no_row_of_it(
        self, tmp_path: Path, metres: float | None, area: Any
    ) -> None:
        """Longitudes from 0 to 360, and squares that are wider than their points."""
        lon = np.r_[np.arange(0.0, 360, 5), 178.5, 180.005, 359.98]
        made = {
            'embedding': rows(np.random.default_rng(1).normal(size=(len(lon), 4))),
            'lon': lon,
            'lat': np.full(len(lon), 10.0),
        }
        found = []
        for size in (1, len(lon)):
            path = tmp_path / f'{size}.parquet'
            pq.write_table(pa.table(made), path, row_group_size=size)
            numbers = {name: i for i, name in enumerate(read(path).frame['patch_id'])}
            part = read(path, area=area, metres=metres).frame['patch_id']
            found.append([numbers[name] for name in part])
        assert found[0] == found[1]
        assert 0 < len(found[0]) < len(lon)

    def test_statistics_of_boxes_over_the_antimeridian(self, tmp_path: Path) -> None:
        """A box of more than half a turn is read as the short way round."""
        sides = {'xmin': [-170.0, 179, -181], 'ymin': [0.0] * 3}
        sides |= {'xmax': [170.0, 181, -179], 'ymax': [1.0] * 3}
        box = pa.array(
            [
                dict(zip(sides, b, strict=True))
                for b in zip(*sides.values(), strict=True)
            ]
        )
        table = pa.table({'vec': rows(VECTORS[:3]), 'bbox': box})
        pq.write_table(table, tmp_path / 'x.parquet', row_group_size=1)
        for area in ((179.2, 0, 179.4, 1), (-179.4, 0, -179.2, 1)):
            table = read(tmp_path / 'x.parquet', area=area, crs='EPSG:4326')
            assert len(table) == 3

    @pytest.mark.parametrize(
        'area', [(0, 50, 1, 40), (0, 0, 1), (0, 0, 200, 1), 'here', (0, -91, 1, 0)]
    )
    def test_not_a_box(self, many: Path, area: Any) -> None:
        with pytest.raises(ArchiveError, match='is not a box'):
            read(many, area=area)


class TestVectors:
    def test_lists_without_numbers(self, tmp_path: Path) -> None:
        nothing = pa.array([[]] * N, pa.list_(pa.float32()))
        path = write(tmp_path / 'x.parquet', simple(nothing))
        with pytest.raises(ArchiveError, match='the column embedding holds no numbers'):
            read(path)

    def test_int8_with_a_scale_for_each_component_and_row(self, tmp_path: Path) -> None:
        """Planted: what is stored is undone to what was meant."""
        per_row, per_part = np.abs(VECTORS).max(axis=1), np.abs(VECTORS).max(axis=0)
        by_row = np.round(VECTORS / per_row[:, None] * 127).astype(np.int8)
        columns = simple(pa.array(rows(by_row)), scale=per_row / 127)
        path = write(tmp_path / 'x.parquet', columns)
        for scale in ('scale', None, 0.01):
            table = read(path, scale=scale)
            assert (table.vectors * UNIT).sum(axis=1).min() > 0.9999
        by_part = np.round(VECTORS / per_part * 127).astype(np.int8)
        path = write(tmp_path / 'y.parquet', simple(pa.array(rows(by_part))))
        right = read(path, scale=(per_part / 127).tolist())
        assert (right.vectors * UNIT).sum(axis=1).min() > 0.9999
        assert (read(path).vectors * UNIT).sum(axis=1).min() < 0.99

    def test_unsigned_numbers_need_their_zero(self, tmp_path: Path) -> None:
        low, step = VECTORS.min(), np.ptp(VECTORS) / 255
        codes = np.round((VECTORS - low) / step).astype(np.uint8)
        path = write(tmp_path / 'x.parquet', simple(pa.array(rows(codes))))
        with pytest.raises(ArchiveError, match=r'uint8, .* give scale= and offset='):
            read(path)
        table = read(path, scale=float(step), offset=float(low))
        assert (table.vectors * UNIT).sum(axis=1).min() > 0.999

    def test_length_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        mixed = np.where(np.arange(N)[:, None] < 2, VECTORS, UNIT)
        path = write(tmp_path / 'x.parquet', simple(pa.array(rows(mixed))))
        with caplog.at_level('INFO'):
            table = read(path)
        assert table.record['parquet']['rescaled_to_length_1'] == 2
        assert '2 vectors were not of length 1 and were scaled to it' in caplog.text
        assert 'vector: embedding; geometry: lon, lat' in caplog.text

    @pytest.mark.parametrize(
        ('fault', 'value'),
        [
            ('null', None),
            ('NaN or infinite', [np.inf] + [0.0] * (DIM - 1)),
            ('NaN or infinite', [None] * DIM),
            ('only zeros', [0.0] * DIM),
        ],
    )
    def test_no_vector_is_refused_or_left_out(
        self, tmp_path: Path, fault: str, value: Any
    ) -> None:
        lists: list[Any] = [row.tolist() for row in VECTORS]
        lists[3] = value
        given = pa.array(lists, pa.list_(pa.float32()))
        path = write(tmp_path / 'x.parquet', simple(given))
        with pytest.raises(ArchiveError, match=f'1 vectors .* are {fault}, .* row 3'):
            read(path)
        table = read(path, drop_missing=True)
        np.testing.assert_allclose(table.vectors, np.delete(UNIT, 3, 0), atol=1e-6)
        np.testing.assert_allclose(table.frame.geometry.x, np.delete(LON, 3))

    def test_numbers_whose_squares_overflow(self, tmp_path: Path) -> None:
        long = pa.array(list(1e300 * VECTORS.astype(np.float64)))
        table = read(write(tmp_path / 'x.parquet', simple(long)))
        np.testing.assert_allclose(table.vectors, UNIT, atol=1e-6)
        assert table.record['parquet']['rescaled_to_length_1'] == N

    def test_ragged_lists(self, tmp_path: Path) -> None:
        lists = [row.tolist() for row in VECTORS]
        lists[4] = lists[4][:5]
        path = write(tmp_path / 'x.parquet', simple(pa.array(lists)))
        with pytest.raises(ArchiveError, match=r'of 8 numbers and, in row 4 .* of 5'):
            read(path)

    def test_files_of_two_models(self, tmp_path: Path) -> None:
        write(tmp_path / 'a.parquet', simple())
        write(tmp_path / 'b.parquet', simple(pa.array(rows(VECTORS[:, :4]))))
        with pytest.raises(ArchiveError, match=r'b.parquet .* 4 .* a.parquet of 8'):
            read(tmp_path)


class TestColumns:
    def test_unknown_columns_are_listed(self, tmp_path: Path) -> None:
        columns = {'features_of_it': rows(VECTORS), 'lon': LON, 'lat': LAT}
        path = write(tmp_path / 'x.parquet', columns)
        with pytest.raises(ArchiveError) as caught:
            read(path)
        message = str(caught.value)
        assert 'no column of vectors' in message
        assert 'vector=' in message
        assert 'features_of_it (list<' in message
        assert 'lat (double)' in message
        assert '\n' not in message
        np.testing.assert_allclose(
            read(path, vector='features_of_it').vectors, UNIT, atol=1e-6
        )

    def test_two_vectors_are_ambiguous(self, tmp_path: Path) -> None:
        columns = simple(vector=pa.array(rows(VECTORS[:, ::-1])))
        path = write(tmp_path / 'x.parquet', columns)
        with pytest.raises(
            ArchiveError, match=r'several .*\(embedding, vector\): name'
        ):
            read(path)
        table = read(path, vector='vector')
        np.testing.assert_allclose(table.vectors, UNIT[:, ::-1], atol=1e-6)
        assert 'embedding' not in table.frame

    @pytest.mark.parametrize(
        ('option', 'words'),
        [
            ({'vector': 'v'}, 'no column v, nor columns v0'),
            ({'vector': 'lon'}, 'stores lon as double, and vectors are lists'),
            ({'geometry': 'lon,height'}, 'no column height'),
            ({'time': 'when'}, 'no column when'),
            ({'id': 'name'}, 'no column name'),
            ({'scale': 'steps'}, 'no column steps of scales'),
            ({'scale': [1.0, 2.0]}, 'do not fit'),
            ({'metres': -1}, 'metres is -1'),
        ],
    )
    def test_what_is_named_must_be_there(
        self, tmp_path: Path, option: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ArchiveError, match=words):
            read(write(tmp_path / 'x.parquet', simple()), **option)

    def test_two_columns_of_one_name(self, tmp_path: Path) -> None:
        arrays = [pa.array(rows(VECTORS)), pa.array(LON), pa.array(LAT), pa.array(LAT)]
        table = pa.Table.from_arrays(arrays, names=['embedding', 'lon', 'lat', 'lat'])
        pq.write_table(table, tmp_path / 'x.parquet')
        with pytest.raises(ArchiveError, match='two columns called lat: rename'):
            read(tmp_path / 'x.parquet')

    def test_views_of_text_and_bytes(self, tmp_path: Path) -> None:
        """What polars and other engines write."""
        columns = {
            'embedding': pa.array(rows(VECTORS)),
            'geometry': pa.array(shapely.to_wkb(SQUARES)).cast(pa.binary_view()),
            'id': pa.array([*'abcdef'], pa.string_view()),
            'date': pa.array(['2024'] * N, pa.string_view()),
        }
        table = read(write(tmp_path / 'x.parquet', columns), crs=4326)
        assert table.frame['patch_id'].tolist() == [*'abcdef']
        assert table.frame['time_start'].dt.year.eq(2024).all()

    def test_duplicate_ids(self, tmp_path: Path) -> None:
        """One that was named must identify rows; one that was found is kept as a column."""
        path = write(tmp_path / 'x.parquet', simple(id=[1, 1, 2, 3, 4, 5]))
        with pytest.raises(ArchiveError, match=r'id of x.parquet has .*1.* more than'):
            read(path, id='id')
        table = read(path)
        assert table.frame['patch_id'][1] == 'x.parquet:1'
        assert table.frame['id'].tolist() == [1, 1, 2, 3, 4, 5]
        assert read(path, id='').frame['patch_id'][1] == 'x.parquet:1'

    def test_ids_of_several_files(self, tmp_path: Path) -> None:
        for name in ('a', 'b'):
            (tmp_path / name).mkdir()
            write(tmp_path / name / 'x.parquet', simple(id=np.arange(N)))
        ids = read(tmp_path).frame['patch_id']
        assert ids.is_unique
        assert ids[7] == 'b/x.parquet:1'

    @pytest.mark.parametrize(
        ('given', 'start', 'end'),
        [
            (['2024-06'] * N, '2024-06-01', '2024-06-30T23:59:59.999999'),
            (['2024-06-01T10:30:00+02:00'] * N, '2024-06-01T08:30', '2024-06-01T08:30'),
            (pa.array([2024] * N), '2024-01-01', '2024-12-31T23:59:59.999999'),
            (
                pa.array([datetime.datetime(2024, 6, 1)] * N, pa.timestamp('ns')),
                '2024-06-01',
                '2024-06-01T23:59:59.999999',
            ),
        ],
        ids=['month', 'zone', 'year', 'midnight'],
    )
    def test_times(self, tmp_path: Path, given: Any, start: str, end: str) -> None:
        path = write(tmp_path / 'x.parquet', simple(when=given))
        table = read(path, time='when')
        assert table.frame['time_start'].eq(pd.Timestamp(start, tz='UTC')).all()
        assert table.frame['time_end'].eq(pd.Timestamp(end, tz='UTC')).all()
        assert 'when' not in table.frame

    def test_a_whole_file_decides_whether_midnight_is_a_day(
        self, tmp_path: Path
    ) -> None:
        """And not one row group, nor what an area leaves of the file."""
        midnight = datetime.datetime(2024, 6, 1)
        stamps = [midnight] * (N - 1) + [midnight.replace(hour=10)]
        columns = simple(when=pa.array(stamps, pa.timestamp('us')))
        path = tmp_path / 'x.parquet'
        pq.write_table(pa.table(columns), path, row_group_size=2)
        frame = read(path, time='when').frame
        assert frame['time_start'].eq(frame['time_end']).all()
        columns['when'] = pa.array([midnight] * N, pa.timestamp('us'))
        pq.write_table(pa.table(columns), path, row_group_size=2)
        frame = read(path, time='when').frame
        whole = pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
        assert (frame['time_end'] - frame['time_start']).eq(whole).all()

    def test_years_with_nulls(self, tmp_path: Path) -> None:
        """Which pandas stores as floats."""
        years = np.array([2023, np.nan, *[2024] * (N - 2)])
        found = read(write(tmp_path / 'x.parquet', simple(year=years))).frame
        assert found['time_start'].isna().tolist() == [i == 1 for i in range(N)]
        assert found['time_end'].max() == pd.Timestamp('2024-12-31T23:59:59.999999Z')

    def test_a_span_of_two_columns(self, tmp_path: Path) -> None:
        span = {'start_datetime': ['2024-01-01'] * N, 'end_datetime': ['2024-03'] * N}
        table = read(write(tmp_path / 'x.parquet', simple(**span)))
        assert table.frame['time_end'][0].isoformat() == (
            '2024-03-31T23:59:59.999999+00:00'
        )

    def test_a_named_column_that_is_empty_in_one_file(self, tmp_path: Path) -> None:
        write(tmp_path / 'a.parquet', simple(when=pa.nulls(N)))
        write(tmp_path / 'b.parquet', simple(when=['2024-06-01'] * N))
        found = read(tmp_path, time='when').frame['time_start']
        assert found.isna().tolist() == [True] * N + [False] * N

    def test_what_is_not_a_time(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'x.parquet', simple(date=['01.06.2024'] * N))
        with pytest.raises(
            ArchiveError, match=r"column date holds .*01.06.2024.*time=''"
        ):
            read(path)
        assert read(path, time='').frame['date'][0] == '01.06.2024'
        path = write(tmp_path / 'y.parquet', simple(t=np.arange(N) * 86400))
        with pytest.raises(ArchiveError, match='0, a number that is neither a year'):
            read(path, time='t')
        assert read(path).frame['t'][1] == 86400

    @pytest.mark.parametrize('parts', [1, 10**3, 10**6, 10**9])
    @pytest.mark.parametrize('missing', [False, True])
    def test_whole_numbers_since_1970(
        self, tmp_path: Path, parts: int, missing: bool
    ) -> None:
        first = pd.Timestamp('2024-06-01T10:30:17', tz='UTC')
        counts = [(1_717_237_817 + i) * parts for i in range(N)]
        column = pd.array([None if missing else counts[0], *counts[1:]], dtype='Int64')
        path = write(tmp_path / 'x.parquet', simple(t=column))
        found = read(path, time='t').frame['time_start']
        assert found.isna().tolist() == [missing] + [False] * (N - 1)
        assert found[N - 1] == first + pd.Timedelta(N - 1, 's')
        # Numbers of two units are of neither, and found columns are never guessed at.
        column[1] = counts[1] * 1000 if parts < 10**9 else counts[1] // 1000
        path = write(tmp_path / 'y.parquet', simple(t=column))
        with pytest.raises(ArchiveError, match='neither a year nor a moment since'):
            read(path, time='t')
        assert read(path).frame['time_start'].isna().all()

    @pytest.mark.parametrize('names', [('Timestamp',), ('start_time', 'end_time')])
    @pytest.mark.parametrize(
        ('parts', 'unit'),
        [(1, 'seconds'), (10**3, 'milli'), (10**6, 'mic'), (10**9, 'nano')],
    )
    def test_numbers_that_nobody_names(
        self, tmp_path: Path, names: tuple[str, ...], parts: int, unit: str
    ) -> None:
        """Which are no dates before somebody says so."""
        counts = (1_717_237_817 + np.arange(N)) * parts
        path = tmp_path / 'x.parquet'
        data = pd.DataFrame(simple(**dict.fromkeys(names, counts)))
        data.to_parquet(path, row_group_size=2)
        words = ','.join(names)
        hint = rf"x.parquet have no date: {words} .* {unit}.*since 1970; name .*time='{words}'"
        with pytest.warns(UserWarning, match=hint) as caught:
            found = read(path).frame
        assert len(caught) == 1
        assert found['time_start'].isna().all()
        assert read(path, time=words).frame['time_start'].notna().all()
        assert read(path, time='').frame['time_start'].isna().all()

    def test_numbers_that_are_no_times_are_not_spoken_of(self, tmp_path: Path) -> None:
        """Warnings are errors in tests."""
        second = 1_717_237_817
        for number, values in enumerate(
            [[20240601] * N, [second] * 2 + [second * 1000] * (N - 2), [0.5] * N]
        ):
            path = tmp_path / f'{number}.parquet'
            pd.DataFrame(simple(date=values)).to_parquet(path, row_group_size=2)
            assert read(path).frame['time_start'].isna().all()
        years = simple(year=[2024] * N, timestamp=[second] * N)
        found = read(write(tmp_path / 'years.parquet', years)).frame
        assert found['time_start'].dt.year.eq(2024).all()

    def test_floats_and_midnights_since_1970(self, tmp_path: Path) -> None:
        day, noon = 1_717_200_000, 1_717_243_200
        path = write(
            tmp_path / 'x.parquet', simple(t=[np.nan] + [float(day)] * (N - 1))
        )
        found = read(path, time='t').frame
        assert found['time_start'].isna().tolist() == [True] + [False] * (N - 1)
        assert found['time_end'][1] == pd.Timestamp('2024-06-01T23:59:59.999999Z')
        path = write(tmp_path / 'y.parquet', simple(t=[noon] + [day] * (N - 1)))
        found = read(path, time='t').frame
        assert (found['time_end'] == found['time_start']).all()
        path = write(tmp_path / 'z.parquet', simple(t=[day + 0.5] * N))
        with pytest.raises(ArchiveError, match='neither a year nor a moment since'):
            read(path, time='t')

    def test_types_that_do_not_become_one_are_left_out(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level('INFO')
        cloud, view = np.arange(N, dtype=float), np.arange(N)
        write(tmp_path / 'a.parquet', simple(cloud=cloud, view=view))
        text = [str(i) for i in range(N)]
        write(tmp_path / 'b.parquet', simple(cloud=text, view=view / 2, name=text))
        table = read(tmp_path)
        assert 'cloud' not in table.frame
        # Whole and other numbers become one type, and a column of one file has nulls.
        assert table.frame['view'].tolist() == [*range(N), *(view / 2)]
        assert table.frame['name'].isna().sum() == N
        left = {'cloud': {'double': 'a.parquet', 'string': 'b.parquet'}}
        assert table.record['parquet']['columns_left_out'] == left
        note = 'cloud was left out: it is double in a.parquet and string in b.parquet'
        assert note in caplog.text

    def test_columns_that_are_called_as_ours(self, tmp_path: Path) -> None:
        """None is lost: not those of the reader, and no ``patch_id`` that is not the id."""
        whole, words = np.arange(N) * 10, [f'p{i}' for i in range(N)]
        columns = simple(_row=whole, _file=words, patch_id=['a'] * N, key=whole)
        found = read(write(tmp_path / 'x.parquet', columns)).frame
        assert found['patch_id'].tolist() == [f'x.parquet:{i}' for i in range(N)]
        assert found['_row'].tolist() == whole.tolist()
        assert found['_file'].tolist() == words
        assert found['file_patch_id'].tolist() == ['a'] * N
        found = read(tmp_path / 'x.parquet', id='key').frame
        assert found['patch_id'].tolist() == whole.astype(str).tolist()
        assert found['file_patch_id'].tolist() == ['a'] * N
        again = simple(patch_id=words, file_patch_id=whole)
        found = read(write(tmp_path / 'y.parquet', again), id='').frame
        assert found['file_patch_id'].tolist() == whole.tolist()
        assert found['file_file_patch_id'].tolist() == words

    def test_ids_that_are_the_same_as_text(self, tmp_path: Path) -> None:
        write(tmp_path / 'a.parquet', simple(id=np.arange(N)))
        write(tmp_path / 'b.parquet', simple(id=[str(i) for i in range(N)]))
        assert read(tmp_path).frame['patch_id'][N] == 'b.parquet:0'

    def test_long_whole_numbers_in_one_file_and_floats_in_another(
        self, tmp_path: Path
    ) -> None:
        """Left out, since floats would round them: two cells would be one."""
        cell, short = 2**60 + np.arange(N), np.arange(N)
        write(tmp_path / 'a.parquet', simple(cell=cell, short=short))
        write(tmp_path / 'b.parquet', simple(cell=cell / 2, short=short / 2))
        table = read(tmp_path)
        left = {'cell': {'int64': 'a.parquet', 'double': 'b.parquet'}}
        assert table.record['parquet']['columns_left_out'] == left
        assert table.frame['short'].tolist() == [*short, *(short / 2)]


class TestFiles:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(
            ArchiveError, match=r'there is no .*x\.parquet: check the path'
        ):
            read(tmp_path / 'x.parquet')
        with pytest.raises(ArchiveError, match='holds no Parquet file'):
            read(tmp_path)
        with pytest.raises(ArchiveError, match='name at least one'):
            EmbeddingTable.from_parquet([])
        path = write(tmp_path / 'x.parquet', simple())
        with pytest.raises(ArchiveError, match='named twice'):
            EmbeddingTable.from_parquet([path, path])

    def test_broken(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'x.parquet', simple())
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ArchiveError, match='cannot be read as Parquet'):
            read(path)
        path.write_bytes(whole[:4] + bytes(200) + whole[204:])
        with pytest.raises(ArchiveError, match='truncated or broken'):
            read(path)
        write(path, simple(), geo='{')
        with pytest.raises(ArchiveError, match='broken metadata of GeoParquet'):
            read(path)

    @pytest.mark.slow
    def test_no_torch_is_loaded(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'x.parquet', simple())
        code = (
            'import sys\nfrom torchgeo_cmr.table import EmbeddingTable\n'
            f'EmbeddingTable.from_parquet({str(path)!r})\n'
            'sys.exit("torch" in sys.modules or "torchgeo" in sys.modules)'
        )
        done = subprocess.run([sys.executable, '-c', code], check=False)
        assert done.returncode == 0


@pytest.mark.parametrize('group', [1, 2, N])
def test_long_whole_numbers_among_nulls_are_not_rounded(
    tmp_path: Path, group: int
) -> None:
    """Ids of cells have 64 bits; whichever row group holds the null or the long one."""
    long = [2**53 + 1, None, 5, 2**63 - 1, None, 7]
    unsigned = [2**64 - 1, 1, 2, None, 3, 4]
    short = [1, None, 3, 4, 5, 6]
    table = pa.table(
        simple(
            cell=pa.array(long, pa.int64()),
            unsigned=pa.array(unsigned, pa.uint64()),
            short=pa.array(short, pa.int64()),
            plain=pa.array(range(N), pa.int64()),
        )
    )
    pq.write_table(table, tmp_path / 'a.parquet', row_group_size=group)
    found = read(tmp_path / 'a.parquet', metres=100).frame
    for name, values in (('cell', long), ('unsigned', unsigned), ('short', short)):
        read_back = [None if pd.isna(n) else int(n) for n in found[name]]
        assert read_back == values
    assert found['short'].dtype == np.dtype('float64')
    assert found['plain'].dtype == np.dtype('int64')
