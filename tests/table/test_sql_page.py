"""The page on SQL is run as it stands, and answers as a search does."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

PAGE = Path(__file__).parents[2] / 'docs' / 'user' / 'sql.md'
QUERY = 's2:a.tif:0_0_32x32'


def table(modality: str, seed: int) -> EmbeddingTable:
    count = 40
    lon = 9 + 0.05 * np.arange(count)
    days = pd.date_range('2024-05-30', periods=count, tz='UTC')
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{modality}:a.tif:0_{32 * i}_32x32' for i in range(count)],
            'modality': modality,
            'source': 'a.tif',
            'time_start': days,
            'time_end': days,
            'valid_fraction': 1.0,
            'cloud': np.arange(count) % 20 * 1.0,
        },
        geometry=shapely.box(lon, 45.5, lon + 0.05, 45.55),
        crs=4326,
    )
    vectors = np.random.default_rng(seed).normal(size=(count, 16))
    return EmbeddingTable.from_frame(frame, vectors, space='x')


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Run a statement on an archive of two parts."""
    duckdb = pytest.importorskip('duckdb')
    sink = ParquetSink(tmp_path / 'archive', {})
    for seed, modality in enumerate(('s1', 's2')):
        sink.commit(modality, table(modality, seed))
    sink.finish()
    monkeypatch.chdir(tmp_path)
    connection = duckdb.connect()
    return lambda statement: connection.execute(statement).fetchall()


def statements() -> list[str]:
    found = re.findall(r'```sql\n(.*?)```', PAGE.read_text(), re.DOTALL)
    return [text for text in found if 'LOAD spatial' not in text]


def test_every_statement_answers_as_a_search(run: Callable[[str], list[Any]]) -> None:
    view, cloud, area, across, sources = statements()
    run(view)
    index = RetrievalIndex(EmbeddingTable.load('archive'))
    filters = [
        (cloud, Where(where='cloud < 10')),
        (area, Where((9.0, 45.0, 9.3, 46.0), during='2024-06')),
    ]
    for statement, where in filters:
        hits = index.search(QUERY, k=6, where=where)
        # The statement on the area leaves the query itself in.
        expected = list(zip(hits['patch_id'], hits['score'], strict=True))
        answers = run(statement)
        assert len(answers) >= 4
        assert [name for name, _ in answers] == [n for n, _ in expected[: len(answers)]]
        np.testing.assert_allclose(
            [score for _, score in answers],
            [score for _, score in expected[: len(answers)]],
            atol=1e-6,
        )
    whole = index.table
    ask = whole.select(np.flatnonzero(whole.frame['modality'] == 's1'))
    best = index.search(ask, k=1, where=Where(where="modality = 's2'"))
    expected = dict(zip(best['query_id'], best['patch_id'], strict=True))
    assert {query: name for query, name, _ in run(across)} == expected
    assert [row[:3] for row in run(sources)] == [
        ('s1', 'a.tif', 40),
        ('s2', 'a.tif', 40),
    ]


def test_the_header_is_not_a_part(run: Callable[[str], list[Any]]) -> None:
    """And every column comes, the row numbers too."""
    run(statements()[0])
    names = {row[0] for row in run('DESCRIBE patches')}
    assert {'patch_id', 'vector', 'bbox', 'geometry', 'part_row'} <= names
    assert run('SELECT count(*) FROM patches') == [(80,)]
