"""Codes of float32 vectors: written, mapped, kept when rows are added, left out on request."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import RetrievalIndex, Where, verify_index
from torchgeo_cmr.search.rank import integer_products, pruning, vectors
from torchgeo_cmr.search.store.index_files import HEADER
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., Any]
NAMES = ('codes.npy', 'scale.npy', 'lost.npy')


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give few rows codes, and look at them."""
    monkeypatch.setattr(pruning, 'LEAST_ROWS', 100)
    monkeypatch.setattr(pruning, 'LEAST_NUMBERS', 0)
    for module in (pruning, vectors):
        monkeypatch.setattr(module, 'SHORTEST', 1)
    monkeypatch.setattr(pruning, '_SHARE', 4)
    monkeypatch.setattr(pruning, '_LEFT', 1)
    monkeypatch.setattr(pruning, '_LEFT_OF_MANY', 1)


def coded(index: RetrievalIndex) -> list[bool]:
    return [part.vectors.coded is not None for part in index._state.parts]


def check(index: RetrievalIndex, rows: EmbeddingTable) -> None:
    """Compare answers with those of the table, which has no codes."""
    plain = RetrievalIndex(rows)
    assert coded(plain) == [False]
    where = Where((9.0, 44.2, 10.5, 45.9))
    ways: list[dict[str, Any]] = [
        {},
        {'where': where},
        {'exclude': 20_000.0},
        {'exclude_days': 30},
    ]
    for way in ways:
        queries = rows.select(np.arange(0, len(rows), 40))
        found = index.search(queries, 12, **way)
        truth = plain.search(queries, 12, **way)
        assert found['patch_id'].tolist() == truth['patch_id'].tolist()
        assert found['score'].tolist() == truth['score'].tolist()
    found, truth = (
        i.search(rows.vectors[:3], None, min_score=0.4) for i in (index, plain)
    )
    assert found['patch_id'].tolist() == truth['patch_id'].tolist()


def test_written_and_mapped(make: Make, tmp_path: Path) -> None:
    rows = make(400)
    made = RetrievalIndex.build(rows, tmp_path / 'index')
    assert {*NAMES} < {p.name for p in (tmp_path / 'index/segment-0').iterdir()}
    for index in (
        made,
        RetrievalIndex.open(tmp_path / 'index'),
        RetrievalIndex.build(rows),
    ):
        assert coded(index) == [True]
        check(index, rows)
    assert not any(f.fault for f in verify_index(tmp_path / 'index'))


def test_explain_counts_what_was_scored_again(make: Make) -> None:
    rows = make(400)
    told = RetrievalIndex.build(rows).explain(rows.vectors[:2], 5)
    assert told.why.endswith('first, then whole vectors of the rest')
    assert told.exact
    assert told.again is not None
    assert 5 <= told.again < 100
    assert f'rows scored again per query: {told.again:.0f}' in str(told)


def test_explain_names_what_was_scanned(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, '_LEFT', 0)
    told = RetrievalIndex.build(make(400)).explain(np.ones(16), 5)
    assert (
        told.why == '400 of 400 rows are left; bounds rule out too few, each is scored'
    )
    assert told.again is not None


def test_rows_that_come_and_go(make: Make, tmp_path: Path) -> None:
    rows = make(600)
    parts = [
        rows.select(np.arange(a, b)) for a, b in ((0, 300), (300, 560), (560, 600))
    ]
    index = RetrievalIndex.build(parts[0], tmp_path / 'index')
    for part in parts[1:]:
        index.append(part)
    # Too few rows are not worth codes.
    assert coded(index) == [True, True, False]
    check(index, rows)
    gone = rows.frame['patch_id'].iloc[::7].tolist()
    index.delete(gone)
    check(index, rows.select(np.flatnonzero(~rows.frame['patch_id'].isin(gone))))
    index.save(tmp_path / 'copy')
    assert coded(RetrievalIndex.open(tmp_path / 'copy')) == [True, True, False]


