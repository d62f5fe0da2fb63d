"""Several dates of one place as one row."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable, over_dates

STEP = 0.01


def make(dates: int = 3, places: int = 4, noise: float = 0.1) -> EmbeddingTable:
    """Places on a grid, seen at several dates, latest first; each date a scene."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(places, 16))
    rows, vectors = [], []
    for date in reversed(range(dates)):
        for place in range(places):
            x = place * STEP
            rows.append(
                {
                    'patch_id': f's2:d{date}.tif:0_{place}_1x1',
                    'source': f'd{date}.tif',
                    'time_start': pd.Timestamp('2024-01-01', tz='UTC')
                    + pd.Timedelta(days=date),
                    'time_end': pd.Timestamp('2024-01-02', tz='UTC')
                    + pd.Timedelta(days=date),
                    'valid_fraction': 1 - date / 10,
                    'cloud': float(date),
                    'label': place,
                    'geometry': shapely.box(x, 0, x + STEP, STEP),
                }
            )
            vectors.append(truth[place] + noise * rng.normal(size=16))
    frame = gpd.GeoDataFrame(rows, crs=4326)
    sources = {f'd{d}.tif': [[f'd{d}.tif', 1, 'B', 10.0]] for d in range(dates)}
    return EmbeddingTable.from_frame(
        frame, vectors, space='abc', modality='s2', record={'sources': sources}
    )


def test_mean_is_the_loop() -> None:
    table = make()
    joined = over_dates(table)
    assert len(joined) == 4
    assert joined.frame['dates'].tolist() == [3] * 4
    for i, row in enumerate(joined.frame.to_dict('records')):
        same = table.frame.geometry == row['geometry']
        total = table.vectors[same.to_numpy()].astype(float).sum(axis=0)
        expected = total / np.linalg.norm(total)
        np.testing.assert_allclose(joined.vectors[i], expected, atol=1e-6)


def test_a_row_says_what_it_is_made_of() -> None:
    row = over_dates(make()).frame.iloc[1]
    assert row['patch_id'] == 's2:d0.tif:0_1_1x1+2'
    assert row['source'] == 'd0.tif+d1.tif+d2.tif'
    assert row['time_start'] == pd.Timestamp('2024-01-01', tz='UTC')
    assert row['time_end'] == pd.Timestamp('2024-01-04', tz='UTC')
    assert row['valid_fraction'] == 0.8
    assert row['label'] == 1
    assert 'cloud' not in row  # it differs between the dates


def test_sources_survive_saving(tmp_path: Path) -> None:
    joined = over_dates(make())
    again = EmbeddingTable.load(joined.save(tmp_path / 'archive'))
    assert again.record == joined.record
    assert set(again.record['sources']) == {'d0.tif', 'd1.tif', 'd2.tif'}
    assert again.record['over_dates'] == 'mean'


def test_attention_turns_from_a_date_that_is_unlike_the_others() -> None:
    table = make(dates=5, places=1, noise=0.05)
    clean = over_dates(table).vectors[0]
    vectors = table.vectors.copy()
    vectors[2] = np.random.default_rng(1).normal(size=16)  # a cloud
    cloudy = EmbeddingTable.from_frame(table.frame, vectors)
    mean, attention = (
        over_dates(cloudy, how).vectors[0] @ clean for how in ('mean', 'attention')
    )
    assert attention > mean
    assert attention > 0.99
    # Dates that agree count alike.
    alike = EmbeddingTable.from_frame(table.frame, np.ones((5, 16)))
    np.testing.assert_allclose(over_dates(alike, 'attention').vectors, 0.25, atol=1e-6)


def test_modalities_are_not_mixed() -> None:
    table = make(dates=2)
    frame = table.frame.copy()
    frame['modality'] = 's1'
    frame['patch_id'] = 's1' + frame['patch_id']
    other = EmbeddingTable.from_frame(frame, -table.vectors)
    joined = over_dates(EmbeddingTable.concat([table, other]))
    assert joined.frame['modality'].value_counts().to_dict() == {'s2': 4, 's1': 4}
    np.testing.assert_allclose(joined.vectors[:4], -joined.vectors[4:], atol=1e-6)


def test_single_dates_stay_as_they_are() -> None:
    table = make(dates=1)
    joined = over_dates(table)
    assert joined.frame['patch_id'].tolist() == table.frame['patch_id'].tolist()
    np.testing.assert_allclose(joined.vectors, table.vectors, atol=1e-7)
    some = EmbeddingTable.concat(
        [make(dates=2, places=3), make(dates=1, places=4).select([3])]
    )
    assert over_dates(some, min_dates=2).frame['dates'].tolist() == [2, 2, 2]


def test_undated_rows_leave_the_time_open() -> None:
    table = make(dates=2, places=1)
    frame = table.frame.copy()
    frame.loc[0, ['time_start', 'time_end']] = pd.NaT
    row = over_dates(EmbeddingTable.from_frame(frame, table.vectors)).frame.iloc[0]
    assert pd.isna(row['time_start'])
    assert pd.isna(row['time_end'])
    assert row['patch_id'] == 's2:d0.tif:0_0_1x1+1'  # the dated one comes first


def test_mistakes_are_named() -> None:
    with pytest.raises(
        ArchiveError, match="how is 'max': choose one of mean, attention"
    ):
        over_dates(make(), 'max')  # ty: ignore[invalid-argument-type]
    with pytest.raises(ArchiveError, match='min_dates is 0'):
        over_dates(make(), min_dates=0)
    with pytest.raises(ArchiveError, match='no place of the table has 4 dates'):
        over_dates(make(), min_dates=4)
    table = make(dates=2, places=1)
    opposite = EmbeddingTable.from_frame(
        table.frame, np.stack([np.eye(16)[0], -np.eye(16)[0]])
    )
    with pytest.raises(ArchiveError, match='holds only zeros'):
        over_dates(opposite)


def test_rows_without_a_place_are_joined_with_none() -> None:
    table = make(dates=2, places=1)
    frame = table.frame.copy()
    frame['patch_id'] = frame['patch_id'] + '/wav'
    frame.geometry = gpd.GeoSeries([None, None], crs=4326)
    lost = EmbeddingTable.from_frame(frame, table.vectors, placeless=True)
    joined = over_dates(EmbeddingTable.concat([table, lost]))
    assert joined.frame['dates'].tolist() == [2, 1, 1]
    assert joined.placed.tolist() == [True, False, False]
    np.testing.assert_allclose(joined.vectors[1:], table.vectors, atol=1e-7)
    with pytest.raises(ArchiveError, match='no place of the table has 2 dates'):
        over_dates(lost, min_dates=2)


def test_long_lists_that_differ_in_the_middle_are_left_out() -> None:
    table = make(dates=2, places=1)
    frame = table.frame.copy()
    frame['alike'] = [[*range(3000)]] * 2
    frame['unlike'] = [[*range(3000)], [*range(1500), -1, *range(1501, 3000)]]
    joined = over_dates(EmbeddingTable.from_frame(frame, table.vectors))
    assert 'alike' in joined.frame
    assert 'unlike' not in joined.frame


def test_packed_codes_have_no_mean() -> None:
    frame = make(dates=2, places=1).frame
    codes = EmbeddingTable.from_frame(
        frame, np.array([[1], [2]], np.uint8), metric='hamming'
    )
    with pytest.raises(ArchiveError, match='join the dates of the vectors'):
        over_dates(codes)
