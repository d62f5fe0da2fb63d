"""Reports do not depend on the order of an archive, and a constant encoder scores chance."""

import json
from typing import Any

import numpy as np
import pytest
from geopandas import GeoDataFrame
from shapely import box

from torchgeo_cmr.evaluate import make_report
from torchgeo_cmr.metrics.functional import CHANCE, METRICS
from torchgeo_cmr.table import EmbeddingTable

CLASSES = np.array(['a'] * 60 + ['b'] * 10 + ['c'] * 15 + ['d'] * 5)


def table(vectors: np.ndarray, modality: str) -> EmbeddingTable:
    i = np.arange(len(CLASSES))
    frame = GeoDataFrame(
        {'patch_id': [f'{modality}:{k}' for k in i], 'label': CLASSES},
        geometry=box(i * 0.01, 0, i * 0.01 + 0.01, 0.01),
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, vectors, space='w', modality=modality)


def scores(queries: EmbeddingTable, archive: EmbeddingTable, **kwargs: Any) -> dict:
    report = make_report(
        queries,
        archive,
        relevance='label:label',
        metrics=list(METRICS),
        k=(1, 10, 25),
        directions=['s1->s2'],
        train_area=GeoDataFrame(geometry=[box(0, 0, 0.3, 0.01)], crs=4326),
        **kwargs,
    )
    return json.loads(report.to_json())['directions']['s1->s2']


ORDERS = {
    'sorted by class': np.arange(len(CLASSES)),
    'the largest class last': np.arange(len(CLASSES))[::-1],
    'shuffled': np.random.default_rng(0).permutation(len(CLASSES)),
}


@pytest.mark.parametrize('order', ORDERS)
@pytest.mark.parametrize('distance', ['cosine', 'euclidean', 'chi_square'])
def test_a_constant_encoder_scores_chance(order: str, distance: str) -> None:
    same = np.tile(np.random.default_rng(1).random(9), (len(CLASSES), 1))
    queries, archive = table(same, 's1'), table(same, 's2')
    protocol = {'protocol': 'ben14k-precursor'} if distance == 'chi_square' else {}
    found = scores(queries, archive.select(ORDERS[order]), **protocol)
    measured = {METRICS[name].label(k) for name in CHANCE for k in (1, 10, 25)}
    assert measured <= set(found['scores'])
    for name in measured:
        values = found['scores'][name]
        assert values['value'] == pytest.approx(values['chance']), name
    # A third of the archive is near the training ground.
    near = found['leak']
    assert near['hits'] == pytest.approx(near['gallery'])


def test_the_order_of_the_archive_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    coarse = [rng.integers(1, 4, (len(CLASSES), 2)) for _ in range(2)]
    queries, archive = table(coarse[0], 's1'), table(coarse[1], 's2')
    first, *others = (scores(queries, archive.select(o)) for o in ORDERS.values())
    for other in others:
        assert other['leak'] == pytest.approx(first['leak'])
        for name, values in first['scores'].items():
            assert other['scores'][name] == pytest.approx(values), name
