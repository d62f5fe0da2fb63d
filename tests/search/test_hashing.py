"""Packed codes: bits by hand, what they keep, and the archive of codes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError, OutputExistsError, QueryError
from torchgeo_cmr.search import Hash, RetrievalIndex, Where, near_duplicates, rerank
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., Any]


def unpacked(codes: np.ndarray) -> np.ndarray:
    return np.unpackbits(codes, axis=1).astype(bool)


def embedded(n: int, dim: int = 64, *, seed: int = 0) -> np.ndarray:
    """Unit vectors that fill few directions and lie off the origin, as encoders' do."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 6)) @ rng.normal(size=(6, dim)) + 2
    vectors += 0.05 * rng.normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def recall(codes: np.ndarray, vectors: np.ndarray, k: int = 10) -> float:
    """Share of the float top k that codes find among as many, a hundred queries."""
    bits = unpacked(codes).astype(np.float32) * 2 - 1
    truth = np.argsort(-vectors[:100] @ vectors.T, kind='stable')[:, 1 : k + 1]
    found = np.argsort(-bits[:100] @ bits.T, kind='stable')[:, 1 : k + 1]
    return float(
        np.mean(
            [
                len({*a} & {*b}) / k
                for a, b in zip(truth.tolist(), found.tolist(), strict=True)
            ]
        )
    )


def test_sign_by_hand() -> None:
    codes = Hash.sign(8).codes([[1, -1, 1, 1, -1, 0, 2, -3], [-1] * 8])
    assert codes.dtype == np.uint8
    assert codes.tolist() == [[0b10110010], [0]]


def test_lsh_estimates_angles() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 16))
    hashed = unpacked(Hash.lsh(16, 8192, seed=1).codes(x))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    angle = np.arccos(np.clip(unit @ unit.T, -1, 1)) / np.pi
    differing = (hashed[:, None] != hashed[None]).mean(axis=2)
    assert np.abs(angle - differing).max() < 0.03
    again = Hash.lsh(16, 8192, seed=1).codes(x)
    assert (unpacked(again) == hashed).all()
    assert not (unpacked(Hash.lsh(16, 8192, seed=2).codes(x)) == hashed).all()


def test_learned_codes_recall_more() -> None:
    vectors = embedded(3000)
    sign = recall(Hash.sign(64).codes(vectors), vectors)
    lsh = recall(Hash.lsh(64, 64).codes(vectors), vectors)
    learned = recall(Hash.itq(vectors).codes(vectors), vectors)
    assert min(sign, lsh) > 0.3
    assert learned > max(sign, lsh) + 0.05
    assert recall(Hash.lsh(64, 512).codes(vectors), vectors) > learned + 0.2


def test_itq_turns_lose_less_each_time() -> None:
    vectors = embedded(800)
    lost = []
    for steps in (0, 1, 5, 50):
        hashed = Hash.itq(vectors, 16, steps=steps)
        flat = (vectors - hashed.mean) @ hashed.planes
        lost.append(float(((np.where(flat > 0, 1, -1) - flat) ** 2).sum()))
        # A turn of the main axes: columns stay orthonormal.
        assert hashed.planes.T @ hashed.planes == pytest.approx(np.eye(16), abs=1e-5)
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < lost[0]


def test_table_of_codes_is_an_archive(make: Make, tmp_path: Path) -> None:
    table = make(50, 16)
    hashed = Hash.lsh(16, 64)
    codes = hashed.table(table)
    assert (codes.metric, codes.dim, codes.vectors.shape) == ('hamming', 64, (50, 8))
    assert codes.space == f'abc+{hashed.name}'
    assert table.space == 'abc'
    codes.save(tmp_path / 'codes')
    back = EmbeddingTable.load(tmp_path / 'codes')
    assert (back.vectors == codes.vectors).all()
    assert back.vectors.dtype == np.uint8
    assert not back.vectors.flags.writeable
    assert (back.metric, back.dim, back.record) == ('hamming', 64, codes.record)
    assert back.frame['patch_id'].tolist() == table.frame['patch_id'].tolist()
    both = EmbeddingTable.concat([back.select(range(20)), back.select(range(20, 50))])
    assert (both.vectors == codes.vectors).all()
    none = back.select([])
    none.save(tmp_path / 'none')
    assert EmbeddingTable.load(tmp_path / 'none').vectors.shape == (0, 8)