def test_without(make: Make, tmp_path: Path) -> None:
    rows = make(400)
    index = RetrievalIndex.build(
        rows.select(np.arange(200)), tmp_path / 'index', codes=False
    )
    index.append(rows.select(np.arange(200, 400)))
    assert coded(index) == [False, False]
    assert not [*(tmp_path / 'index').rglob('codes.npy')]
    check(index, rows)


def test_bytes_have_a_bound_for_each_row(make: Make, tmp_path: Path) -> None:
    rows = make(400)
    RetrievalIndex.build(rows, tmp_path / 'index', vectors='int8')
    index = RetrievalIndex.open(tmp_path / 'index')
    vectors = index._state.parts[0].vectors
    assert vectors.coded is not None
    assert vectors.coded.lost is vectors.lost
    check(index, rows)


def test_an_edited_header_has_no_codes(make: Make, tmp_path: Path) -> None:
    """What was changed by hand may name codes of other vectors."""
    rows = make(400)
    RetrievalIndex.build(rows, tmp_path / 'index')
    header = tmp_path / 'index' / HEADER
    facts = json.loads(header.read_text())
    for edited in (
        {**facts, 'spaces': ['abc', 'abc']},
        {name: fact for name, fact in facts.items() if name != 'checksum'},
    ):
        header.write_text(json.dumps(edited))
        index = RetrievalIndex.open(tmp_path / 'index')
        assert coded(index) == [False]
        check(index, rows)


def test_heads_are_stored(make: Make, tmp_path: Path) -> None:
    rows = make(400, 64)
    vectors = rows.vectors * 0.5 ** np.arange(64, dtype=np.float32)
    rows = EmbeddingTable.from_frame(rows.frame, vectors)
    RetrievalIndex.build(rows, tmp_path / 'index')
    index = RetrievalIndex.open(tmp_path / 'index')
    assert index._state.parts[0].vectors.heads is not None
    check(index, rows)
    assert 'the first 8 principal axes first' in index.explain(rows.vectors[:2], 5).why
    file = tmp_path / 'index/segment-0/head.npy'
    np.save(file, np.load(file)[:, :4])
    with pytest.raises(ArchiveError, match='is damaged'):
        RetrievalIndex.open(tmp_path / 'index')


@pytest.mark.parametrize('name', NAMES)
def test_codes_of_another_size_are_refused(
    make: Make, tmp_path: Path, name: str
) -> None:
    for number in (400, 300):
        RetrievalIndex.build(make(number), tmp_path / f'{number}')
    file = tmp_path / '400/segment-0' / name
    file.write_bytes((tmp_path / '300/segment-0' / name).read_bytes())
    with pytest.raises(ArchiveError, match=r'different numbers of rows|is damaged'):
        RetrievalIndex.open(tmp_path / '400')
    file.unlink()
    with pytest.raises(ArchiveError, match='cannot be read'):
        RetrievalIndex.open(tmp_path / '400')


def test_short_or_few_vectors_have_none(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weighing a code takes as long as reading what it saves."""
    rows = make(400)
    numbers = len(rows) * rows.dim
    for name, least, expected in (
        ('LEAST_NUMBERS', numbers, True),
        ('LEAST_NUMBERS', numbers + 1, False),
        ('SHORTEST', rows.dim, True),
        ('SHORTEST', rows.dim + 1, False),
    ):
        with monkeypatch.context() as patch:
            for module in (pruning, vectors):
                patch.setattr(module, name, least, raising=False)
            index = RetrievalIndex.build(rows)
            assert coded(index) == [expected]
            if not expected:
                assert index._state.parts[0].vectors.heads is None
            check(index, rows)


def test_short_vectors_of_an_older_index_are_scanned_whole(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not integer_products.KERNELS:
        pytest.skip('numkong is not installed')
    index = RetrievalIndex.build(make(400))
    assert 'codes' in index.explain(make(400).vectors[:1]).why
    monkeypatch.setattr(pruning, 'SHORTEST', 1_000)
    assert 'codes' not in index.explain(make(400).vectors[:1]).why
