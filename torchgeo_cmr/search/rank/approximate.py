"""Approximate indexes of faiss: built on request, measured when built, never trusted alone.

========  ===========================================================================
kind      what it is
========  ===========================================================================
ivf       whole vectors in inverted lists, of which the nearest few are read
ivf_pq    the same with product-quantised vectors
rabitq    the same with one bit per number (RaBitQ, https://arxiv.org/abs/2405.12497)
========  ===========================================================================

How hard an index must try for a stated recall is measured when it is made: with rows of the
archive moved by noise as queries, over all rows and over the quarter that comes first on the
curve, the narrowest part it is used for, against the exact answer. Queries of another modality
lie elsewhere, so their recall may be lower; :func:`Approximate.search` scores what it
gets with the whole vectors, and searches again, with more effort, until each query has its k rows.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError

from .exact import Ties, decide, top_k
from .vectors import LEAST_SHARE, Vectors, as_vectors

try:
    import faiss as _faiss
except ModuleNotFoundError as error:
    raise QueryError(
        'an approximate index needs faiss; pip install faiss-cpu, or search exactly'
    ) from error

#: Its wrappers take other arguments than its stubs say.
faiss: Any = _faiss

#: Kinds of approximate indexes.
KINDS = ('ivf', 'ivf_pq', 'rabitq')

#: What faiss takes with a search.
_PARAMETERS = {
    'ivf': faiss.SearchParametersIVF,
    'ivf_pq': faiss.IVFPQSearchParameters,
    'rabitq': faiss.IVFRaBitQSearchParameters,
}
#: Rows scored again for each row requested, to begin with, and at most.
_SPARE = {'ivf': 1, 'ivf_pq': 4, 'rabitq': 4}
_MOST_SPARE = 160
_SAMPLE = 100
#: Rows that a product quantiser needs, one per word of a piece.
_WORDS = 256
_K = 10
_NOISE = 0.5


@dataclass(frozen=True, eq=False)
class Approximate:
    """An approximate index over the vectors of a segment.

    Args:
        kind: One of :data:`KINDS`.
        index: The faiss index; id i is the row at position i.
        effort: Inverted lists read.
        spare: Rows scored again for each row requested.
        recall: Share of the exact ten nearest that was found when it was made.
    """

    kind: str
    index: Any
    effort: int
    spare: int
    recall: float

    def search(
        self,
        vectors: Vectors,
        rows: NDArray[np.int64],
        queries: NDArray[np.float32],
        k: int,
        *,
        ties: Ties,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find rows that are probably the k best.

        Args:
            vectors: The vectors that were indexed.
            rows: Positions that may be found, (m,), sorted, each once.
            queries: Queries (num_queries, dim) of unit rows.
            k: How many to find.
            ties: As for :func:`~torchgeo_cmr.search.rank.exact.top_k`.

        Returns:
            Positions and exact scores, both (num_queries, min(k, m)), best first.
        """
        k = min(k, len(rows))
        found = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float32)
        allowed = _Allowed(rows, len(vectors))
        todo = np.arange(len(queries))
        effort, most = self.effort, _lists(self.index)
        while len(todo) and k:
            near = self._ask(
                queries[todo], min(k * self.spare, len(rows)), effort, allowed
            )
            enough = (near >= 0).sum(axis=1) >= k
            done = todo[enough]
            if len(done):
                owner, column = np.nonzero(near[enough] >= 0)
                row = near[enough][owner, column]
                found[done], scores[done] = decide(
                    vectors, queries[done], owner, row, k, ties=ties
                )
            todo = todo[~enough]
            if effort >= most:
                break
            effort = min(4 * effort, most)
        if len(todo) and k:
            found[todo], scores[todo] = top_k(
                vectors, rows, queries[todo], k, ties=ties
            )
        return found, scores

    def _ask(
        self, queries: NDArray[np.float32], k: int, effort: int, allowed: '_Allowed'
    ) -> NDArray[np.int64]:
        """Give positions (num_queries, k), -1 where faiss finds no more."""
        chosen = {} if allowed.selector is None else {'sel': allowed.selector}
        how = _PARAMETERS[self.kind](nprobe=effort, **chosen)
        return self.index.search(queries, k, params=how)[1]

    def write(self, path: Path) -> dict[str, Any]:
        """Write the index and give what a header must say of it."""
        try:
            faiss.write_index(self.index, str(path))
        except RuntimeError as error:  # its error for a full disk
            raise OSError(errno.EIO, f'faiss: {str(error)[-120:]}') from error
        return {
            'kind': self.kind,
            'effort': self.effort,
            'spare': self.spare,
            'recall': self.recall,
        }


