"""Approximate indexes: the recall they promise, and the filters that defeat their kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.rank import approximate, plan
from torchgeo_cmr.search.rank.approximate import KINDS, build
from torchgeo_cmr.search.rank.exact import top_k
from torchgeo_cmr.search.rank.vectors import as_vectors

Make = Callable[..., Any]


def clustered(n: int = 4_000, dim: int = 32, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, dim))
    rows = centres[rng.integers(0, 60, n)] + rng.normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


#: Product quantisation trains 256 words per piece and has a test of its own.
PLAIN = [kind for kind in KINDS if kind != 'ivf_pq']


@pytest.fixture(scope='module')
def rows() -> np.ndarray:
    return clustered()


@pytest.fixture(scope='module')
def built(rows: np.ndarray) -> dict[str, approximate.Approximate]:
    return {kind: build(as_vectors(rows), kind, recall=0.9) for kind in PLAIN}


@pytest.mark.parametrize('kind', PLAIN)
def test_reaches_the_recall_it_was_built_for(
    built: dict[str, approximate.Approximate], rows: np.ndarray, kind: str
) -> None:
    index, kept = built[kind], as_vectors(rows)
    assert 0.9 <= index.recall <= 1
    # Other queries than those it was adjusted with, and a filter of half the rows.
    rng = np.random.default_rng(11)
    asked = rows[:200] + 0.5 * rng.normal(size=(200, 32)) / np.sqrt(32)
    asked = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
    ties = np.arange(len(rows))
    for some in (ties, np.sort(rng.choice(len(rows), len(rows) // 2, replace=False))):
        found, scores = index.search(kept, some, asked, 10, ties=ties)
        truth, _ = top_k(kept, some, asked, 10, ties=ties)
        assert np.isin(found, some).all()
        hits = [len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True)]
        assert np.mean(hits) / 10 > 0.85
        told = np.einsum('qkd,qd->qk', rows[found].astype(float), asked)
        assert scores == pytest.approx(told, abs=1e-6)
        assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize('kind', PLAIN)
def test_asks_on_until_there_are_k(
    built: dict[str, approximate.Approximate], rows: np.ndarray, kind: str
) -> None:
    """Ten rows that lie far from the query and from one another."""
    ties = np.arange(len(rows))
    some = np.argsort(rows @ rows[0])[:10]
    found, _ = built[kind].search(
        as_vectors(rows), np.sort(some), rows[:1], 10, ties=ties
    )
    assert sorted(found[0].tolist()) == sorted(some.tolist())
    none = built[kind].search(as_vectors(rows), some[:0], rows[:3], 10, ties=ties)
    assert none[0].shape == none[1].shape == (3, 0)


@pytest.mark.parametrize('kinds', [['rabitq', 'ivf'], ['ivf', 'rabitq']])
def test_a_filter_that_passes_ten_of_two_thousand_gives_ten(
    make: Make, kinds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, 'LEAST_ROWS', 500)
    rare = np.zeros(2_000)
    rare[np.random.default_rng(1).choice(2_000, 10, replace=False)] = 1
    archive = make(2_000, 32, rare=rare)
    index = RetrievalIndex.build(archive, approximate=kinds, recall=0.9)
    where = Where(where='rare == 1')
    for exact in (True, False):
        hits = index.search(archive.vectors[:5], 10, where=where, exact=exact)
        assert (hits.groupby('query_id').size() == 10).all()
        assert hits['exact'].all()
        assert (hits['rare'] == 1).all()
    wide = index.search(archive.vectors[:2], 10, exact=False)
    assert not wide['exact'].any()
    told = index.explain(archive.vectors[:2], 10, exact=False)
    assert told.plan == f'approximate {kinds[0]}'
    assert told.recall is not None
    assert told.recall >= 0.9
    assert 'not exact; expected recall: ' in str(told)
    assert index.search(archive.vectors[:2], 10)['exact'].all()
    assert index.explain(archive.vectors[:2], 10).plan == 'exact'


def test_saved_with_the_index(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, 'LEAST_ROWS', 100)
    archive = make(400, 32)
    made = RetrievalIndex.build(archive, approximate=['ivf', 'rabitq'], recall=0.5)
    opened = RetrievalIndex.open(made.save(tmp_path / 'index'))
    for one in (0, 1):
        before, after = (i._state.approximate[0][one] for i in (made, opened))
        assert (before.kind, before.effort, before.spare) == (
            after.kind,
            after.effort,
            after.spare,
        )
        assert before.recall == after.recall
    asked = archive.vectors[:9]
    rows, scores = made.rank(asked, 5, exact=False)
    again = opened.rank(asked, 5, exact=False)
    assert (rows == again[0]).all()
    assert (scores == again[1]).all()
    # Rows that came later are searched exactly and merged.
    opened.append(
        make(50, 32, seed=3).__class__.from_frame(
            make(50, 32, seed=3).frame.assign(patch_id=[f'new{i}' for i in range(50)]),
            archive.vectors[:50],
        )
    )
    both = opened.search(archive.vectors[:9], 2, exact=False)
    pairs = both.groupby('query_id')['patch_id'].apply(set)
    for i, one in enumerate(pairs.loc[[f'q{i}' for i in range(9)]]):
        assert one == {archive.frame['patch_id'].iloc[i], f'new{i}'}
    (tmp_path / 'index/segment-0/approximate-ivf.faiss').write_bytes(b'no')
    broken = RetrievalIndex.open(tmp_path / 'index')
    # Who asks exactly neither needs it nor waits for it.
    assert len(broken.search(archive.vectors[:9], 2)) == 18
    with pytest.raises(
        ArchiveError, match=r'an approximate index of .* cannot be read'
    ):
        broken.search(archive.vectors[:9], 2, exact=False)


@pytest.mark.parametrize(
    ('n', 'kind', 'recall', 'message'),
    [
        (200, 'annoy', 0.9, "approximate='annoy' is not known; use one of ivf"),
        (200, 'ivf', 0.0, 'recall=0.0 is not a share'),
        (200, 'ivf', 1.5, 'recall=1.5 is not a share'),
        (50, 'ivf', 0.9, '50 rows are too few for an approximate index, ivf takes 100'),
        (255, 'ivf_pq', 0.9, '255 rows are too few for .*, ivf_pq takes 256; search'),
    ],
)
def test_refuses(n: int, kind: str, recall: float, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        build(as_vectors(clustered(n, 2)), kind, recall=recall)


def test_refuses_a_recall_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    # A bit for each of two numbers puts nothing in order, and nothing is scored again.
    monkeypatch.setattr(approximate, '_MOST_SPARE', 1)
    monkeypatch.setattr(approximate, '_SPARE', {'rabitq': 1})
    with pytest.raises(QueryError, match=r'rabitq reaches a recall of 0\.\d+ on this'):
        build(as_vectors(clustered(3_000, 2)), 'rabitq', recall=1.0)


def test_a_product_quantiser(capfd: pytest.CaptureFixture[str]) -> None:
    rows = clustered(1_000, 8)
    index = build(as_vectors(rows), 'ivf_pq', recall=0.8)
    found, _ = index.search(
        as_vectors(rows), np.arange(1_000), rows[:20], 5, ties=np.arange(1_000)
    )
    assert (found[:, 0] == np.arange(20)).all()
    # Seconds per piece for what is not used, and a warning of each.
    assert not index.index.do_polysemous_training
    assert capfd.readouterr().err == ''
