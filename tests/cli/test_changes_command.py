"""The verb changes: a planted change, from words to a table and layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.search import Where
from torchgeo_cmr.search import changes as find_changes
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Twelve places in spring and autumn, by two sensors; place 5 turns over, 2 a little."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(12, 8))
    rows, vectors = [], []
    for modality in ('s1', 's2'):
        for month in (4, 10):
            for place in range(12):
                x, y = 9 + 0.01 * (place % 4), 45 + 0.01 * (place // 4)
                time = pd.Timestamp(f'2024-{month:02d}-01', tz='UTC')
                rows.append(
                    {
                        'patch_id': f'{modality}:{month}:{place}',
                        'modality': modality,
                        'time_start': time,
                        'time_end': time,
                        'cloud': float(place),
                        'geometry': shapely.box(x, y, x + 0.01, y + 0.01),
                    }
                )
                vector = base[place] + 0.01 * rng.normal(size=8)
                if month == 10:
                    vector = {5: -vector, 2: np.roll(vector, 1)}.get(place, vector)
                vectors.append(vector)
    frame = gpd.GeoDataFrame(rows, crs=4326)
    table = EmbeddingTable.from_frame(frame, np.array(vectors), space='abc')
    return table.save(tmp_path / 'series')


def test_the_table_begins_with_what_changed_most(run: Run, series: Path) -> None:
    ran = run('changes', series, '--where', 'modality == "s2"', '-k', 3)
    assert (ran.code, ran.err) == (0, '')
    head, *rest = (line.split() for line in ran.out.splitlines())
    assert head == ['rank', 'score', 'from', 'to', 'patch', 'other', 'patch']
    assert [line[0] for line in rest] == ['1', '2', '3']
    assert [line[4] for line in rest][:2] == ['s2:10:5', 's2:10:2']
    assert rest[0][2:4] == ['2024-04-01', '2024-10-01']
    assert rest[0][5] == 's2:4:5'
    assert 1.9 < float(rest[0][1]) <= 2


def test_a_layer_is_what_the_api_gives(run: Run, series: Path, tmp_path: Path) -> None:
    out = tmp_path / 'changed.parquet'
    words = ['--within', '9.001,45.001,9.035,45.015', '--across', 'modalities']
    words += ['--where', 'cloud != 5', '--during', '../2024-06-01']
    ran = run('changes', series, *words, '-k', 4, '--out', out)
    assert ran.out == f'{out}: 4 rows\n'
    where = Where(
        (9.001, 45.001, 9.035, 45.015), where='cloud != 5', during=(None, '2024-06-01')
    )
    table = EmbeddingTable.load(series)
    truth = find_changes(table, 4, across='modalities', where=where)
    told = gpd.read_parquet(out)
    names = ['rank', 'score', 'patch_id', 'other_patch_id', 'geometry']
    assert_geodataframe_equal(told[names], truth[names], check_dtype=False)


def test_for_qgis(run: Run, series: Path, tmp_path: Path) -> None:
    out = tmp_path / 'changed.gpkg'
    ran = run(
        'changes', series, '--out', out, '--project', '--html', '--months', '4-10'
    )
    assert ran.code == 0
    layer = gpd.read_file(out, layer='results')
    assert len(layer) == 10
    assert layer['other_patch_id'].iloc[0] in ('s1:4:5', 's2:4:5')
    assert layer['other_time_start'].notna().all()
    assert out.with_suffix('.qgz').exists()
    assert out.with_suffix('.html').exists()


def test_fewer_places_than_asked_for(run: Run, series: Path) -> None:
    ran = run('changes', series, '-k', 50)
    assert len(ran.out.splitlines()) == 1 + 12
    assert ran.err == '12 of 50 places have two patches to compare\n'


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--across', 'years'], "across 'years'"),
        (['--predicate', 'within'], 'needs --within'),
        (['-k', 0], 'k is 0'),
        (['--within', '10,50,11,51'], 'touches no footprint'),
        (['--where', 'clouds < 3'], 'clouds'),
        (['--project'], 'name one, such as --out'),
        (['--out', 'changed.xyz'], 'no writer knows'),
    ],
)
def test_mistakes(
    refused: Refused, series: Path, words: list[object], told: str
) -> None:
    assert told in refused('changes', series, *words)
