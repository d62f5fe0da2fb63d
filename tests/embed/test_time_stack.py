"""Several dates, one row: what the command writes beside an archive."""

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

from torchgeo_cmr import tasks
from torchgeo_cmr.embed import embed, stack_dates, time_stack
from torchgeo_cmr.errors import ArchiveError, OutputExistsError
from torchgeo_cmr.main import main
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, over_dates

BANDS = ('B02', 'B03', 'B04')


@pytest.fixture
def run(
    fake: Callable[..., Any],
    s2_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., int]:
    """Embed two zones at two dates by the command."""
    task = fake(bands=BANDS)
    monkeypatch.setattr(tasks, 'load_task', lambda ckpt, task_class: task)
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    words = ['embed', str(s2_folder), '--ckpt', 'x', '--modality', 's2', '--quiet']
    words += ['--out', str(tmp_path / 'out')]
    return lambda *more: main([*words, *more])


@pytest.mark.parametrize('how', ['mean', 'attention'])
def test_the_command_writes_one_row_a_place(
    how: str,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run('--over-dates', how, '--min-dates', '2') == 0
    archive = EmbeddingTable.load(tmp_path / 'out')
    stack = EmbeddingTable.load(tmp_path / 'out-over-dates')
    assert (len(archive), len(stack)) == (24, 12)
    expected = over_dates(archive, how, min_dates=2)  # ty: ignore[invalid-argument-type]
    assert stack.frame['patch_id'].tolist() == expected.frame['patch_id'].tolist()
    np.testing.assert_array_equal(stack.vectors, expected.vectors)
    row = stack.frame.iloc[0]
    first, second = 'T32TQM_20240601T101031_B02.tif', 'T32TQM_20240611T101031_B02.tif'
    assert row['source'] == f'{first}+{second}'
    assert row['patch_id'] == f's2:{first}:0_0_16x16+1'
    assert row['dates'] == 2
    assert row['sensor'] == 'sentinel-2'
    assert row['time_start'] == pd.Timestamp('2024-06-01T10:10:31Z')
    assert str(row['time_end'])[:19] == '2024-06-11 10:10:31'
    # It is searched like any other: the time of a row is the whole span.
    index = RetrievalIndex(stack)
    during = Where(during=('2024-06-05', '2024-06-06'))
    assert len(index.search(stack.select([0]), k=12, where=during, exclude=None)) == 12
    capsys.readouterr()
    assert main(['info', str(tmp_path / 'out-over-dates'), '--json']) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told['rows'], told['record']['over_dates']) == (12, how)


@pytest.mark.slow
def test_the_stack_is_made_again(
    run: Callable[..., int], s2_folder: Path, tmp_path: Path
) -> None:
    assert run('--over-dates', 'mean') == 0
    for path in s2_folder.glob('T33TUG_20240611*'):
        path.unlink()
    assert run('--over-dates', 'mean', '--update', '--prune') == 0
    stack = EmbeddingTable.load(tmp_path / 'out-over-dates')
    assert stack.frame['dates'].value_counts().to_dict() == {2: 6, 1: 6}


def test_only_a_stack_is_replaced(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    beside = tmp_path / 'out-over-dates'
    with pytest.raises(ArchiveError, match='no place of the table has 3 dates'):
        stack_dates(tmp_path / 'out', min_dates=3)
    assert not beside.exists()
    EmbeddingTable.load(tmp_path / 'out').save(beside)
    with pytest.raises(OutputExistsError, match='is not a stack over dates'):
        stack_dates(tmp_path / 'out')
    shutil.rmtree(tmp_path / 'out')
    for words, message in (
        (['--over-dates', 'mean'], 'is not a stack over dates'),
        (['--over-dates', 'mode'], "how is 'mode': choose one of mean, attention"),
        (['--over-dates', 'mean', '--min-dates', '0'], 'min_dates is 0'),
    ):
        assert run(*words) == 2
        assert message in capsys.readouterr().err
        # Nothing is embedded first.
        assert not (tmp_path / 'out').exists()
    assert len(EmbeddingTable.load(beside)) == 24


def spread(folder: Path, parts: int) -> tuple[Path, EmbeddingTable]:
    """An archive of several parts, each of 25 of 40 places at a date of its own."""
    rng = np.random.default_rng(0)
    for part in range(parts):
        places = np.sort(rng.choice(40, 25, replace=False))
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [f's2:{part}:{place}' for place in places],
                'source': f'{part}.tif',
                'time_start': pd.Timestamp('2024-06-01', tz='UTC')
                - pd.Timedelta(days=7 * part),
                'label': places,
                'cloud': rng.random(25),
            },
            geometry=[shapely.box(p / 100, 0, (p + 1) / 100, 0.01) for p in places],
            crs=4326,
        )
        if part == 1:
            # As a part has them in which others are missing.
            frame['label'] = frame['label'].astype(float)
        if part:
            frame['late'] = 1
        record = {'sources': {f'{part}.tif': [[f'{part}.tif', 1, 'B', 10.0]]}}
        vectors = rng.normal(size=(25, 8))
        table = EmbeddingTable.from_frame(
            frame, vectors, space='abc', modality='s2', record=record
        )
        ParquetSink(folder, {'space': 'abc'}).commit(f'{part}', table)
    return folder, EmbeddingTable.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize('how', ['mean', 'attention'])
