"""Alignment: planted distortions are undone, on ground that was not fitted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError, OutputExistsError, QueryError
from torchgeo_cmr.search import Alignment
from torchgeo_cmr.table import EmbeddingTable

N, DIM = 600, 16


def table(
    vectors: np.ndarray, modality: str | None, space: str | None = 'x'
) -> EmbeddingTable:
    i = np.arange(len(vectors))
    x, y = 9 + i % 30 * 0.01, 45 + i // 30 * 0.01
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{modality}{j}' for j in i]},
        geometry=shapely.box(x, y, x + 0.01, y + 0.01),
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, vectors, modality=modality, space=space)


@pytest.fixture(scope='module')
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Vectors of two sensors in one space, the second with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, DIM)) * np.linspace(2, 0.3, DIM)
    return x, x + 0.3 * rng.normal(size=x.shape)


def recall(a: EmbeddingTable, b: EmbeddingTable, rows: slice) -> float:
    """Recall@1 of the own place among the rows."""
    scores = a.vectors[rows] @ b.vectors[rows].T
    return float((scores.argmax(axis=1) == np.arange(len(scores))).mean())


@pytest.mark.parametrize(
    ('method', 'distortion'),
    [
        (method, distortion)
        for method in ('procrustes', 'ridge')
        for distortion in ('turn', 'general', 'wider')
    ]
    + [
        pytest.param('contrastive', distortion, marks=pytest.mark.slow)
        for distortion in ('turn', 'general', 'wider')
    ],
)
def test_planted_distortions(
    scene: tuple[np.ndarray, np.ndarray], method: Any, distortion: str
) -> None:
    x, y = scene
    rng = np.random.default_rng(1)
    planted = {
        'turn': np.linalg.qr(rng.normal(size=(DIM, DIM)))[0],
        'general': np.eye(DIM) + 0.5 * rng.normal(size=(DIM, DIM)),
        'wider': rng.normal(size=(DIM, DIM + 5)),
    }[distortion]
    seen, held = slice(0, 400), slice(400, N)
    undistorted = recall(table(x, 's1'), table(y, 's2'), held)
    first, second = table(x, 's1'), table(y @ planted, 's2')
    rows = np.arange(N)
    maps = Alignment.fit(first.select(rows[seen]), second.select(rows[seen]), method)
    a, b = maps.table(first), maps.table(second)
    assert undistorted > 0.8
    assert recall(a, b, held) >= 0.95 * undistorted
    assert a.spaces == b.spaces == (maps.name,)
    np.testing.assert_allclose(np.linalg.norm(b.vectors, axis=1), 1, atol=1e-6)


def test_centres(scene: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = scene
    first, second = table(x + 20, 's1'), table(y - 20, 's2')
    before = recall(first, second, slice(None))
    maps = Alignment.center([first, second])
    a, b = maps.table(first), maps.table(second)
    assert recall(a, b, slice(None)) > before + 0.3
    # Each centred on its own: comparable all the same.
    alone = [Alignment.center([t]).table(t) for t in (first, second)]
    assert alone[0].spaces == alone[1].spaces == a.spaces == ('x+center',)
    np.testing.assert_allclose(alone[0].vectors, a.vectors, atol=1e-6)


def test_whitening_gives_all_directions_the_same_variance(
    scene: tuple[np.ndarray, np.ndarray],
) -> None:
    first = table(scene[0], 's1')
    maps = Alignment.whiten([first], shrinkage=0)
    mapped = (first.vectors - maps.shifts['s1']) @ maps.matrices['s1']
    np.testing.assert_allclose(np.cov(mapped, rowvar=False), np.eye(DIM), atol=2e-3)
    with pytest.raises(QueryError, match='give a share from 0 to 1'):
        Alignment.whiten([first], shrinkage=1.5)


def test_directions_without_variance_do_not_grow(
    scene: tuple[np.ndarray, np.ndarray],
) -> None:
    flat = scene[0].copy()
    flat[:, 3] = 0
    made = Alignment.whiten([table(flat, 's1')]).table(table(flat, 's1'))
    assert np.isfinite(made.vectors).all()


def test_a_vector_at_the_mean_stays_a_unit_vector() -> None:
    pair = table(np.array([[1.0, 0], [1, 0]]), 's1')
    made = Alignment.center([pair]).table(pair)
    np.testing.assert_array_equal(made.vectors, [[1, 0], [1, 0]])


def test_saved_and_loaded(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    x, y = scene
    first, second = table(x, 's1', 'a'), table(y, 's2', None)
    maps = Alignment.fit(first, second, 'ridge')
    path = maps.save(tmp_path / 'maps.npz')
    loaded = Alignment.load(path)
    assert loaded.name == maps.name
    assert loaded.spaces == {'s1': 'a', 's2': ''}
    np.testing.assert_array_equal(
        loaded.table(first).vectors, maps.table(first).vectors
    )
    with pytest.raises(OutputExistsError):
        maps.save(path)


def _codes() -> EmbeddingTable:
    from torchgeo_cmr.search import Hash

    return Hash.sign(8).table(table(np.eye(8), 's1'))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda t: Alignment.center([]), 'nothing to align'),
        (lambda t: Alignment.center([table(np.eye(3), None)]), 'has no modality'),
        (lambda t: Alignment.center([_codes()]), 'holds hamming codes'),
        (lambda t: Alignment.fit(t, t), 'both tables are of s1'),
        (lambda t: Alignment.fit(t, t, seed=-1), 'seed is -1: give a whole number'),
        (
            lambda t: Alignment.fit(t, table(np.eye(3)[:1], 's2')),
            '1 patches share the ground',
        ),
        (
            lambda t: Alignment.center([t, table(np.eye(3), 's1', 'other')]),
            'are in the spaces other and x',
        ),
        (
            lambda t: Alignment.center([t]).table(table(np.eye(3), 's1', 'other')),
            's1 are in space other and the alignment was made in x',
        ),
        (
            lambda t: Alignment.center([t]).table(table(np.eye(3), 's2')),
            'maps s1 and not s2',
        ),
        (
            lambda t: Alignment.center([t]).table(table(np.eye(4), 's1')),
            'have 4 numbers and the alignment takes 3',
        ),
    ],
)
def test_mistakes(make: Callable[[EmbeddingTable], object], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        make(table(np.eye(3), 's1'))


@pytest.mark.parametrize(
    'parts',
    [
        {'method': 'ridge'},
        {'method': 'magic', 'shift_a': np.zeros(2, 'f4'), 'matrix_a': np.eye(2, dtype='f4'), 'space_a': 'x'},
        {'method': 'ridge', 'shift_a': np.zeros(2, 'f4'), 'matrix_a': np.eye(3, dtype='f4'), 'space_a': 'x'},
        {'method': 'ridge', 'shift_a': np.zeros(2, 'f4'), 'matrix_a': np.eye(2, dtype='f4')},
        {'method': 'ridge', 'shift_a': np.full(2, np.nan, 'f4'), 'matrix_a': np.eye(2, dtype='f4'), 'space_a': 'x'},
    ],
)  # fmt: skip
def test_other_files(tmp_path: Path, parts: dict[str, Any]) -> None:
    np.savez(tmp_path / 'a.npz', **parts)
    with pytest.raises(ArchiveError, match='is not an alignment'):
        Alignment.load(tmp_path / 'a.npz')
    (tmp_path / 'a.npz').write_bytes(b'hello')
    with pytest.raises(ArchiveError, match='cannot be read as an alignment'):
        Alignment.load(tmp_path / 'a.npz')
