"""A validation of any size is scored on a bounded number of rows, from all of the loader."""

import torch
from torch.nn.functional import normalize

from torchgeo_cmr.metrics import CrossModalRetrieval, LabelRetrieval
from torchgeo_cmr.metrics.thinning import thin, unrepeated


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


def test_samples_that_a_sampler_repeats_count_once() -> None:
    """Seven pairs on three ranks, whose sampler gives two of them twice, are seven pairs."""
    torch.manual_seed(0)
    rows, labels = normalize(torch.randn(7, 4), dim=1), torch.arange(7) % 3
    other = normalize(rows + torch.randn(7, 4), dim=1)
    alone = CrossModalRetrieval(('a', 'b'), health=True)
    alone.update({'a': rows, 'b': other})
    by_label = LabelRetrieval(('a', 'b'), directions='all')
    by_label.update({'a': rows, 'b': other}, labels)
    metric = CrossModalRetrieval(('a', 'b'), health=True)
    labelled = LabelRetrieval(('a', 'b'), directions='all')
    for rank in range(3):
        numbers = torch.arange(rank, 9, 3) % 7
        batch = {'a': rows[numbers], 'b': other[numbers]}
        metric.update(batch, numbers)
        labelled.update(batch, labels[numbers], {'a': numbers, 'b': numbers})
    for one, found in ((alone, metric), (by_label, labelled)):
        expected = one.compute()
        for name, value in found.compute().items():
            assert value == expected[name], name
    # Without numbers they are rivals of themselves.
    metric.reset()
    metric.update({'a': rows[[0, 0]], 'b': other[[0, 0]]})
    assert metric.compute()['recall@1'] == 0.5


def test_rows_of_unknown_samples_are_all_kept() -> None:
    assert unrepeated(torch.tensor([-1, -1])).tolist() == [0, 1]
    assert unrepeated(torch.tensor([], dtype=torch.int64)).tolist() == []
    assert unrepeated(torch.tensor([3, 1, 3, 0])).tolist() == [3, 1, 0]
