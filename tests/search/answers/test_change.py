"""Change search and near-duplicates, with planted ones."""

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import (
    Where,
    changes,
    check_result,
    duplicates,
    near_duplicates,
)
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., Any]

PLACES, DATES = 40, 3


@pytest.fixture
def series() -> EmbeddingTable:
    """Forty places on three dates by two sensors; places 7 and 19 turn over for s2."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(PLACES, 12))
    rows, vectors = [], []
    for modality, lean in (('s1', 0.5), ('s2', 0.0)):
        for date in range(DATES):
            for place in range(PLACES):
                vector = base[place] + 0.02 * rng.normal(size=12)
                vector[0] += lean * place / PLACES
                if modality == 's2' and date == 2 and place in (7, 19):
                    vector = -vector if place == 7 else np.roll(vector, 1)
                x, y = place % 8, place // 8
                rows.append(
                    {
                        'patch_id': f'{modality}:{date}:{place:02d}',
                        'modality': modality,
                        'time_start': pd.Timestamp('2024-01-01', tz='UTC')
                        + pd.Timedelta(days=30 * date),
                        'geometry': shapely.box(x, y, x + 1, y + 1),
                    }
                )
                vectors.append(vector)
    frame = gpd.GeoDataFrame(rows, crs=4326)
    order = rng.permutation(len(rows))
    return EmbeddingTable.from_frame(
        frame.iloc[order], np.array(vectors)[order], space='abc'
    )


def test_against_a_loop(series: EmbeddingTable) -> None:
    rows: list[Any] = list(series.frame.itertuples(index=False))
    best: dict[str, tuple[float, str, str]] = {}
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if (
                a.modality != b.modality
                or a.time_start >= b.time_start
                or not a.geometry.equals(b.geometry)
            ):
                continue
            far = 1 - float(series.vectors[i].astype(float) @ series.vectors[j])
            place = a.geometry.wkt
            if place not in best or far > best[place][0]:
                best[place] = (far, b.patch_id, a.patch_id)
    expected = sorted(best.values(), reverse=True)
    found = changes(series, PLACES + 5)
    check_result(found)
    assert len(found) == PLACES
    assert found['score'].tolist() == pytest.approx([e[0] for e in expected], abs=1e-6)
    assert found['patch_id'].tolist()[:10] == [e[1] for e in expected[:10]]
    assert found['other_patch_id'].tolist()[:10] == [e[2] for e in expected[:10]]
    assert found['rank'].tolist() == list(range(1, PLACES + 1))
    assert set(found['query_id']) == {'change'}
    assert list(found.columns)[-1] == 'geometry'


def test_planted_changes_come_first(series: EmbeddingTable) -> None:
    found = changes(series, 2)
    assert [name[-2:] for name in found['patch_id']] == ['07', '19']
    assert all(name.startswith('s2:2:') for name in found['patch_id'])
    assert (found['other_time_start'] < found['time_start']).all()
    assert found['score'].iloc[0] > 1.9
    # Without that date there is nothing of the kind.
    before = changes(series, 2, where=Where(during=(None, '2024-02-15')))
    assert before['score'].max() < 0.1


def test_across_sensors(series: EmbeddingTable) -> None:
    found = changes(series, 50, across='modalities')
    assert len(found) == PLACES
    assert (found['modality'] != found['other_modality']).all()
    assert [name[-2:] for name in found['patch_id'][:2]] == ['07', '19']


PLANTED = (5, 6, 70, 140)


def _scene(
    start: str,
    step: float,
    vectors: np.ndarray,
    *,
    shift: float = 0,
    modality: str = 's2',
    end: str | None = None,
) -> EmbeddingTable:
    """Twelve times twelve windows of a hundredth of a degree, *step* of a width apart."""
    i = np.arange(144)
    x, y = 9 + ((i % 12) * step + shift) / 100, 45 + ((i // 12) * step + shift) / 100
    name = f'{modality}:{start}:{end}:'
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{name}{k}' for k in i],
            'time_start': pd.Timestamp(start, tz='UTC'),
            'time_end': pd.Timestamp(end or start, tz='UTC'),
        },
        geometry=shapely.box(x, y, x + 0.01, y + 0.01),
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, vectors, space='w', modality=modality)


def _planted(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    later = base + 0.02 * rng.normal(size=base.shape)
    later[list(PLANTED)] = rng.normal(size=(len(PLANTED), base.shape[1]))
    return later


@pytest.mark.parametrize(
    'step', [pytest.param(0.2, marks=pytest.mark.slow), 0.5, 0.75, 1, 1.5]
)
@pytest.mark.parametrize('shift', [0, 0.02])
def test_windows_that_overlap_hide_no_change(step: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(144, 32))
    tables = [
        _scene('2024-01-01', step, base),
        _scene('2024-03-01', step, base + 0.02 * rng.normal(size=base.shape)),
        _scene('2024-06-01', step, _planted(rng, base), shift=shift),
    ]
    archive = EmbeddingTable.concat(tables)
    archive = archive.select(rng.permutation(len(archive)))
    found = changes(archive, 200)
    names = [name.split(':')[-1] for name in found['patch_id']]
    assert sorted(map(int, names[:4])) == sorted(PLANTED)
    assert names == [name.split(':')[-1] for name in found['other_patch_id']]
    assert sorted(map(int, names)) == list(range(144))
    assert found['score'].iloc[3] > 0.4
    assert found['score'].iloc[4] < 0.05


@pytest.mark.slow
def test_windows_of_time_and_sensors_that_overlap() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=(144, 32))
    first = _scene('2024-01-01', 0.25, base, end='2024-02-01')
    for start, end in (('2024-01-01', '2024-03-01'), ('2024-01-20', '2024-01-25')):
        later = _scene(start, 0.25, _planted(rng, base), end=end)
        found = changes(EmbeddingTable.concat([later, first]), 4)
        assert {int(n.split(':')[-1]) for n in found['patch_id']} == {*PLANTED}
        assert (found['other_patch_id'].str.contains('2024-01-01:2024-02-01')).all()
    radar = _scene('2024-01-01', 0.25, _planted(rng, base), modality='s1')
    found = changes(EmbeddingTable.concat([first, radar]), 4, across='modalities')
    assert {int(n.split(':')[-1]) for n in found['patch_id']} == {*PLANTED}


def test_grids_that_drift_are_not_one_place() -> None:
    """Each date is shifted by a third of a patch, until the next patch would be met."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=(144, 32))
    tables = [
        _scene(
            f'2024-0{i + 1}-01',
            1,
            base + 0.01 * rng.normal(size=base.shape),
            shift=i * 0.2,
        )
        for i in range(5)
    ]
    found = changes(EmbeddingTable.concat(tables), 300, min_overlap=0.4)
    assert len(found) >= 144
    assert found['score'].iloc[-1] < 0.01


