"""The verb search, from words to a table or a layer, and every way to ask wrongly."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.embed import embed
from torchgeo_cmr.export import read_search
from torchgeo_cmr.search import (
    HubFree,
    RetrievalIndex,
    Where,
    at,
    blend,
    from_examples,
    from_feedback,
    from_ids,
    open_archives,
    rerank,
)
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]

#: A row and what it holds: rank, score, date, lon, lat.
_LINE = re.compile(
    r'(\S+) +(\d+) +(-?\d\.\d{4}) +(\S+) +(-?\d+\.\d+) +(-?\d+\.\d+) +(\S+)'
)


def lines(text: str) -> list[tuple[str, ...]]:
    """Read the table of the terminal back."""
    head, *rest = text.splitlines()
    assert head.split() == ['query', 'rank', 'score', 'date', 'lon', 'lat', 'patch']
    found = [_LINE.fullmatch(line) for line in rest]
    assert all(found)
    return [match.groups() for match in found if match]


def ids(text: str) -> list[str]:
    return [line[6] for line in lines(text)]


def name(i: int, prefix: str = 's2') -> str:
    return f'{prefix}:scene.tif:0_{32 * i}_32x32'


class TestAnswers:
    def test_the_table_says_what_the_api_says(
        self, run: Run, archive: Path, asking: Path
    ) -> None:
        ran = run('search', archive, '--query', asking, '-k', 4)
        assert (ran.code, ran.err) == (0, '')
        table = EmbeddingTable.load(archive)
        hits = RetrievalIndex(table).search(EmbeddingTable.load(asking), 4)
        told = lines(ran.out)
        assert len(told) == len(hits) == 12
        for line, (_, hit) in zip(told, hits.iterrows(), strict=True):
            centre = hit['geometry'].centroid
            assert line[0] == hit['query_id']
            assert int(line[1]) == hit['rank']
            assert float(line[2]) == pytest.approx(hit['score'], abs=5e-5)
            day = hit['time_start']
            assert line[3] == ('-' if pd.isna(day) else f'{day:%Y-%m-%d}')
            assert float(line[4]) == pytest.approx(centre.x, abs=1e-5)
            assert float(line[5]) == pytest.approx(centre.y, abs=1e-5)
            assert line[6] == hit['patch_id']

    def test_columns_stand_below_one_another(self, run: Run, archive: Path) -> None:
        rows = run('search', archive, '--query', name(3)).out.splitlines()
        assert len(rows) == 11
        place = rows[0].index('patch')
        assert all(row[place - 2 : place] == '  ' for row in rows)
        assert all(row[place:].startswith('s2:') for row in rows[1:])
        assert all(row == row.rstrip() for row in rows)

    def test_ten_hits_without_a_word(self, run: Run, archive: Path) -> None:
        assert len(ids(run('search', archive, '--query', name(3)).out)) == 10

    def test_ask_with_a_patch(self, run: Run, archive: Path) -> None:
        first = lines(
            run('search', archive, '--include-self', '--query', name(7), '-k', 3).out
        )[0]
        assert (first[0], first[6]) == (name(7), name(7))
        assert first[1:3] == ('1', '1.0000')

    @pytest.mark.parametrize(
        'form', [['--query', '-98.585,29.595'], ['--query=-98.585,29.595']]
    )
    def test_ask_with_a_position_west_of_greenwich(
        self, run: Run, archive: Path, form: list[str]
    ) -> None:
        ran = run('search', archive, '--include-self', *form, '-k', 1)
        assert ids(ran.out) == [name(1)]

    def test_a_position_on_a_corner_asks_with_all_it_touches(
        self, run: Run, archive: Path
    ) -> None:
        # The corner that four patches share, to the last bit.
        table = EmbeddingTable.load(archive)
        lon, lat = shapely.get_coordinates(table.frame.geometry.iloc[0])[0].tolist()
        expected = at(table, lon, lat).frame['patch_id'].tolist()
        ran = run('search', archive, '--query', f'{lon!r},{lat!r}', '-k', 1)
        assert [line[0] for line in lines(ran.out)] == expected
        assert len(expected) > 1

    def test_several_queries_at_once(
        self, run: Run, archive: Path, asking: Path
    ) -> None:
        words = ['--query', name(8), '--query', asking, '--query', '-98.595,29.595']
        # Said twice, asked once.
        words += ['--query', name(8)]
        ran = run('search', archive, *words, '-k', 1)
        asked = [name(i, 's1') for i in range(3)] + [name(8), name(0)]
        assert [line[0] for line in lines(ran.out)] == asked

    def test_two_archives_are_one(self, run: Run, archive: Path, asking: Path) -> None:
        ran = run('search', archive, asking, '--query', name(1, 's1'), '-k', 33)
        together = EmbeddingTable.concat(
            replace(EmbeddingTable.load(p), record={}) for p in (archive, asking)
        )
        hits = RetrievalIndex(together).search(from_ids(together, name(1, 's1')), 33)
        assert ids(ran.out) == hits['patch_id'].tolist()
        assert {i[:2] for i in ids(ran.out)} == {'s1', 's2'}

    def test_a_file_that_is_named_like_a_patch(
        self,
        run: Run,
        tmp_path: Path,
        make: Callable[..., EmbeddingTable],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        table = make(n=4)
        frame = table.frame.copy()
        frame['patch_id'] = ['a.tif', 'b.tif', '1,2', 'c']
        EmbeddingTable.from_frame(frame, table.vectors).save(tmp_path / 'own')
        monkeypatch.chdir(tmp_path)
        Path('a.tif').touch()
        for word in ('a.tif', '1,2'):
            assert ids(
                run('search', '--include-self', 'own', '--query', word, '-k', 1).out
            ) == [word]

    def test_a_footprint_over_the_antimeridian(self, run: Run, tmp_path: Path) -> None:
        frame = gpd.GeoDataFrame(
            {'patch_id': ['p']}, geometry=[shapely.box(179.8, 1, 180.4, 2)], crs=4326
        )
        EmbeddingTable.from_frame(frame, [[1.0, 0.0]]).save(tmp_path / 'a')
        words = ('--query', '-179.7,1.5', '--within', '179,0,-179,3', '-k', 1)
        ran = run('search', '--include-self', tmp_path / 'a', *words)
        assert lines(ran.out)[0][3:6] == ('-', '-179.90000', '1.50000')


class TestFilters:
    def test_box(self, run: Run, archive: Path) -> None:
        # Columns 1 and 2, rows 0 and 1; edges of the neighbours are not touched.
        words = ('--query', name(29), '--within', '-98.589,29.581,-98.571,29.599')
        ran = run('search', archive, *words)
        assert sorted(ids(ran.out)) == sorted(name(i) for i in (1, 2, 7, 8))
        assert ran.err == ('4 of 10 hits per query: area, intersects left 4 of 30\n')

    def test_the_same_area_in_many_words(
        self, run: Run, refused: Refused, archive: Path, tmp_path: Path
    ) -> None:
        box = '-98.589,29.581,-98.571,29.599'
        shape = shapely.box(*map(float, box.split(',')))
        frame = gpd.GeoDataFrame(geometry=[shape], crs=4326)
        frame.to_crs(32614).to_file(tmp_path / 'aoi.gpkg', layer='study')
        frame[:0].to_file(tmp_path / 'aoi.gpkg', layer='other')
        bare = gpd.GeoDataFrame(geometry=[shape])
        with pytest.warns(UserWarning, match='crs'):
            bare.to_file(tmp_path / 'bare.shp')
        words = ('search', archive, '--query', name(29), '-k', 30)
        expected = run(*words, '--within', box).out
        for more in (
            ('--bbox', box),
            ('--within', box, '--crs', 'OGC:CRS84'),
            ('--within', f'{tmp_path}/aoi.gpkg|layername=study'),
            ('--within', tmp_path / 'bare.shp', '--crs', 'EPSG:4326'),
        ):
            assert run(*words, *more).out == expected
        told = refused(*words, '--within', tmp_path / 'bare.shp')
        assert '--crs EPSG:4326' in told
        told = refused(*words, '--within', tmp_path / 'aoi.gpkg')
        assert 'has 2 layers, study, other; name one' in told
        told = refused(*words, '--crs', 'EPSG:4326')
        assert 'is the CRS of --within, which is missing' in told

    @pytest.mark.parametrize(
        'predicate', ['intersects', 'within', 'contains', 'centroid']
    )
    def test_file_in_another_crs(
        self, run: Run, archive: Path, tmp_path: Path, predicate: str
    ) -> None:
        shape = gpd.GeoSeries(
            [shapely.box(-98.5835, 29.5755, -98.5615, 29.5965)], crs=4326
        )
        area = tmp_path / 'area.gpkg'
        shape.to_crs(32614).to_file(area)
        words = ('--within', area, '--predicate', predicate, '-k', 30)
        ran = run('search', archive, '--query', name(0), *words)
        table = EmbeddingTable.load(archive)
        rows = Where(gpd.read_file(area), predicate=predicate).rows(table)
        expected = table.frame['patch_id'].iloc[rows]
        assert sorted(ids(ran.out)) == sorted(expected)
        assert ran.code == 0
        sizes = {'intersects': 9, 'within': 1, 'contains': 0, 'centroid': 4}
        assert len(rows) == sizes[predicate]

    @pytest.mark.parametrize(
        ('window', 'start', 'end'),
        [
            ('2024-06-01/2024-07-01', '2024-06-01', '2024-07-01'),
            ('2024-06-01T00:00Z/', '2024-06-01', None),
            ('2024-06-01/..', '2024-06-01', None),
            ('../2024-03-01', None, '2024-03-01'),
            ('/2024-03-01', None, '2024-03-01'),
            (' 2024-01-01 / 2024-01-11 ', '2024-01-01', '2024-01-11'),
        ],
    )
    def test_window(
        self, run: Run, archive: Path, window: str, start: str | None, end: str | None
    ) -> None:
        ran = run(
            'search',
            archive,
            '--include-self',
            '--query',
            name(0),
            '--during',
            window,
            '-k',
            30,
        )
        days = EmbeddingTable.load(archive).frame.set_index('patch_id')['time_start']
        first, last = (
            None if t is None else pd.Timestamp(t, tz='UTC') for t in (start, end)
        )
        expected = [
            patch
            for patch, day in days.items()
            if not pd.isna(day)
            and (first is None or day >= first)
            and (last is None or day < last)
        ]
        assert sorted(ids(ran.out)) == sorted(expected)
        assert 0 < len(expected) < 28

    def test_undated(self, run: Run, archive: Path) -> None:
        words = [
            'search',
            archive,
            '--query',
            name(0),
            '--during',
            '2030-01-01/',
            '-k',
            2,
        ]
        ran = run(*words)
        assert (ran.code, ids(ran.out)) == (0, [])
        assert ran.err == (
            '0 of 2 hits per query: during left 0 of 30; 2 without a date were filtered out; '
            '--undated keeps them\n'
        )
        ran = run(*words, '--undated')
        assert sorted(ids(ran.out)) == [name(28), name(29)]
        assert ran.err == ''

    def test_condition(self, run: Run, archive: Path) -> None:
        words = ('--where', 'cloud < 3 and source == "scene.tif"', '-k', 3)
        ran = run('search', archive, '--query', name(9), *words)
        assert sorted(ids(ran.out)) == [name(0), name(1), name(2)]
        assert ran.err == ''

    def test_fewer_than_asked_says_why(self, run: Run, archive: Path) -> None:
        ran = run('search', archive, '--include-self', '--query', name(0), '-k', 31)
        assert ran.err == '30 of 31 hits per query: the archive has 30 rows\n'
        words = ('--where', 'cloud < 20', '--within', '-98.6,29.59,-98.55,29.599')
        ran = run(
            'search', archive, '--include-self', '--query', name(0), *words, '-k', 13
        )
        assert re.fullmatch(
            r'(\d+) of 13 hits per query: where cloud < 20 left 20 of 30; area, intersects '
            r'left \1 of 20\n',
            ran.err,
        )

    def test_explain(self, run: Run, archive: Path) -> None:
        words = ('--explain', '--during', '/2024-03-01', '-k', 2)
        ran = run('search', archive, '--include-self', '--query', name(0), *words)
        first, why, *rest = ran.err.splitlines()
        assert why.startswith('  because ')
        assert first == 'plan: exact; 1 queries, k=2, 30 rows'
        assert [line.split(':')[0].strip() for line in rest] == [
            'during',
            'rank',
            'rows scored again per query',
            'rows without time met by the window',
        ]
        assert len(ids(ran.out)) == 2


class TestPlacesAndDates:
    def test_near(self, run: Run, archive: Path) -> None:
        words = ('--near', '-98.595,29.595,700', '-k', 30)
        ran = run('search', archive, '--include-self', '--query', name(0), *words)
        table = EmbeddingTable.load(archive)
        rows = Where(near=((-98.595, 29.595), 700)).rows(table)
        expected = table.frame['patch_id'].iloc[rows]
        assert sorted(ids(ran.out)) == sorted(expected)
        assert 2 < len(rows) < 8

    def test_min_overlap(self, run: Run, archive: Path) -> None:
        # The whole of columns 1 and 2, a third of column 3, of the first row.
        box = '-98.5901,29.5901,-98.5668,29.61'
        words = ('--query', name(0), '--within', box, '-k', 30)
        ran = run('search', archive, *words, '--min-overlap', '0.5')
        assert sorted(ids(ran.out)) == [name(1), name(2)]
        ran = run('search', archive, *words, '--min-overlap', '0.3')
        assert sorted(ids(ran.out)) == [name(1), name(2), name(3)]

    @pytest.mark.parametrize(
        ('word', 'months'),
        [('6', [6]), ('6,8', [6, 8]), ('6-8', [6, 7, 8]), ('11-2', [1, 2, 11, 12])],
    )
    def test_months(
        self, run: Run, archive: Path, word: str, months: list[int]
    ) -> None:
        ran = run(
            'search',
            archive,
            '--include-self',
            '--query',
            name(0),
            '--months',
            word,
            '-k',
            30,
        )
        days = EmbeddingTable.load(archive).frame.set_index('patch_id')['time_start']
        expected = days.index[days.dt.month.isin(months)]
        assert sorted(ids(ran.out)) == sorted(expected)

    def test_days_and_the_own_place(self, run: Run, archive: Path) -> None:
        words = ('--days', '25', '--exclude-own', '0')
        ran = run('search', archive, '--query', name(3), '--query', name(8), *words)
        told = lines(ran.out)
        # Ten days from one to the next; neighbours touch, the row below is six on.
        assert sorted(t[6] for t in told if t[0] == name(3)) == sorted(
            name(i) for i in (1, 5)
        )
        assert sorted(t[6] for t in told if t[0] == name(8)) == sorted(
            name(i) for i in (6, 10)
        )
        assert ran.err.startswith(
            '4 hits for 2 queries of 10 each, for the first: within 25 days of the query '
            'left 5 of 30; beyond 0 m of the query left 2 of 5; 2 without a date'
        )


class TestAfterTheRanking:
    def test_spacing(self, run: Run, archive: Path) -> None:
        words = ('--query', name(14), '-k', 4, '--spacing', 900)
        ran = run('search', archive, '--include-self', *words)
        table = EmbeddingTable.load(archive)
        found = rerank(
            RetrievalIndex(table),
            from_ids(table, name(14)),
            4,
            spacing=900,
            exclude=None,
        )
        assert ids(ran.out) == found['patch_id'].tolist()
        assert (ran.code, ran.err) == (0, '')
        ran = run(
            'search', archive, '--include-self', '--query', name(14), '--spacing', 5000
        )
        assert ran.err.endswith(
            'hits for 1 queries of 10 each: the archive has 30 rows; '
            '--spacing removed others\n'
        )

    def test_nothing_is_said_to_be_removed_that_was_not(
        self, run: Run, archive: Path
    ) -> None:
        ran = run('search', archive, '--query', name(2), '-k', 40, '--min-score', -1)
        assert ran.err.endswith('not the query itself left 29 of 30\n')

    def test_min_score_and_diversity(self, run: Run, archive: Path) -> None:
        table = EmbeddingTable.load(archive)
        query = from_ids(table, name(2))
        ran = run('search', archive, '--query', name(2), '--min-score', '0.3')
        assert all(float(line[2]) >= 0.3 for line in lines(ran.out))
        assert 0 < len(ids(ran.out)) < 10
        assert '--min-score removed others' in ran.err
        ran = run('search', archive, '--query', name(2), '--diversity', 0.6, '-k', 5)
        found = rerank(RetrievalIndex(table), query, 5, diversity=0.6)
        assert ids(ran.out) == found['patch_id'].tolist()

    def test_all_that_reach_a_score(self, run: Run, archive: Path) -> None:
        ran = run(
            'search',
            archive,
            '--include-self',
            '--query',
            name(2),
            '--min-score',
            0.1,
            '-k',
            0,
        )
        assert (ran.code, ran.err) == (0, '')
        table = EmbeddingTable.load(archive)
        scores = table.vectors.astype(float) @ table.vectors[2]
        assert len(lines(ran.out)) == (scores >= 0.1).sum() > 10

    def test_what_looks_like_a_better_hit(self, run: Run, archive: Path) -> None:
        ran = run('search', archive, '--query', name(2), '--distinct', 0.5, '-k', 5)
        table = EmbeddingTable.load(archive)
        query = from_ids(table, name(2))
        found = rerank(RetrievalIndex(table), query, 5, distinct=0.5)
        assert ids(ran.out) == found['patch_id'].tolist()
        plain = run('search', archive, '--query', name(2), '-k', 5)
        assert ids(plain.out) != ids(ran.out)

    def test_two_sensors_with_one_measure(
        self, run: Run, archive: Path, asking: Path
    ) -> None:
        words = ['search', archive, asking, '--query', asking, '-k', 9]
        ran = run(*words, '--calibrated')
        index = open_archives([archive, asking])
        hits = index.search(EmbeddingTable.load(asking), 9, calibrated=True)
        told = lines(ran.out)
        assert [line[6] for line in told] == hits['patch_id'].tolist()
        assert [float(line[2]) for line in told] == pytest.approx(
            hits['score'].tolist(), abs=5e-5
        )
        words.append('--include-self')
        assert ids(run(*words).out) != ids(run(*words, '--calibrated').out)

    @pytest.mark.parametrize('asked', [True, False])
    def test_refine(self, run: Run, archive: Path, tmp_path: Path, asked: bool) -> None:
        table = EmbeddingTable.load(archive)
        hits = RetrievalIndex(table).search(from_ids(table, name(2)), 6)
        hits['relevant'] = hits['rank'].isin([2, 4]).astype('boolean')
        hits.to_file(tmp_path / 'hits.gpkg')
        words: list[object] = ['--query', name(2)] if asked else []
        words += ['--refine', tmp_path / 'hits.gpkg', '-k', 5]
        ran = run('search', archive, *words)
        query = from_feedback(
            table, hits, queries=from_ids(table, name(2)) if asked else None
        )
        expected = RetrievalIndex(table).search(query, 5)
        assert ids(ran.out) == expected['patch_id'].tolist()
        assert {line[0] for line in lines(ran.out)} == {name(2)}


def test_an_index_answers_as_its_archive(
    run: Run, archive: Path, asking: Path, tmp_path: Path
) -> None:
    RetrievalIndex.build(archive, tmp_path / 'index')
    for words in (
        ['--query', asking, '-k', 4, '--where', 'cloud < 20'],
        ['--query', '-98.585,29.595', '--within', '-98.6,29.5,-98.57,29.6'],
        ['--query', name(3), '--spacing', 1500, '-k', 3],
        ['--query', name(3), '--approximate', '-k', 3],
    ):
        assert run('search', archive, *words).out == (
            run('search', tmp_path / 'index', *words).out
        )
    both = ['--query', name(3), '-k', 40]
    assert run('search', tmp_path / 'index', asking, *both).out == (
        run('search', archive, asking, *both).out
    )


class TestFiles:
    def test_one_line_a_file(self, run: Run, archive: Path, tmp_path: Path) -> None:
        one, two = tmp_path / 'one.geojson', tmp_path / 'new' / 'two.GEOJSON'
        words = ('--query', name(5), '-k', 3, '--out', one, '--out', two)
        ran = run('search', archive, *words)
        assert ran == (0, f'{one}: 3 rows\n{two}: 3 rows\n', '')
        assert one.read_bytes() == two.read_bytes()
        table = EmbeddingTable.load(archive)
        hits = RetrievalIndex(table).search(from_ids(table, name(5)), 3)
        read = gpd.read_file(one)
        for column in ('query_id', 'rank', 'score', 'patch_id', 'cloud'):
            assert read[column].tolist() == hits[column].tolist()
        assert read['time_start'].tolist() == hits['time_start'].tolist()
        same = shapely.equals_exact(read.geometry, hits.geometry.normalize(), 1e-7)
        again = shapely.equals_exact(
            read.geometry.normalize(), hits.geometry.normalize(), 1e-7
        )
        assert (same | again).all()
        assert not list(tmp_path.rglob('.*tmp*'))

    def test_every_output_is_told(
        self, run: Run, archive: Path, asking: Path, tmp_path: Path
    ) -> None:
        words = ('--query', asking, '-k', 3, '--within', '-98.6,29.5,-98.5,29.6')
        out = tmp_path / 'new' / 'hits.gpkg'
        ran = run(
            'search', archive, *words, '--out', out, '--project', '--heatmap', '--html'
        )
        folder = out.parent
        assert ran == (
            0,
            (
                f'{out}: 9 rows\n{folder / "hits_similarity.tif"}: similarity raster\n'
                f'{folder / "hits.qgz"}: QGIS project\n{folder / "hits.html"}: 9 rows\n'
            ),
            '',
        )
        assert {p.name for p in folder.iterdir()} == {
            'hits.gpkg',
            'hits.html',
            'hits.json',
            'hits.qgz',
            'hits_similarity.qml',
            'hits_similarity.tif',
        }
        # The scenes are not there: the page does without pictures, and says so.
        assert 'Pictures are missing' in (folder / 'hits.html').read_text()
        results, queries, area, record = read_search(out)
        assert len(results) == 9
        assert queries is not None
        assert len(queries) == 3
        assert area is not None
        assert area.equals(shapely.box(-98.6, 29.5, -98.5, 29.6))
        assert record['k'] == 3

    def test_clips_without_another_output(
        self, run: Run, archive: Path, asking: Path, tmp_path: Path
    ) -> None:
        words = ('--query', asking, '-k', 1, '--clips', tmp_path / 'clips')
        ran = run('search', archive, *words)
        assert ran.code == 2
        assert 'cannot be opened; say where the scenes are' in ran.err

    def test_no_hit_is_an_empty_layer(
        self, run: Run, archive: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / 'out.geojson'
        words = ('--where', 'cloud > 100', '--out', out)
        ran = run('search', archive, '--query', name(5), *words)
        assert ran.code == 0
        assert ran.out == f'{out}: 0 rows\n'
        assert ran.err == (
            '0 of 10 hits per query: where cloud > 100 left 0 of 30; no row has cloud > 100, for '
            'cloud goes from 0.0 to 29.0\n'
        )
        assert json.loads(out.read_text())['features'] == []

    def test_a_word_that_no_row_has_is_named_with_those_there_are(
        self, run: Run, archive: Path
    ) -> None:
        for words in ((), ('-k', 0, '--min-score', 0.1)):
            ran = run(
                *('search', archive, '--query', name(5), *words),
                *('--where', "modality = 's1'"),
            )
            assert ran.code == 0
            assert ran.err.endswith(
                "left 0 of 30; no row has modality = 's1', for modality is 's2'\n"
            )
        ran = run('changes', archive, '--where', "modality = 's1'")
        assert ran.code == 0
        assert ran.err.endswith("; no row has modality = 's1', for modality is 's2'\n")
        ran = run('duplicates', archive, '--where', "modality = 's1'")
        assert ran.code == 0
        assert ran.err.endswith("; no row has modality = 's1', for modality is 's2'\n")

    def test_a_share_that_was_not_measured_is_named(
        self, run: Run, archive: Path, tmp_path: Path
    ) -> None:
        table = EmbeddingTable.load(archive)
        bare = table.frame.assign(cloud=np.nan)
        replace(table, frame=bare).save(tmp_path / 'bare')
        ran = run(
            'search', tmp_path / 'bare', '--query', name(5), '--where', 'cloud < 4'
        )
        assert ran.code == 0
        assert 'left 0 of 30; no row has a value in cloud: it is measured' in ran.err
        assert 'embed the scenes with their masks' in ran.err

    def test_overwrite(
        self, run: Run, refused: Refused, archive: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / 'out.geojson'
        out.write_text('precious')
        words = ['search', archive, '--query', name(5), '--out', out]
        assert 'out.geojson is there already; choose another name' in refused(*words)
        assert out.read_text() == 'precious'
        assert run(*words, '--overwrite').code == 0
        assert len(gpd.read_file(out)) == 10

    def test_outputs_are_checked_before_the_archive_is_read(
        self, refused: Refused, tmp_path: Path
    ) -> None:
        (tmp_path / 'a.geojson').touch()
        words = ('search', tmp_path / 'gone', '--query', 'x', '--out')
        assert 'is there already' in refused(*words, tmp_path / 'a.geojson')
        assert 'no writer knows' in refused(*words, tmp_path / 'a.shp')
        assert 'is a file; name another' in refused(
            *words, tmp_path / 'a.geojson' / 'b.geojson'
        )

    def test_the_writer_is_given_queries_and_area(
        self, run: Run, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: dict[str, Any] = {}

        def writer(results: gpd.GeoDataFrame, path: str, **others: Any) -> None:
            seen.update(others, results=results)

        from torchgeo_cmr.export import write

        monkeypatch.setitem(write.__globals__['WRITERS'], '.geojson', writer)
        words = ('--within', '-98.6,29.5,-98.5,29.6', '--out', tmp_path / 'a.geojson')
        assert run('search', archive, '--query', name(5), *words).code == 0
        assert seen['queries'].frame['patch_id'].tolist() == [name(5)]
        assert seen['area'].equals(shapely.box(-98.6, 29.5, -98.5, 29.6))
        assert len(seen['results']) == 10


@pytest.mark.slow
def test_searching_never_loads_torch(
    program: Run, archive: Path, tmp_path: Path
) -> None:
    code = (
        'import sys\n'
        'from torchgeo_cmr.main import main\n'
        'assert main(sys.argv[1:]) == 0\n'
        "bad = {'torch', 'torchgeo', 'lightning', 'timm', 'kornia'} & set(sys.modules)\n"
        'assert not bad, bad\n'
    )
    words = ['search', archive, '--query', '-98.595,29.595', '--query', name(3)]
    # The checkpoint is not opened either, as long as nothing has to be embedded.
    words += ['--ckpt', 'gone.ckpt', '--out', tmp_path / 'a.geojson']
    done = program('-c', code, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'{tmp_path / "a.geojson"}: 20 rows\n'
    assert len(gpd.read_file(tmp_path / 'a.geojson')) == 20


@pytest.fixture(scope='module')
def areas(
    tmp_path_factory: pytest.TempPathFactory, make: Callable[..., EmbeddingTable]
) -> Path:
    """Vector files and archives that are wrong, each in its own way."""
    folder = tmp_path_factory.mktemp('areas')
    make('s1', n=2, space='xyz').save(folder / 'other')
    make('s1', n=2, dim=4).save(folder / 'narrow')
    box = shapely.box(-98.6, 29.5, -98.5, 29.6)
    shape = gpd.GeoDataFrame({'name': ['area']}, geometry=[box], crs=4326)
    shape.to_file(folder / 'bare.shp')
    (folder / 'bare.prj').unlink()
    collection = {'type': 'FeatureCollection', 'features': []}
    (folder / 'empty.geojson').write_text(json.dumps(collection))
    (folder / 'text.geojson').write_text('no vector file')
    away = shapely.transform(box, lambda c: c + np.array([0.5, 0]))
    moved = gpd.GeoSeries([away], crs=4326)
    moved.to_file(folder / 'away.geojson')
    return folder


_OUT = 'out.geojson'


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        # the archive
        ('{gone} --query {id}', 'gone: check the path'),
        ('https://a.example/arch --query {id}', 'is on a server, and only files of'),
        ('{asking} {gone} --query {id}', 'gone: check the path'),
        ('{archive} {archive} --query {id}', 'is in two of the tables; leave one'),
        # the query
        ('{archive} --query nothing', 'is not a file or folder, a patch_id or LON,LAT; ids'),
        ('{archive} --query scene.tif:0_64_', f'similar ones are {name(2)}'),
        ('{archive} --query no*.tif', '--query no*.tif is not a file or folder'),
        ('{archive} --query {away}', 'place0 touches no patch: the nearest is 42.6 km away; draw it inside'),
        ('{archive} --query {folder}', 'is a folder without _archive.json: to use rasters as queries, add --ckpt'),
        ('{archive} --query -99,29.5', 'no patch covers -99,29.5: the nearest is 39.2 km away'),
        ('{archive} --query 29.5,-98.5', 'give longitude (-180 to 180), then latitude'),
        ('{archive} --query 1,2,3', '--query 1,2,3 is not a file or folder'),
        ('{archive} --query nan,1', 'nan,1 is not a position'),
        ('{archive} --query {other}', 'queries were embedded in space xyz and the archive in abc; embed both with one checkpoint'),
        ('{archive} {other} --query {id}', 'the archive in abc and xyz'),
        ('{archive} --query {narrow}', 'the queries have 4 numbers and the archive has 8'),
        ('{archive} {narrow} --query {id}', 'tables of different dim (8 and 4)'),
        # the area
        ('{archive} --query {id} --within {folder}/gone.gpkg', 'the area file {folder}/gone.gpkg is not there'),
        ('{archive} --query {id} --within {folder}/bare.shp', 'bare.shp has no CRS'),
        ('{archive} --query {id} --within {folder}/empty.geojson', 'empty.geojson has no features with a geometry'),
        ('{archive} --query {id} --within {folder}/text.geojson', 'cannot be read as a vector file'),
        ('{archive} --query {id} --within {away}', 'its nearest footprint is 42.6 km from the area; choose an area inside'),
        ('{archive} --query {id} --within 1,2,3,4', 'the area touches no footprint: the archive lies within longitude -98.6000 to -98.5400'),
        ('{archive} --query {id} --within 1,2', '--within 1,2 has 2 numbers: give W,S,E,N or a vector file'),
        ('{archive} --query {id} --within -98,30,-99,29', 'south 30.0 above north 29.0'),
        ('{archive} --query {id} --within nan,0,1,2', 'is not an area'),
        ('{archive} --query {id} --within -98,29,-97,91', 'are not longitudes and latitudes'),
        ('{archive} --query {id} --within -99,29,-98,30 --predicate near', "predicate 'near' is not known; use one of intersects, within"),
        ('{archive} --query {id} --predicate within', '--predicate within needs --within'),
        # the dates
        ('{archive} --query {id} --modality s3', '--modality s3: the archive has s2'),
        ('{archive} --query {id} --modality s1 --ckpt best.ckpt', 'the sensor of query rasters is --query-modality s1'),
        ('{archive} --query {id} --during 2024-06-01T10:30', 'is one moment; give a window'),
        ('{archive} --query {id} --during 2024/06/01', "write '2024-06-01'"),
        ('{archive} --query {id} --during 06/2024', "write '2024-06'"),
        ('{archive} --query {id} --during 01.06.2024/10.06.2024', "write '2024-06-01' or '2024-01-06'"),
        ('{archive} --query {id} --during /', "--during '/' limits nothing"),
        ('{archive} --query {id} --during ../..', 'limits nothing'),
        ('{archive} --query {id} --during 2024-06-01/soon', "'soon' is not a date in ISO 8601; write it like '2024-06-01'"),
        ('{archive} --query {id} --during 2024-07-01/2024-06-01', 'starts at 2024-07-01T00:00:00 and ends at 2024-06-01'),
        # the condition
        ('{archive} --query {id} --where cloud<', "the condition 'cloud<' cannot be read at its end"),
        ('{archive} --query {id} --where clouds<3', "there is no column 'clouds' to compare; the archive has"),
        ('{archive} --query {id} --where open("x")', 'is not allowed in a condition'),
        ('{archive} --query {id} --where cloud=="x"', 'cloud'),
        # the number of hits
        ('{archive} --query {id} -k 0', '-k is 0: give at least 1 hit per query'),
        ('{archive} --query {id} -k -1', '-k is -1: give at least 1 hit per query'),
        ('{archive} --query {id} -k ten', "invalid int value: 'ten'"),
        ('{archive}', 'no query given: say what to look for with --query'),
        # the newer filters
        ('{archive} --query {id} --near 1,2', '--near 1,2 is not LON,LAT,METRES'),
        ('{archive} --query {id} --near 1,2,-3', 'near is -3.0; give a number of 0 or more'),
        ('{archive} --query {id} --months June', '--months June is not a list of months: write them like 6,7,8'),
        ('{archive} --query {id} --months 0', '--months 0: give numbers from 1 to 12'),
        ('{archive} --query {id} --months 6-', '--months 6- is not a list of months'),
        ('{archive} --query {id} --days -1', 'days is -1.0; give a number of 0 or more'),
        ('{archive} --query scene.tif:0_928_32x32 --days 3', 'similar ones are'),
        ('{archive} --query {undated} --days 3', 'has no date, so days=3 cannot be counted'),
        ('{archive} --query {id} --exclude-own -1', 'beyond is -1.0'),
        ('{archive} --query {id} --min-overlap 0.5', 'min_overlap was given without an area'),
        ('{archive} --query {id} --min-overlap 0.5 --within 9,45,9,46', 'an area of LineString, which has no extent'),
        # after the ranking
        ('{archive} --query {id} --spacing -5', 'spacing is -5.0; give a number of 0 or more'),
        ('{archive} --query {id} --diversity 2', 'diversity is 2.0; give a number from 0 to 1'),
        ('{archive} --query {id} --spacing 5 --approximate', '--approximate does not go with --spacing'),
        ('{archive} --refine {folder}/gone.gpkg', 'the labelled layer {folder}/gone.gpkg is not there'),
        ('{archive} --refine {away}', 'the labelled layer has no column query_id'),
        ('--query {id}', 'the following arguments are required: ARCHIVES'),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_leaves_nothing(
    refused: Refused, archive: Path, asking: Path, areas: Path, words: str, message: str
) -> None:
    places = {
        'archive': archive,
        'asking': asking,
        'gone': areas / 'gone',
        'other': areas / 'other',
        'narrow': areas / 'narrow',
        'away': areas / 'away.geojson',
        'folder': areas,
        'id': name(3),
        'undated': name(29),
    }
    before = sorted(areas.rglob('*'))
    given = [word.format(**places) for word in words.split(' ')]
    line = refused('search', *given, '--out', areas / _OUT)
    assert message.format(folder=areas) in line
    assert sorted(areas.rglob('*')) == before


def test_a_saved_search_asks_with_each_hit(
    run: Run, archive: Path, tmp_path: Path
) -> None:
    saved = tmp_path / 'hits.geojson'
    assert run('search', archive, '--query', name(3), '-k', 4, '--out', saved).code == 0
    ran = run('search', archive, '--query', saved, '-k', 1)
    assert len(lines(ran.out)) == 4
    assert f'{saved} holds hits of a search: each is a place' in ran.err
    assert 'which makes 4 queries' in ran.err
    # Other places are asked with in silence.
    gpd.read_file(saved)[['geometry']].to_file(tmp_path / 'drawn.geojson')
    ran = run('search', archive, '--query', tmp_path / 'drawn.geojson', '-k', 1)
    assert (len(lines(ran.out)), ran.err) == (4, '')


class TestBrokenArchives:
    def test_header(self, refused: Refused, archive: Path) -> None:
        (archive / '_archive.json').write_text('{"format": ')
        line = refused('search', archive, '--query', name(0))
        assert '_archive.json is broken' in line
        assert 'write the archive again' in line

    def test_part_cut_short(self, refused: Refused, archive: Path) -> None:
        (part,) = archive.glob('part-*.parquet')
        part.write_bytes(part.read_bytes()[:-100])
        line = refused('search', archive, '--query', name(0))
        assert 'is truncated or broken; remove it and run again' in line

    def test_part_missing(self, refused: Refused, archive: Path) -> None:
        (part,) = archive.glob('part-*.parquet')
        part.unlink()
        assert 'a part file is missing' in refused('search', archive, '--query', 'x')

    def test_query_archive(self, refused: Refused, archive: Path, asking: Path) -> None:
        (asking / '_archive.json').write_text('[]')
        line = refused('search', archive, '--query', asking)
        assert 'name an archive folder' in line

    def test_empty(
        self, refused: Refused, tmp_path: Path, make: Callable[..., EmbeddingTable]
    ) -> None:
        make(n=4).select([]).save(tmp_path / 'empty')
        for word in ('x', '-98.5,29.5'):
            line = refused('search', tmp_path / 'empty', '--query', word)
            assert 'the archive is empty' in line


S1, S2 = ('VV', 'VH'), ('B02', 'B03', 'B04')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a task as a trainer saves it; nothing has to be learned for these tests."""
    import torch
    from lightning.pytorch import Trainer

    from torchgeo_cmr.tasks import SSCMRSIR

    torch.manual_seed(0)
    task = SSCMRSIR({'s1': 2, 's2': 3}, 'test_resnet', output_dim=16)
    task.set_specs(
        {
            name: {
                'bands': bands,
                'mean': [0.0] * len(bands),
                'std': [1.0] * len(bands),
                'patch_size': 16,
                'units': unit,
            }
            for name, bands, unit in (('s1', S1, 'db'), ('s2', S2, 'reflectance'))
        }
    )
    trainer = Trainer(
        accelerator='cpu', logger=False, enable_progress_bar=False, max_epochs=0
    )
    trainer.strategy.connect(task)
    path = tmp_path_factory.mktemp('checkpoint') / 'task.ckpt'
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope='module')
def scenes(
    raster_writer: Callable[[Path], Callable[..., Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """One scene of each sensor over the same ground, and rasters that are wrong."""
    folder = tmp_path_factory.mktemp('rasters')
    write_raster = raster_writer(folder)
    rng = np.random.default_rng(0)
    for file, bands in (('s1.tif', S1), ('s2.tif', S2), ('one.tif', ('VV',))):
        data = rng.normal(size=(len(bands), 48, 48))
        write_raster(f'scenes/{file}', bands=bands, data=data)
    write_raster('scenes/nowhere.tif', bands=S1, crs=None)
    write_raster('scenes/tiny.tif', bands=S1, shape=(8, 8))
    write_raster('scenes/bare.tif', bands=S1)
    for file in ('s1.tif', 'tiny.tif'):
        with rasterio.open(folder / 'scenes' / file, 'r+') as raster:
            raster.units = ('dB',) * len(S1)
    (folder / 'scenes' / 'text.tif').write_text('no raster')
    return folder / 'scenes'


@pytest.fixture(scope='module')
def embedded(
    checkpoint: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The archive of the s2 scene: nine patches."""
    from torchgeo_cmr.tasks import load_task

    folder = tmp_path_factory.mktemp('embedded')
    embed(
        load_task(checkpoint),
        str(scenes / 's2.tif'),
        's2',
        16,
        out=folder / 'embedded',
        progress=False,
    )
    return folder / 'embedded'


class TestRasters:
    def test_a_raster_asks_through_the_checkpoint(
        self, run: Run, checkpoint: Path, scenes: Path, embedded: Path, tmp_path: Path
    ) -> None:
        from torchgeo_cmr.tasks import load_task

        out = tmp_path / 'out.geojson'
        words = ['search', embedded, '--query', scenes / 's1.tif', '--quiet']
        words += ['--ckpt', checkpoint, '--query-modality', 's1', '--out', out]
        ran = run(*words, '-k', 2)
        assert (ran.code, ran.out) == (0, f'{out}: 18 rows\n')
        queries = embed(
            load_task(checkpoint), str(scenes / 's1.tif'), 's1', 16, progress=False
        )
        index = RetrievalIndex(EmbeddingTable.load(embedded))
        hits = index.search(queries, 2)
        read = gpd.read_file(out)
        assert read['patch_id'].tolist() == hits['patch_id'].tolist()
        assert read['score'].tolist() == pytest.approx(hits['score'].tolist())
        assert read['query_id'].unique().tolist() == queries.frame['patch_id'].tolist()

    @pytest.mark.slow
    def test_several_rasters_and_a_patch(
        self, run: Run, checkpoint: Path, scenes: Path, embedded: Path
    ) -> None:
        first = EmbeddingTable.load(embedded).frame['patch_id'].iloc[0]
        words = ['search', embedded, '--query', f'{scenes}/s1.*', '--query', first]
        words += ['--ckpt', checkpoint, '--query-modality', 's1', '--quiet']
        asked = [line[0] for line in lines(run(*words, '-k', 1).out)]
        assert asked[0] == first
        assert len(asked) == 10
        # Pixels of the own sensor find themselves.
        words = ['search', embedded, '--query', scenes / 's2.tif', '--size', '16']
        words += ['--ckpt', checkpoint, '--query-modality', 's2', '--quiet']
        found = lines(run(*words, '-k', 1, '--include-self').out)
        assert all(line[0] == line[6] for line in found)
        found = lines(run(*words, '-k', 1).out)
        assert all(line[0] != line[6] for line in found)

    @pytest.mark.parametrize(
        ('words', 'message'),
        [
            ('--query {scenes}/none*.tif --ckpt {ckpt} --query-modality s1', 'none*.tif is not a file or folder'),
            ('--query {scenes}/nowhere.tif --ckpt {ckpt} --query-modality s1', 'nowhere.tif has no CRS: declare it'),
            ('--query {scenes}/one.tif --ckpt {ckpt} --query-modality s1', 's1 expects 2 bands (VV, VH), the dataset gives 1 (VV)'),
            ('--query {scenes}/s2.tif --ckpt {ckpt} --query-modality s1', 's1 expects 2 bands (VV, VH), the dataset gives 3'),
            ('--query {scenes}/text.tif --ckpt {ckpt} --query-modality s1', 'text.tif cannot be read as a raster'),
            ('--query {scenes}/tiny.tif --ckpt {ckpt} --query-modality s1', 'choose a smaller size'),
            ('--query {scenes}/s1.tif --ckpt {ckpt} --query-modality s1 --size 0', 'give a number of pixels'),
            ('--query {scenes}/s1.tif --ckpt {ckpt} --query-modality s3', "no modality 's3': use one of s1, s2"),
            ('--query {scenes}/bare.tif --ckpt {ckpt} --query-modality s1', 'state it with --units'),
            ('--query {scenes}/s1.tif --ckpt {ckpt} --query-modality s1 --units power', 'leave units out'),
            ('--query {scenes}/s1.tif --ckpt {ckpt}', 'say its sensor with --query-modality, one of s1, s2'),
            ('--query {scenes}/s1.tif --ckpt {scenes}/gone.ckpt --query-modality s1', 'there is no checkpoint'),
            ('--query {scenes}/s1.tif --ckpt {scenes}/text.tif --query-modality s1', 'cannot be read as a checkpoint'),
            ('--query {scenes}/s1.tif --ckpt {ckpt} --query-modality s1 --dataset no.Class', 'no.Class is not a raster dataset'),
            ('--query {scenes}/s1.tif --ckpt {ckpt} --query-modality s1 --dataset torchgeo.datasets.Sentinel1', 'recognises no file'),
            ('--query {scenes}/s1.tif', 's1.tif is a file: to use rasters as queries, add --ckpt CHECKPOINT'),
        ],
    )  # fmt: skip
    def test_a_mistake_is_one_line_and_leaves_nothing(
        self,
        refused: Refused,
        checkpoint: Path,
        scenes: Path,
        embedded: Path,
        tmp_path: Path,
        words: str,
        message: str,
    ) -> None:
        before = sorted(tmp_path.rglob('*'))
        given = words.format(scenes=scenes, ckpt=checkpoint).split()
        line = refused('search', embedded, *given, '--out', tmp_path / _OUT, '--quiet')
        assert message in line
        assert sorted(tmp_path.rglob('*')) == before

    def test_another_checkpoint_is_refused(
        self, refused: Refused, checkpoint: Path, scenes: Path, archive: Path
    ) -> None:
        # The archive of the other tests was made by nobody's checkpoint.
        words = ['search', archive, '--query', scenes / 's1.tif', '--ckpt', checkpoint]
        line = refused(*words, '--query-modality', 's1', '--quiet')
        assert re.search(
            r'task\.ckpt embeds in space [0-9a-f]{16} and the archive is in abc', line
        )

    def test_wrong_condition_before_anything_is_embedded(
        self, refused: Refused, checkpoint: Path, scenes: Path, embedded: Path
    ) -> None:
        words = [
            'search',
            embedded,
            '--query',
            scenes / 's1.tif',
            '--ckpt',
            'gone.ckpt',
        ]
        assert "no column 'clouds'" in refused(*words, '--where', 'clouds < 3')


def test_saved_results_are_read_back(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out.geojson'
    run('search', archive, '--query', name(0), '--out', out)
    again = tmp_path / 'again.geojson'
    assert run('export', out, '--out', again) == (0, f'{again}: 10 rows\n', '')
    assert_geodataframe_equal(gpd.read_file(out), gpd.read_file(again))


class TestQuestionsOfSeveral:
    def test_examples_and_what_hits_shall_not_be(
        self, run: Run, archive: Path, tmp_path: Path
    ) -> None:
        words = ['--query', name(3), '--query', name(7), '--unlike', name(9)]
        ran = run('search', archive, *words, '-k', 5, '--out', tmp_path / 'h.gpkg')
        assert ran.code == 0
        table = EmbeddingTable.load(archive)
        right, wrong = from_ids(table, [name(3), name(7)]), from_ids(table, [name(9)])
        query = from_examples(right, wrong)
        hits = RetrievalIndex(table).search(query, 5)
        told = read_search(tmp_path / 'h.gpkg')
        assert told.results['patch_id'].tolist() == hits['patch_id'].tolist()
        assert told.results['score'].to_numpy() == pytest.approx(hits['score'])
        assert told.record['options']['unlike'] == [name(9)]
        assert 'the same 5 rows' in run('replay', tmp_path / 'h.json').out

    @pytest.mark.parametrize('method', ['mean', 'rocchio', 'logistic'])
    def test_one_question_of_several_examples(
        self, run: Run, archive: Path, method: str
    ) -> None:
        words = ['--query', name(3), '--query', name(7), '--examples', method]
        if method == 'logistic':
            words += ['--unlike', name(9), '--unlike', name(12)]
        ran = run('search', archive, *words, '-k', 5)
        table = EmbeddingTable.load(archive)
        right, wrong = (
            from_ids(table, [name(i) for i in own]) for own in ((3, 7), (9, 12))
        )
        query = from_examples(
            right, wrong if method == 'logistic' else None, method=method
        )
        hits = RetrievalIndex(table).search(query, 5)
        assert ids(ran.out) == hits['patch_id'].tolist()

    def test_two_sensors_ask_together(
        self, run: Run, archive: Path, asking: Path
    ) -> None:
        ran = run('search', archive, '--query', asking, '--and', archive, '-k', 4)
        tables = [EmbeddingTable.load(asking), EmbeddingTable.load(archive)]
        hits = RetrievalIndex(tables[1]).search(blend(tables), 4)
        told = lines(ran.out)
        assert [line[6] for line in told] == hits['patch_id'].tolist()
        assert [line[0] for line in told] == hits['query_id'].tolist()
        alone = run('search', archive, '--query', asking, '-k', 4)
        assert ids(alone.out) != ids(ran.out)

    @pytest.mark.parametrize('method', ['csls', 'softmax'])
    def test_hubs_lose(
        self, run: Run, archive: Path, asking: Path, method: str
    ) -> None:
        words = ['--query', asking, '-k', 6, '--spacing', 1]
        ran = run('search', archive, *words, '--hubs', asking, '--hubs-method', method)
        table, queries = EmbeddingTable.load(archive), EmbeddingTable.load(asking)
        freed = HubFree(RetrievalIndex(table), queries, method=method)
        hits = rerank(freed, queries, 6, spacing=1)
        told = lines(ran.out)
        assert [line[6] for line in told] == hits['patch_id'].tolist()
        assert [float(line[2]) for line in told] == pytest.approx(
            hits['score'].tolist(), abs=5e-5
        )
        assert ids(run('search', archive, *words).out) != ids(ran.out)

    def test_mistakes(self, refused: Refused, archive: Path, asking: Path) -> None:
        ask = ['search', archive, '--query', name(3)]
        assert 'leave one out' in refused(*ask, '--hubs', asking, '--approximate')
        assert 'nothing: check the path' in refused(
            *ask, '--hubs', archive.parent / 'nothing'
        )
        assert 'patch_id' in refused(*ask, '--unlike', 'nothing')
        assert "method 'median' is not known" in refused(*ask, '--examples', 'median')
        assert 'needs negatives' in refused(*ask, '--examples', 'logistic')
        told = refused(*ask, '--examples', 'mean', '--refine', 'hits.gpkg')
        assert 'drop --unlike, --examples' in told
        told = refused(*ask, '--hubs-method', 'softmax')
        assert 'needs --hubs' in told
        told = refused(*ask, '--calibrated', '--spacing', 5)
        assert '--calibrated does not go with --spacing' in told
        told = refused(*ask, '--calibrated', '--hubs', asking)
        assert '--calibrated does not go with --hubs' in told
        told = refused(*ask, '-k', 0, '--min-score', 0.5, '--distinct', 0.9)
        assert '-k 0 finds all' in told
        told = refused(*ask, '--unlike', name(4), '--refine', 'hits.gpkg')
        assert 'drop --unlike' in told


@pytest.mark.slow
def test_natural_command_lines(run: Run, archive: Path, tmp_path: Path) -> None:
    """What people type who know SQL, STAC clients or GDAL."""
    frame = EmbeddingTable.load(archive).frame
    dated = frame['time_start'].dt.strftime('%Y-%m')
    month = dated.dropna().iloc[0]
    one = frame['patch_id'].iloc[0]
    out = tmp_path / 'hits.csv'
    cases: list[tuple[list[str], Any]] = [
        (['--during', month], dated == month),
        (['--during', month[:4]], dated.str[:4] == month[:4]),
        (['--where', "time_start >= '2024' AND modality = 's2'"], dated >= '2024'),
        (['--where', f"patch_id IN ('{one}')"], frame['patch_id'] == one),
        (['--where', 'source IS NOT NULL'], frame['source'].notna()),
        (['--where', "patch_id ILIKE 'S2%'"], frame['patch_id'].str.startswith('s2')),
        (['--where', '"valid_fraction" IS NULL'], frame['valid_fraction'].isna()),
        (['--modality', 's2'], frame['modality'] == 's2'),
        (
            ['--modality', 's2', '--where', f"patch_id <> '{one}'"],
            frame['patch_id'] != one,
        ),
        (['--bbox', '-99,29,-98,30'], frame['patch_id'].notna()),
    ]
    for words, expected in cases:
        ran = run(
            *('search', archive, '--query', one, '-k', 1000, '-o', out, '--force'),
            '--include-self',
            *words,
        )
        assert ran.code == 0, (words, ran.err)
        ids = sorted(frame['patch_id'][expected.fillna(False)])
        assert sorted(pd.read_csv(out)['patch_id']) == ids, words


def test_options_of_query_files_without_a_file(
    run: Run, archive: Path, asking: Path
) -> None:
    plain = run('search', archive, '--query', asking, '-k', 2)
    assert plain.err == ''
    words = ['--query', asking, '-k', 2, '--query-modality', 's1', '--unlike', name(1)]
    ran = run('search', archive, *words, '--size', 16)
    assert '--query-modality and --size are without effect' in ran.err
    ran = run('search', archive, *words[:4], '--units', 'db')
    assert ran.out == plain.out
    assert 'is a raster, an image or sound, so --units is without effect' in ran.err
