"""Results that do not fit into memory: refused with their size before they are made."""

from collections.abc import Callable

import numpy as np
import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where, memory
from torchgeo_cmr.search import index as module
from torchgeo_cmr.table import EmbeddingTable


@pytest.fixture
def index(
    make: Callable[..., EmbeddingTable], monkeypatch: pytest.MonkeyPatch
) -> RetrievalIndex:
    """200 rows on a machine with hardly any memory."""
    monkeypatch.setattr(memory, '_SMALL', 0)
    monkeypatch.setattr(memory, 'free_bytes', lambda: 200_000)
    return RetrievalIndex(make(200))


def test_a_result_that_does_not_fit(
    index: RetrievalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = index.table.select(np.arange(20))
    with pytest.raises(
        QueryError,
        match=r'a result of 2000 rows would need about 0\.0\d+ GB of memory and 0\.0002 GB '
        'are left; give a smaller k, a min_score or a narrower filter',
    ):
        index.search(queries, 100)
    assert len(index.search(queries, 3)) == 60
    # Many rows are refused before they are ranked.
    monkeypatch.setattr(module, '_MANY', 100)
    monkeypatch.setattr(module, '_result', None)
    with pytest.raises(QueryError, match=r'a result of 20\d0 rows would need'):
        index.search(queries, 100)


def test_what_the_filter_leaves_counts(index: RetrievalIndex) -> None:
    queries = index.table.select(np.arange(20))
    assert len(index.search(queries, 1000, Where(where="patch_id = 'p000'"))) <= 20


def test_a_ranking_that_does_not_fit(index: RetrievalIndex) -> None:
    with pytest.raises(QueryError, match='a result of 20000 rows would need'):
        index.rank(np.ones((100, index.dim)), 200)


def test_what_is_left_is_the_least_of_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = memory.free_bytes()
    assert left is None or left > 0
    files = {
        '/proc/meminfo': ['MemTotal: 9 kB', 'MemAvailable:  7 kB'],
        '/sys/fs/cgroup/memory.max': ['9000'],
        '/sys/fs/cgroup/memory.current': ['4000'],
    }
    monkeypatch.setattr(memory, '_lines', lambda path: files.get(path, []))
    assert memory.free_bytes() == 5000
    files['/sys/fs/cgroup/memory.max'] = ['max']
    assert memory.free_bytes() == 7 << 10
    files.clear()
    assert memory.free_bytes() is None