def test_nothing_to_compare(make: Make) -> None:
    table = make(30)
    alone = table.select([0])
    assert len(changes(alone)) == 0
    check_result(changes(alone))
    assert 'other_patch_id' in changes(alone)


def test_changes_refuses(make: Make) -> None:
    table = make(5)
    for arguments, message in (
        ({'across': 'years'}, "across 'years' is not known; use dates or modalities"),
        ({'k': 0}, 'k is 0'),
        ({'min_overlap': 0}, 'give a share above 0'),
    ):
        with pytest.raises(QueryError, match=message):
            changes(table, **arguments)  # ty: ignore[invalid-argument-type]
    other = EmbeddingTable.from_frame(
        table.frame.assign(space='xyz', patch_id=[f'q{i}' for i in range(5)]),
        table.vectors,
    )
    with pytest.raises(QueryError, match='in space abc and xyz; compare those of one'):
        changes(EmbeddingTable.concat([table, other]))


class TestNearDuplicates:
    def test_groups_are_connected(self, make: Make) -> None:
        table = make(60, 8)
        vectors = table.vectors.copy()
        # A chain: 3 is like 10, 10 like 20, 3 not like 20; 5 and 50 are equal.
        angle = np.arccos(0.995)
        plane = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 2)))[0]
        for step, row in enumerate((3, 10, 20)):
            vectors[row] = plane @ [np.cos(step * angle), np.sin(step * angle)]
        vectors[50] = vectors[5]
        table = EmbeddingTable.from_frame(table.frame, vectors)
        group = near_duplicates(table, 0.99)
        assert group[3] == group[10] == group[20]
        assert float(vectors[3] @ vectors[20]) < 0.99
        assert group[5] == group[50]
        assert len(np.unique(group)) == 57
        assert group[0] == 0
        first = [int(np.flatnonzero(group == g)[0]) for g in range(57)]
        assert first == sorted(first)
        assert near_duplicates(table, 1.0)[5] == near_duplicates(table, 1.0)[50]
        found, names = duplicates(table, 0.99), table.frame['patch_id']
        assert found['patch_id'].tolist() == names[[3, 10, 20, 5, 50]].tolist()
        assert found['group'].tolist() == [1, 1, 1, 2, 2]
        assert found['members'].tolist() == [3, 3, 3, 2, 2]

    def test_all_and_none(self, make: Make) -> None:
        table = make(10)
        same = EmbeddingTable.from_frame(table.frame, np.ones((10, 4)))
        assert near_duplicates(same, 1).tolist() == [0] * 10
        assert near_duplicates(table.select([]), 1).tolist() == []
        assert len(duplicates(same, 1)) == 10
        assert not len(duplicates(table.select([]), 1))
        with pytest.raises(QueryError, match='give a cosine above -1'):
            near_duplicates(table, 1.5)