def read(file: pa.NativeFile, facts: Mapping[str, Any]) -> Approximate:
    """Read what :meth:`Approximate.write` wrote.

    Args:
        file: The file, opened; it may have another name by now, or none.
        facts: What :meth:`Approximate.write` gave.
    """
    if facts['kind'] not in KINDS:
        raise ValueError(f'{facts["kind"]} is not among {", ".join(KINDS)}')
    file.seek(0)
    return Approximate(
        facts['kind'],
        faiss.read_index(faiss.PyCallbackIOReader(file.read)),
        int(facts['effort']),
        int(facts['spare']),
        float(facts['recall']),
    )


def build(
    vectors: Vectors, kind: str, *, recall: float = 0.95, seed: int = 0
) -> Approximate:
    """Index the vectors of a segment and measure how hard the index must try.

    Args:
        vectors: The vectors.
        kind: One of :data:`KINDS`.
        recall: Share of the exact ten nearest to be found, above 0 and at most 1.
        seed: For the sample that is measured with.

    Raises:
        QueryError: If the kind is not known, the recall is not a share, there are fewer than
            100 rows (256 for ``'ivf_pq'``), or the index cannot reach the recall.
    """
    if kind not in KINDS:
        raise QueryError(
            f'approximate={kind!r} is not known; use one of {", ".join(KINDS)}'
        )
    if not 0 < recall <= 1:
        raise QueryError(
            f'recall={recall!r} is not a share; give one above 0, at most 1'
        )
    least = _WORDS if kind == 'ivf_pq' else _SAMPLE
    if len(vectors) < least:
        raise QueryError(
            f'{len(vectors)} rows are too few for an approximate index, {kind} takes {least}; '
            'search exactly'
        )
    whole = np.ascontiguousarray(vectors.whole)
    index = _made(whole, kind, seed)
    rng = np.random.default_rng(seed)
    sample = whole[np.sort(rng.choice(len(whole), _SAMPLE, replace=False))]
    noise = rng.normal(size=sample.shape)
    sample = sample + _NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    sample = (sample / np.linalg.norm(sample, axis=1, keepdims=True)).astype(np.float32)
    n = len(whole)
    ranks = np.arange(n)
    exact = [
        (rows, top_k(as_vectors(whole), rows, sample, _K, ties=ranks)[0])
        for rows in (np.arange(n), np.arange(ceil(LEAST_SHARE * n)))
    ]
    effort, spare, most = 1, _SPARE[kind], _lists(index)
    while True:
        tried = Approximate(kind, index, effort, spare, 0.0)
        reached = min(
            _share(tried.search(vectors, rows, sample, _K, ties=ranks)[0], truth)
            for rows, truth in exact
        )
        if reached >= recall:
            return Approximate(kind, index, effort, spare, reached)
        if effort < most:
            effort = min(2 * effort, most)
        elif spare < _MOST_SPARE:
            effort, spare = max(1, most // 4), 4 * spare
        else:
            raise QueryError(
                f'{kind} reaches a recall of {reached:.3f} on this archive, not {recall}; give '
                'less or choose another kind'
            )


class _Allowed:
    """The rows that may be found, as faiss wants to hear it."""

    def __init__(self, rows: NDArray[np.int64], total: int) -> None:
        self.selector = None
        if len(rows) < total:
            mask = np.zeros(total, dtype=bool)
            mask[rows] = True
            # faiss keeps a pointer only, so the bits must stay with us.
            self.bits = np.packbits(mask, bitorder='little')
            self.selector = faiss.IDSelectorBitmap(self.bits)


def _made(whole: NDArray[np.float32], kind: str, seed: int) -> Any:
    """Train and fill a faiss index."""
    n, dim = whole.shape
    lists = int(np.clip(4 * np.sqrt(n), 1, n // 39))
    lists = 1 << (lists.bit_length() - 1)
    name = {
        'ivf': f'IVF{lists},Flat',
        'ivf_pq': f'IVF{lists},PQ{_pieces(dim)}x8',
        'rabitq': f'IVF{lists},RaBitQ',
    }[kind]
    index = faiss.index_factory(dim, name, faiss.METRIC_INNER_PRODUCT)
    clustering = faiss.extract_index_ivf(index).cp
    clustering.seed = seed + 1
    # Lists need not be the best ones; how many are read is measured anyway.
    clustering.niter = 10
    clustering.max_points_per_centroid = 64
    if kind == 'ivf_pq':
        # It orders the words of each piece, for seconds, for a way to search that is not used.
        index.do_polysemous_training = False
        index.pq.cp.min_points_per_centroid = 1  # no warning per piece
    index.train(whole)
    index.add(whole)
    return index


def _pieces(dim: int) -> int:
    """Divide a vector into equal pieces, of four numbers if they fit."""
    return next(m for m in range(max(1, dim // 4), 0, -1) if dim % m == 0)


def _lists(index: Any) -> int:
    """Give the number of inverted lists."""
    return int(faiss.extract_index_ivf(index).nlist)


def _share(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    hits = [len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True)]
    return float(np.sum(hits) / truth.size)
