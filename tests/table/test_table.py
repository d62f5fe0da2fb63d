"""EmbeddingTable: the door, selections, and identity through the disk."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.errors import ArchiveError, OutputExistsError
from torchgeo_cmr.table import EmbeddingTable, ParquetSink
from torchgeo_cmr.table.schema import STANDARD

#: Any: pandas' stubs lose the type of assigned frames.
type Frame = Any


def assert_same(a: EmbeddingTable, b: EmbeddingTable) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(a.frame), pd.DataFrame(b.frame))
    assert_geodataframe_equal(a.frame, b.frame)
    assert a.frame.index.equals(b.frame.index)
    assert (
        shapely.to_wkb(a.frame.geometry.to_numpy())
        == shapely.to_wkb(b.frame.geometry.to_numpy())
    ).all()
    assert a.vectors.dtype == b.vectors.dtype == np.float32
    assert a.vectors.tobytes() == b.vectors.tobytes()
    assert (a.metric, a.record) == (b.metric, b.record)


RECORD = {
    'model': 'm',
    'bands': {'s2': ['B02']},
    'sources': {'scene.tif': [['scene.tif', 1, 'B02', 10.0]], 'unused.tif': []},
}


class TestFromFrame:
    def test_standard_columns_and_own_ones(
        self, frame: Frame, vectors: np.ndarray
    ) -> None:
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

    def test_vectors_are_unit_and_read_only(
        self, frame: Frame, vectors: np.ndarray
    ) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        twin = [
            [x / sum(y * y for y in row) ** 0.5 for x in row]
            for row in vectors.tolist()
        ]
        np.testing.assert_allclose(table.vectors, twin, rtol=1e-6)
        with pytest.raises(ValueError, match='read-only'):
            table.vectors[0, 0] = 1

    @pytest.mark.parametrize('scale', [1e-200, 1e200])
    def test_extreme_lengths(
        self, frame: Frame, vectors: np.ndarray, scale: float
    ) -> None:
        a = EmbeddingTable.from_frame(frame, vectors)
        b = EmbeddingTable.from_frame(frame, vectors * scale)
        np.testing.assert_allclose(a.vectors, b.vectors, rtol=1e-6)

    def test_arguments_stay(self, frame: Frame, vectors: np.ndarray) -> None:
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
        self, frame: Frame, vectors: np.ndarray
    ) -> None:
        renamed = frame.rename_geometry('shape')
        table = EmbeddingTable.from_frame(renamed, vectors)
        assert table.frame.crs.to_epsg() == 4326
        back = table.frame.geometry.to_crs(32632)
        assert shapely.equals_exact(
            back.to_numpy(), frame.geometry.to_numpy(), tolerance=1e-3
        ).all()

    def test_two_zones_agree_on_the_ground(self, vectors: np.ndarray) -> None:
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

    def test_antimeridian_footprint_is_cut(self) -> None:
        fiji = gpd.GeoDataFrame(
            {'patch_id': ['a']},
            geometry=[shapely.box(790_000, 8e6, 860_000, 8.07e6)],
            crs=32760,
        )
        shape = EmbeddingTable.from_frame(fiji, [[1.0, 2.0]]).frame.geometry.iloc[0]
        assert shape.geom_type == 'MultiPolygon'
        assert shape.area < 1

    def test_times(self, frame: Frame, vectors: np.ndarray) -> None:
        given = frame.assign(
            time_start=['2024-06-01', '2024-06-01T12:00+05:00', None] * 4,
            time_end=pd.Timestamp('2024-06-02'),
        )
        start = EmbeddingTable.from_frame(given, vectors).frame['time_start']
        assert start[0] == pd.Timestamp('2024-06-01', tz='UTC')
        assert start[1] == pd.Timestamp('2024-06-01 07:00', tz='UTC')
        assert pd.isna(start[2])

    def test_empty(self, frame: Frame, tmp_path: Path) -> None:
        table = EmbeddingTable.from_frame(
            frame.iloc[:0].drop(columns='class'), np.empty((0, 3)), space='x'
        )
        assert (len(table), table.dim) == (0, 3)
        table.save(tmp_path / 'a')
        assert_same(EmbeddingTable.load(tmp_path / 'a'), table)

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (
                lambda f: f.set_crs(None, allow_override=True),
                r'no CRS; declare it with frame\.set_crs',
            ),
            (lambda f: pd.DataFrame(f), 'come as a GeoDataFrame'),
            (lambda f: f.drop(columns='patch_id'), 'no column patch_id'),
            (
                lambda f: f.assign(patch_id=range(12)),
                'patch_id of row 0 is 0; give text',
            ),
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
            (
                lambda f: f.assign(native_corners=[[1, 2]] * 12),
                'not eight finite numbers',
            ),
            (lambda f: f.assign(source=3), 'source of patch_id .* is 3'),
            (
                lambda f: f.assign(valid_fraction='much'),
                'valid_fraction holds other things than numbers',
            ),
            (lambda f: f.assign(vector=1), "needs the column name 'vector' itself"),
            (
                lambda f: f.assign(space='other'),
                "space='abc' was given but row 0 has 'other'",
            ),
            (lambda f: f.assign(mixed=[1, 'a'] * 6), "column 'mixed' cannot be stored"),
            (lambda f: f.assign(second=f.geometry), 'second geometry column'),
            (lambda f: f.rename(columns={'cloud': 7}), 'column name is not text'),
            (lambda f: f.rename(columns={'cloud': 'word'}), "'word' is there twice"),
        ],
    )
    def test_refuses_frames(
        self,
        frame: Frame,
        vectors: np.ndarray,
        change: Callable[..., Any],
        message: str,
    ) -> None:
        with pytest.raises(ArchiveError, match=message):
            EmbeddingTable.from_frame(change(frame), vectors, space='abc')

    @pytest.mark.parametrize(
        ('row', 'value', 'message'),
        [
            (3, 0, r'0_96_32x32.*only zeros'),
            (4, np.nan, r'32_0_32x32.*NaN or infinite'),
            (11, np.inf, r'64_96_32x32.*NaN or infinite'),
        ],
    )
    def test_refuses_vectors_by_name(
        self, frame: Frame, vectors: np.ndarray, row: int, value: float, message: str
    ) -> None:
        vectors[row] = value
        with pytest.raises(ArchiveError, match=message):
            EmbeddingTable.from_frame(frame, vectors)

    @pytest.mark.parametrize(
        ('bad', 'message'),
        [
            (np.ones((11, 5)), '12 rows and 11 vectors'),
            (np.ones(12), r'shape \(12,\)'),
            (np.ones((12, 0)), r'shape \(12, 0\)'),
            (np.full((12, 2), 'a'), 'real numbers'),
            ([[1.0], [1.0, 2.0]], 'different lengths'),
        ],
    )
    def test_refuses_shapes(self, frame: Frame, bad: np.ndarray, message: str) -> None:
        with pytest.raises(ArchiveError, match=message):
            EmbeddingTable.from_frame(frame, bad)

    def test_refuses_metric_and_record(self, frame: Frame, vectors: np.ndarray) -> None:
        with pytest.raises(ArchiveError, match="metric 'l2' is not known"):
            EmbeddingTable.from_frame(frame, vectors, metric='l2')
        with pytest.raises(ArchiveError, match='cannot be written as JSON'):
            EmbeddingTable.from_frame(frame, vectors, record={'a': object()})
        with pytest.raises(ArchiveError, match='12 rows and 1 vectors'):
            EmbeddingTable(frame, np.ones((1, 2), dtype=np.float32))


class TestRows:
    def test_select(self, frame: Frame, vectors: np.ndarray) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        some = table.select([7, 2])
        assert some.frame['small'].tolist() == [7, 2]
        assert (some.vectors == table.vectors[[7, 2]]).all()
        mask = np.zeros(12, dtype=bool)
        mask[5] = True
        assert table.select(mask).frame['small'].tolist() == [5]
        assert len(table.select([])) == 0

    @pytest.mark.parametrize(
        ('rows', 'message'),
        [
            ([1, 1], 'selected twice'),
            ([12], 'from 0 to 11'),
            ([-1], 'from 0 to 11'),
            (np.ones(3, dtype=bool), 'a mask of shape'),
        ],
    )
    def test_select_refuses(
        self, frame: Frame, vectors: np.ndarray, rows: list[int], message: str
    ) -> None:
        with pytest.raises(ArchiveError, match=message):
            EmbeddingTable.from_frame(frame, vectors).select(rows)

    def test_concat_undoes_select(self, frame: Frame, vectors: np.ndarray) -> None:
        table = EmbeddingTable.from_frame(frame, vectors, record=RECORD)
        assert_same(
            EmbeddingTable.concat([table.select(range(5)), table.select(range(5, 12))]),
            table,
        )

    def test_concat_merges_records(self, frame: Frame, vectors: np.ndarray) -> None:
        def table(modality: str, **record: object) -> EmbeddingTable:
            return EmbeddingTable.from_frame(
                frame.assign(patch_id=[f'{modality}{i}' for i in range(12)]),
                vectors,
                modality=modality,
                record=record,
            )

        a = table('s1', model='m', bands={'s1': ['VV']}, sources={'x': [1]})
        b = table('s2', model='m', bands={'s2': ['B02']}, sources={'y': [2]})
        both = EmbeddingTable.concat([a, b])
        assert both.record == {
            'model': 'm',
            'bands': {'s1': ['VV'], 's2': ['B02']},
            'sources': {'x': [1], 'y': [2]},
        }
        with pytest.raises(
            ArchiveError, match=r'do not share one modality .found: s1, s2'
        ):
            _ = both.modality
        other = EmbeddingTable.concat([both, table('s3', model='n')])
        assert [r['model'] for r in other.record['merged_from']] == ['m', 'n']
        with pytest.raises(ArchiveError, match="scene 'x' names different files"):
            EmbeddingTable.concat([a, table('s4', sources={'x': [3]})])
        kept = EmbeddingTable.concat([a, table('s4', sources={'x': [3]})], strict=False)
        assert kept.record == {
            'model': 'm',
            'bands': {'s1': ['VV']},
            'sources': {},
            'ambiguous_sources': {'x': [[1], [3]]},
        }

    def test_many_parts_are_one_table(self, frame: Frame, vectors: np.ndarray) -> None:
        table = EmbeddingTable.from_frame(frame, vectors, record={'model': 'm'})
        parts = [
            EmbeddingTable(part.frame, part.vectors, record={'model': 'm', 'n': n % 2})
            for n, part in enumerate(table.select([i]) for i in range(len(table)))
        ]
        again = EmbeddingTable.concat(parts)
        assert again.frame['patch_id'].tolist() == table.frame['patch_id'].tolist()
        np.testing.assert_array_equal(again.vectors, table.vectors)
        # What differs stands side by side, each kind once.
        assert again.record == {
            'merged_from': [{'model': 'm', 'n': 0}, {'model': 'm', 'n': 1}]
        }
        back = again.select(np.arange(len(table))[::-1])
        assert back.frame['patch_id'].tolist() == frame['patch_id'].tolist()[::-1]

    def test_concat_refuses(self, frame: Frame, vectors: np.ndarray) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        with pytest.raises(ArchiveError, match='is in two of the tables'):
            EmbeddingTable.concat([table, table])
        with pytest.raises(ArchiveError, match=r'different dim .5 and 3'):
            EmbeddingTable.concat(
                [table, EmbeddingTable.from_frame(frame, vectors[:, :3])]
            )
        with pytest.raises(ArchiveError, match='at least one'):
            EmbeddingTable.concat([])

    def test_space_of_nothing(self, frame: Frame, vectors: np.ndarray) -> None:
        with pytest.raises(ArchiveError, match=r'do not share one space .found: null'):
            _ = EmbeddingTable.from_frame(frame, vectors).space


class TestDisk:
    def test_identity(self, frame: Frame, vectors: np.ndarray, tmp_path: Path) -> None:
        table = EmbeddingTable.from_frame(
            frame, vectors, space='abc', modality='s2', record=RECORD
        )
        assert table.save(tmp_path / 'deep' / 'a') == tmp_path / 'deep' / 'a'
        loaded = EmbeddingTable.load(tmp_path / 'deep' / 'a')
        assert_same(loaded, table)
        loaded.save(tmp_path / 'b')
        assert_same(EmbeddingTable.load(tmp_path / 'b'), table)
        assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['a']

    def test_geopandas_opens_a_part(
        self, frame: Frame, vectors: np.ndarray, tmp_path: Path
    ) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        table.save(tmp_path / 'a')
        (part,) = (tmp_path / 'a').glob('*.parquet')
        read = gpd.read_parquet(part).sort_values('part_row', ignore_index=True)
        assert read.crs.to_epsg() == 4326
        assert 'bbox' not in read
        assert read.geometry.geom_equals(table.frame.geometry).all()
        assert np.stack(read['vector']).tobytes() == table.vectors.tobytes()
        one = read.geometry.iloc[0].bounds
        assert len(gpd.read_parquet(part, bbox=(one[0], one[1], one[0], one[1]))) >= 1

    def test_same_table_gives_the_same_bytes(
        self, frame: Frame, vectors: np.ndarray, tmp_path: Path
    ) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        for name in 'ab':
            table.save(tmp_path / name)
        (a,), (b,) = (list((tmp_path / name).glob('*.parquet')) for name in 'ab')
        assert a.read_bytes() == b.read_bytes()

    def test_existing_path_is_refused_and_replaced(
        self, frame: Frame, vectors: np.ndarray, tmp_path: Path
    ) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        table.save(tmp_path / 'a')
        with pytest.raises(OutputExistsError, match='there already'):
            table.select([0]).save(tmp_path / 'a')
        assert len(EmbeddingTable.load(tmp_path / 'a')) == 12
        table.select([0]).save(tmp_path / 'a', overwrite=True)
        assert len(EmbeddingTable.load(tmp_path / 'a')) == 1
        assert [p.name for p in tmp_path.iterdir()] == ['a']

    def test_never_deletes_what_is_not_an_archive(
        self, frame: Frame, vectors: np.ndarray, tmp_path: Path
    ) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        folder = tmp_path / 'mine'
        folder.mkdir()
        (folder / 'thesis.txt').write_text('years')
        with pytest.raises(OutputExistsError, match='not an archive and stays'):
            table.save(folder, overwrite=True)
        with pytest.raises(OutputExistsError, match='not an archive and stays'):
            table.save(folder / 'thesis.txt', overwrite=True)
        table.save(tmp_path / 'a')
        (tmp_path / 'a' / 'notes.txt').write_text('mine')
        with pytest.raises(
            OutputExistsError, match=r'holds notes\.txt next to the archive'
        ):
            table.save(tmp_path / 'a', overwrite=True)
        assert (folder / 'thesis.txt').read_text() == 'years'
        assert (tmp_path / 'a' / 'notes.txt').exists()
        (tmp_path / 'empty').mkdir()
        table.save(tmp_path / 'empty', overwrite=True)
        assert len(EmbeddingTable.load(tmp_path / 'empty')) == 12

    def test_failed_save_leaves_the_old_archive(
        self,
        frame: Frame,
        vectors: np.ndarray,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        table.save(tmp_path / 'a')

        def full(*args: object, **kwargs: object) -> None:
            raise OSError('disk full')

        monkeypatch.setattr('torchgeo_cmr.table.sink.pq.write_table', full)
        with pytest.raises(OSError, match='disk full'):
            table.select([0]).save(tmp_path / 'a', overwrite=True)
        assert [p.name for p in tmp_path.iterdir()] == ['a']
        assert_same(EmbeddingTable.load(tmp_path / 'a'), table)

    def test_broken_archives(
        self, frame: Frame, vectors: np.ndarray, tmp_path: Path
    ) -> None:
        table = EmbeddingTable.from_frame(frame, vectors)
        good = table.save(tmp_path / 'good')
        (name,) = (p.name for p in good.glob('*.parquet'))
        header = json.loads((good / '_archive.json').read_text())

        def broken(
            message: str, *, head: object = None, part: bytes | None = None
        ) -> None:
            folder = tmp_path / 'broken'
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(good, folder)
            if head is not None:
                (folder / '_archive.json').write_text(
                    head if isinstance(head, str) else json.dumps(head)
                )
            if part is not None:
                (folder / name).write_bytes(part)
            with pytest.raises(ArchiveError, match=message) as caught:
                EmbeddingTable.load(folder)
            assert '\n' not in str(caught.value)

        whole = (good / name).read_bytes()
        broken('truncated or broken', part=whole[: len(whole) // 2])
        broken('truncated or broken', part=b'')
        # Past the footer's reach: the schema reads, the pages do not.
        broken('truncated or broken', part=whole[:4] + b'\xff' * 3000 + whole[3004:])
        broken('is broken', head='{"format": ')
        broken('does not describe', head=[1])
        broken('does not describe', head={'format': 'other'})
        broken(
            'no format version',
            head={k: v for k, v in header.items() if k != 'version'},
        )
        broken('format version 99', head=header | {'version': 99})
        broken(
            'missing required field `dim`',
            head={k: v for k, v in header.items() if k != 'dim'},
        )
        broken(r'vectors of 5 numbers but the header gives 4', head=header | {'dim': 4})
        broken('12 of 13 rows: a part file is missing', head=header | {'rows': 13})
        with pytest.raises(ArchiveError, match=r'it has no readable _archive\.json'):
            EmbeddingTable.load(tmp_path / 'nowhere')
        (good / name).unlink()
        with pytest.raises(ArchiveError, match='0 of 12 rows'):
            EmbeddingTable.load(good)

    def test_own_columns_that_differ_between_parts(
        self, frame: Frame, vectors: np.ndarray, tmp_path: Path
    ) -> None:
        a = EmbeddingTable.from_frame(frame.iloc[:2].assign(extra=None), vectors[:2])
        b = EmbeddingTable.from_frame(
            frame.iloc[2:4].assign(extra=['p', 'q']), vectors[2:4]
        )
        sink = ParquetSink(tmp_path / 'a', {})
        sink.commit('a', a)
        sink.commit('b', b)
        assert EmbeddingTable.load(tmp_path / 'a').frame['extra'].tolist()[2:] == [
            'p',
            'q',
        ]
        sink.commit(
            'c',
            EmbeddingTable.from_frame(
                frame.iloc[4:5].assign(extra=[[1, 2]]), vectors[4:5]
            ),
        )
        with pytest.raises(ArchiveError, match='columns of different kinds'):
            EmbeddingTable.load(tmp_path / 'a')
