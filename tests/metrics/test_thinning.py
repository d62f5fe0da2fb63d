"""A validation of any size is scored on a bounded number of rows, from all of the loader."""

import torch
from torch.nn.functional import normalize

from torchgeo_cmr.metrics import CrossModalRetrieval, LabelRetrieval
from torchgeo_cmr.metrics.thinning import thin


def test_rows_come_from_the_whole_loader_in_order() -> None:
    rows = torch.arange(1000)
    assert torch.equal(thin(rows, None), rows)
    assert torch.equal(thin(rows, 1000), rows)
    kept = thin(rows, 300)
    assert len(kept) == 300
    steps = kept.diff()
    assert set(steps.tolist()) == {3, 4}
    assert kept[-1] >= 996


def test_pairs_stay_pairs() -> None:
    torch.manual_seed(0)
    rows = normalize(torch.randn(500, 16), dim=1)
    metric = CrossModalRetrieval(('a', 'b'), max_rows=64)
    for part in rows.split(50):
        metric.update({'a': part, 'b': part})
    assert metric.embeddings()['a'].shape == (64, 16)
    assert metric.compute()['recall@1'] == 1


def test_labels_stay_with_their_rows() -> None:
    torch.manual_seed(0)
    labels = torch.arange(400) % 4
    rows = torch.eye(4)[labels]
    metric = LabelRetrieval(('a', 'b'), ('map',), max_rows=33)
    for part in (slice(0, 130), slice(130, 400)):
        metric.update({'a': rows[part], 'b': rows[part]}, labels[part])
    figures = metric.compute()
    assert figures['map'] == 1
    assert len(metric.embeddings()['b']) == 33
