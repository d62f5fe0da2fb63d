"""The verb fuse: saved answers put together, from words to a table and layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest

from torchgeo_cmr.export import read_search
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.search import fuse as put_together
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]


@pytest.fixture
def answers(run: Run, archive: Path, asking: Path, tmp_path: Path) -> list[Path]:
    """The same three queries, one by the vectors and one among few patches."""
    paths = [tmp_path / 'one.gpkg', tmp_path / 'other.parquet']
    for path, more in zip(paths, ([], ['--where', 'cloud < 15']), strict=True):
        words = ['search', archive, '--query', asking, '-k', 9, '--out', path]
        assert run(*words, *more).code == 0
    return paths


def test_two_answers_are_what_the_api_makes_of_them(
    run: Run, archive: Path, asking: Path, answers: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / 'both.parquet'
    ran = run('fuse', *answers, '-k', 5, '--out', out)
    assert (ran.code, ran.out) == (0, f'{out}: 15 rows\n')
    index = RetrievalIndex(EmbeddingTable.load(archive))
    asked = EmbeddingTable.load(asking)
    parts = [index.search(asked, 9), put_together([gpd.read_parquet(answers[1])], 9)]
    truth = put_together(parts, 5)
    told = gpd.read_parquet(out)
    assert told['patch_id'].tolist() == truth['patch_id'].tolist()
    assert told['query_id'].tolist() == truth['query_id'].tolist()
    assert told['score'].to_numpy() == pytest.approx(truth['score'].to_numpy())


def test_one_answer_is_one_question(
    run: Run, archive: Path, asking: Path, answers: list[Path]
) -> None:
    ran = run('fuse', answers[0], '--method', 'max', '-k', 4)
    assert ran.code == 0
    _, *rest = (line.split() for line in ran.out.splitlines())
    # The best of all: each patch by the query that it resembles most.
    hits = RetrievalIndex(EmbeddingTable.load(archive)).search(
        EmbeddingTable.load(asking), 9
    )
    best = hits.sort_values('score', ascending=False).drop_duplicates('patch_id')
    assert [line[-1] for line in rest] == best['patch_id'].tolist()[:4]


def test_for_qgis(run: Run, answers: list[Path], tmp_path: Path) -> None:
    out = tmp_path / 'both.gpkg'
    ran = run('fuse', *answers, '--out', out, '--project', '--html')
    assert ran.code == 0
    assert gpd.read_file(out, layer='results')['rank'].max() >= 9
    assert out.with_suffix('.qgz').exists()
    assert out.with_suffix('.html').exists()


def test_a_layer_may_lack_questions(
    run: Run,
    refused: Refused,
    archive: Path,
    asking: Path,
    answers: list[Path],
    tmp_path: Path,
) -> None:
    hits = gpd.read_parquet(answers[1])
    first, *rest = hits['query_id'].unique()
    some = tmp_path / 'some.parquet'
    hits[hits['query_id'] != first].to_parquet(some)
    told = refused('fuse', answers[0], some)
    assert first in told
    assert "match 'any'" in told
    out = tmp_path / 'both.gpkg'
    assert (
        run('fuse', answers[0], some, '--match', 'any', '-k', 4, '--out', out).code == 0
    )
    found = gpd.read_file(out, layer='results')
    assert set(found['query_id']) == {first, *rest}
    # Of the question that one layer lacks, the other has the last word.
    alone = read_search(answers[0]).results.query('query_id == @first')
    own = found[found['query_id'] == first].sort_values('rank')
    assert own['patch_id'].tolist() == alone['patch_id'].tolist()[:4]


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--method', 'mean'], "method 'mean' is not known"),
        (['-k', 0], 'k is 0'),
        (['--by', 'place'], "no column 'place'"),
        (['--project'], 'name one, such as --out'),
    ],
)
def test_mistakes(
    refused: Refused, answers: list[Path], words: list[object], told: str
) -> None:
    assert told in refused('fuse', *answers, *words)


def test_what_is_not_there(refused: Refused, tmp_path: Path) -> None:
    assert 'is not a file' in refused('fuse', tmp_path / 'none.gpkg')
