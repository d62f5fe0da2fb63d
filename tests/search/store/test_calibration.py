"""Several modalities in one index: ranks that can be compared."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., Any]


def gap(make: Make, seed: int = 0) -> EmbeddingTable:
    """Two modalities of the same places; all of s1 lies nearer to any s1 query."""
    rng = np.random.default_rng(seed)
    place = rng.normal(size=(100, 64))
    offset = 9 * np.eye(64)[0]
    vectors = np.vstack([place + offset, place - offset])
    vectors += 0.1 * rng.normal(size=vectors.shape)
    frame = make(200).frame
    frame = frame.assign(modality=['s1'] * 100 + ['s2'] * 100)
    frame = frame.assign(
        patch_id=[f'{m}:{i % 100:03d}' for i, m in enumerate(frame['modality'])]
    )
    return EmbeddingTable.from_frame(frame, vectors)


def test_the_nearer_modality_no_longer_fills_the_list(make: Make) -> None:
    archive = gap(make)
    queries = archive.select(np.arange(20))
    index = RetrievalIndex(archive)
    bare = index.search(queries, 2, exclude=None)
    second = bare[bare['rank'] == 2]
    assert (second['modality'] == 's1').all()
    fair = index.search(queries, 2, calibrated=True, exclude=None)
    twins = fair[fair['modality'] == 's2']
    assert (twins['patch_id'].str.slice(3) == twins['query_id'].str.slice(3)).all()
    assert len(twins) == 20  # one of each query's two hits


def test_scores_are_deviations_and_order_within_a_modality_stays(make: Make) -> None:
    archive = gap(make)
    index = RetrievalIndex(archive)
    rows, scores = index.rank(archive.vectors[:4], 200, calibrated=True)
    assert rows.shape == (4, 200)
    for i in range(4):
        assert sorted(rows[i].tolist()) == list(range(200))
        assert (np.diff(scores[i]) <= 0).all()
        for some in (np.arange(100), np.arange(100, 200)):
            own = np.isin(rows[i], some)
            bare = archive.vectors[some].astype(float) @ archive.vectors[i]
            # Up to a thousand rows the sample is all of them.
            told = (bare - bare.mean()) / bare.std()
            order = np.argsort(-told)
            assert rows[i][own].tolist() == some[order].tolist()
            assert scores[i][own] == pytest.approx(told[order], abs=1e-5)


def test_order_of_archive_and_number_of_queries_change_nothing(make: Make) -> None:
    archive = gap(make)
    index = RetrievalIndex(archive)
    where = Where(where='cloud < 70')
    rows, scores = index.rank(archive.vectors[:5], 9, where, calibrated=True)
    mixed = np.random.default_rng(0).permutation(200)
    other = RetrievalIndex.build(archive.select(mixed))
    again, same = other.rank(archive.vectors[:5], 9, where, calibrated=True)
    assert (mixed[again] == rows).all()
    assert (same == scores).all()
    one, alone = index.rank(archive.vectors[3], 9, where, calibrated=True)
    assert (one[0] == rows[3]).all()
    assert (alone[0] == scores[3]).all()


def test_degenerate_archives(make: Make) -> None:
    archive = make(30)
    same = EmbeddingTable.from_frame(archive.frame, np.ones((30, 4)))
    _, scores = RetrievalIndex(same).rank(np.ones(4), 30, calibrated=True)
    assert np.isfinite(scores).all()
    blank = EmbeddingTable.from_frame(archive.frame.assign(modality=None), np.eye(30))
    rows, _ = RetrievalIndex(blank).rank(np.eye(30)[7], 1, calibrated=True)
    assert rows.tolist() == [[7]]
    none = RetrievalIndex(blank).rank(
        np.eye(30)[:2], 3, Where((100, 0, 101, 1)), calibrated=True
    )
    assert none[0].shape == none[1].shape == (2, 0)
