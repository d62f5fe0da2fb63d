"""Evaluation of many rows: what is not copied, and what is refused because it would not fit."""

import numpy as np
import pytest
from geopandas import GeoDataFrame
from shapely import box

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.evaluate import label_sets, make_report
from torchgeo_cmr.evaluate.picking import pick, pick_rows
from torchgeo_cmr.evaluate.similarity import UnitRows
from torchgeo_cmr.search import Hash, memory
from torchgeo_cmr.table import EmbeddingTable


def table(rows: int) -> EmbeddingTable:
    """Patches of two modalities, one after the other, each with a label of its own."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 3, (2, rows))
    frame = GeoDataFrame(
        {
            'patch_id': [f'p{i}' for i in range(rows)],
            'modality': np.array(['s1', 's2'])[np.arange(rows) * 2 // rows],
            'label': [f'l{i % 7}' for i in range(rows)],
        },
        geometry=box(x, y, x + 0.1, y + 0.1),
        crs='EPSG:4326',
    )
    return EmbeddingTable.from_frame(frame, rng.standard_normal((rows, 16)), space='x')


def test_a_run_of_rows_is_not_copied() -> None:
    whole = table(30)
    for rows in (np.arange(30), np.arange(4, 20), np.arange(5, 6)):
        some = pick_rows(whole, rows)
        assert np.shares_memory(some.vectors, whole.vectors)
        assert some.frame.equals(whole.select(rows).frame)
        assert np.array_equal(some.vectors, whole.select(rows).vectors)
        assert not some.vectors.flags.writeable
    for rows in (np.array([1, 2, 4]), np.arange(0)):
        assert not np.shares_memory(pick(whole.vectors, rows), whole.vectors)
        assert np.array_equal(pick_rows(whole, rows).vectors, whole.vectors[rows])


def test_rows_that_lie_mixed_score_alike() -> None:
    whole = table(60)
    mixed = whole.select(np.random.default_rng(1).permutation(60))
    reports = [
        make_report(t, t, relevance='label:label', metrics=['map', 'recall@k'])
        for t in (whole, mixed)
    ]
    for name, direction in reports[0].directions.items():
        for measure, score in direction['scores'].items():
            other = reports[1].directions[name]['scores'][measure]
            assert score['value'] == pytest.approx(other['value'], abs=1e-12)


def test_codes_are_unpacked_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = Hash.lsh(16, 32, seed=0).table(table(50))
    whole, most = codes.unit_rows(), 0
    unpack = np.unpackbits

    def unpackbits(block: np.ndarray, axis: int) -> np.ndarray:
        nonlocal most
        most = max(most, len(block))
        return unpack(block, axis=axis)

    monkeypatch.setattr(np, 'unpackbits', unpackbits)
    monkeypatch.setattr('torchgeo_cmr.evaluate.similarity._BLOCK', 8)
    make_report(codes, codes, relevance='label:label', chunk=4)
    assert 0 < most <= 8
    assert np.array_equal(UnitRows(codes)[np.array([3, 1])], whole[[3, 1]])


def test_more_labels_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, '_SMALL', 0)
    monkeypatch.setattr(memory, 'free_bytes', lambda: 2_000)
    assert len(label_sets([table(50)], 'label').classes) == 7
    with pytest.raises(
        QueryError,
        match=r"column 'patch_id' holds 50 labels: which of them 50 rows have would need about "
        r'1e-05 GB of memory and 2e-06 GB are left; name a column of fewer labels',
    ):
        label_sets([table(50)], 'patch_id')