def test_codes_are_searched_by_differing_bits(make: Make) -> None:
    table = make(300, 16)
    codes = Hash.lsh(16, 64).table(table)
    index = RetrievalIndex(codes)
    where = Where(where='cloud < 50')
    rows = where.rows(codes)
    bits = unpacked(codes.vectors)
    found = index.search(codes.select([3, 70]), 8, where=where, exclude=None)
    names = codes.frame['patch_id'].tolist()
    for query in (3, 70):
        score = 1 - 2 * (bits[rows] != bits[query]).mean(axis=1)
        order = sorted(
            range(len(rows)), key=lambda i, s=score: (-s[i], names[rows[i]])
        )[:8]
        own = found[found['query_id'] == names[query]]
        assert own['patch_id'].tolist() == [names[rows[i]] for i in order]
        assert own['score'].tolist() == pytest.approx(score[order].tolist(), abs=1e-6)
    # What comes after the ranking takes bits for numbers of +1 and -1.
    rowsof = codes.unit_rows()
    assert (rowsof @ rowsof.T) == pytest.approx(
        1 - 2 * (bits[:, None] != bits[None]).mean(axis=2), abs=1e-6
    )
    spread = rerank(index, codes.select([3]), 20, distinct=0.4)
    kept = rowsof[[names.index(name) for name in spread['patch_id']]]
    assert np.triu(kept @ kept.T, 1).max() < 0.4
    assert near_duplicates(codes, 1).max() == len(np.unique(codes.vectors, axis=0)) - 1
    with pytest.raises(
        QueryError, match=r'in space abc and the archive in abc\+lsh64-'
    ):
        index.search(table.select([3]), 5)


def test_hash_is_kept(tmp_path: Path) -> None:
    hashed = Hash.itq(embedded(200), 16)
    path = hashed.save(tmp_path / 'new' / 'hash.npz')
    back = Hash.load(path)
    assert back.name == hashed.name
    x = embedded(50, seed=3)
    assert (back.codes(x) == hashed.codes(x)).all()
    with pytest.raises(OutputExistsError, match=r'hash\.npz is there already'):
        hashed.save(path)
    hashed.save(path, overwrite=True)
    assert [p.name for p in path.parent.iterdir()] == ['hash.npz']
    (tmp_path / 'bad.npz').write_text('no')
    for name in ('bad.npz', 'gone.npz'):
        with pytest.raises(ArchiveError, match=f'{name} cannot be read as a hash'):
            Hash.load(tmp_path / name)


def test_refuses(make: Make) -> None:
    for build in (lambda: Hash.sign(12), lambda: Hash.lsh(16, 0)):
        with pytest.raises(QueryError, match='do not fill bytes; give a multiple of 8'):
            build()
    with pytest.raises(QueryError, match='16 bits cannot be learned from 10 vectors'):
        Hash.itq(embedded(10), 16)
    with pytest.raises(QueryError, match='seed is -1: give a whole number'):
        Hash.lsh(8, 8, seed=-1)
    with pytest.raises(QueryError, match='seed is -1: give a whole number'):
        Hash.itq(np.eye(20), 8, seed=-1)
    with pytest.raises(QueryError, match='40 bits cannot be learned'):
        Hash.itq(embedded(100, 32), 40)
    with pytest.raises(QueryError, match='have 5 numbers and the hash takes 8'):
        Hash.sign(8).codes(np.ones((2, 5)))
    codes = Hash.sign(16).table(make(5, 16))
    with pytest.raises(QueryError, match='holds hamming codes already'):
        Hash.sign(16).table(codes)
    with pytest.raises(ArchiveError, match='give packed bits, uint8'):
        EmbeddingTable.from_frame(codes.frame, np.ones((5, 2)), metric='hamming')
    with pytest.raises(ArchiveError, match='5 rows and 4 vectors do not form a table'):
        EmbeddingTable.from_frame(codes.frame, codes.vectors[:4], metric='hamming')