@pytest.mark.parametrize(
    ('most', 'min_dates'),
    [(30, 1), pytest.param(1, 2, marks=pytest.mark.slow), (1000, 3)],
)
def test_batches_are_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Any, most: int, min_dates: int
) -> None:
    monkeypatch.setattr(time_stack, '_ROWS', most)
    folder, table = spread(tmp_path / 'archive', 6)
    stack = EmbeddingTable.load(stack_dates(folder, how, min_dates=min_dates))
    expected = over_dates(table, how, min_dates=min_dates)
    assert stack.frame['label'].is_unique
    # A column that differs at one place is left out of all, and so is one that a part lacks.
    assert not {'cloud', 'late'} & {*stack.frame}
    assert stack.record == expected.record
    np.testing.assert_array_equal(stack.vectors, expected.vectors)
    pd.testing.assert_frame_equal(
        stack.frame, expected.frame, check_dtype=False, check_like=True
    )


@pytest.mark.slow
def test_a_batch_reads_the_parts_of_its_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_stack, '_ROWS', 100)
    folder, table = spread(tmp_path / 'archive', 4)
    seen: list[int] = []
    joined = time_stack.join_dates
    monkeypatch.setattr(
        time_stack,
        'join_dates',
        lambda table, places, how: (
            seen.append(len(table)) or joined(table, places, how)
        ),
    )
    stack_dates(folder)
    assert sum(seen) == len(table)
    assert max(seen) <= 100


def test_an_archive_without_rows(tmp_path: Path) -> None:
    table = spread(tmp_path / 'archive', 1)[1].select([])
    with pytest.raises(ArchiveError, match='there is no row'):
        stack_dates(table.save(tmp_path / 'empty'))
    assert not (tmp_path / 'empty-over-dates').exists()


def test_a_stack_of_what_memory_holds(
    s2_folder: Path, fake: Callable[..., Any]
) -> None:
    table = embed(fake(bands=BANDS), str(s2_folder), 's2', 16, progress=False)
    assert over_dates(table).frame['dates'].tolist() == [2] * 12


@pytest.mark.slow
def test_a_part_that_is_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places are those of the rows that were read first, so none of the others is joined."""
    folder, table = spread(tmp_path / 'archive', 3)
    stack_dates(folder)
    before = EmbeddingTable.load(tmp_path / 'archive-over-dates')
    of = time_stack.Places.of

    def replaced(tables: Any, min_dates: int) -> Any:
        found = of(tables, min_dates)
        ParquetSink(folder, {'space': 'abc'}).commit('1', table.select(range(25)))
        return found

    monkeypatch.setattr(time_stack.Places, 'of', replaced)
    with pytest.raises(ArchiveError, match='was replaced while the archive was read'):
        stack_dates(folder)
    after = EmbeddingTable.load(tmp_path / 'archive-over-dates')
    assert after.frame['patch_id'].tolist() == before.frame['patch_id'].tolist()
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {
        'archive',
        'archive-over-dates',
    }


def commit(folder: Path, *parts: dict[str, Any]) -> Path:
    """An archive of parts: ids, places and other columns of each."""
    for number, columns in enumerate(parts):
        places = columns.pop('place')
        frame = gpd.GeoDataFrame(
            columns, geometry=[shapely.box(p, 0, p + 1, 1) for p in places], crs=4326
        )
        table = EmbeddingTable.from_frame(frame, np.ones((len(frame), 4)))
        ParquetSink(folder, {}).commit(f'{number}', table)
    return folder


@pytest.mark.slow
def test_parts_that_store_equal_values_in_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is of other parts, and what is made of them is one archive."""
    monkeypatch.setattr(time_stack, '_ROWS', 1)
    midnight = pd.Timestamp('2024-06-01', tz='UTC')
    noon = midnight + pd.Timedelta(hours=12)
    folder = commit(
        tmp_path / 'archive',
        {
            'patch_id': ['a', 'b', 'c'],
            'place': [0, 1, 2],
            'class': pd.Categorical(['x', 'y', 'x']),
            'seen': [midnight, midnight, noon],
        },
        {
            'patch_id': ['d', 'e'],
            'place': [1, 3],
            'class': pd.Categorical(['y', 'z']),
            'seen': [midnight, midnight],
        },
    )
    stack = EmbeddingTable.load(stack_dates(folder)).frame
    assert stack['patch_id'].tolist() == ['a', 'b+1', 'c', 'e']
    assert stack['class'].tolist() == ['x', 'y', 'x', 'z']
    assert stack['seen'].tolist() == [midnight, midnight, noon, midnight]


def test_an_id_in_two_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_stack, '_ROWS', 1)
    parts = [{'patch_id': ['a'], 'place': [place]} for place in range(2)]
    folder = commit(tmp_path / 'archive', *parts)
    with pytest.raises(ArchiveError, match="patch_id 'a' is in two parts"):
        stack_dates(folder)
    assert not (tmp_path / 'archive-over-dates').exists()
