import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from torchgeo_cmr.metrics import LabelRetrieval, functional
from torchgeo_cmr.metrics.functional import METRICS

DIRECTIONS = ('s1_to_s2', 's2_to_s1')


def rows(num: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(num, dim, generator=generator), dim=1)


@pytest.fixture
def patches() -> dict[str, Tensor]:
    s1 = rows(60, 8, 0)
    return {'s1': s1, 's2': normalize(s1 + 0.6 * rows(60, 8, 1), dim=1)}


@pytest.fixture
def multi() -> Tensor:
    return (torch.rand(60, 7, generator=torch.Generator().manual_seed(0)) < 0.3).int()


def fill(
    metric: LabelRetrieval, z: dict[str, Tensor], labels: Tensor
) -> LabelRetrieval:
    for part in range(0, 60, 25):
        some = slice(part, part + 25)
        metric.update({m: rows[some] for m, rows in z.items()}, labels[some])
    return metric


@pytest.mark.parametrize('many', [True, False])
def test_equals_numpy(patches: dict[str, Tensor], multi: Tensor, many: bool) -> None:
    labels = multi if many else torch.arange(60) % 6 - 1
    metric = LabelRetrieval(('s1', 's2'), tuple(METRICS), (5,), rule='exact')
    found = fill(metric, patches, labels).compute()
    truth = functional.LabelTruth(labels.numpy(), labels.numpy(), 'exact')
    for direction in DIRECTIONS:
        query, gallery = direction.split('_to_')
        expected = functional.score_ranking(
            patches[query].numpy(),
            patches[gallery].numpy(),
            truth,
            names=METRICS,
            ks=(5,),
        ).means()
        for name, mean in expected.items():
            assert found[f'{name}_{direction}'].item() == pytest.approx(mean.mean), name
    for name in ('map', 'f1@5', 'f1@5_of_means', 'anmrr'):
        both = sum(found[f'{name}_{d}'].item() for d in DIRECTIONS)
        assert found[name].item() == pytest.approx(both / 2)
    assert not any(set('/>') & set(name) for name in found)


def test_four_directions_without_the_own_patch(patches: dict[str, Tensor]) -> None:
    labels = torch.arange(60)
    # nothing but the own patch is relevant: within a modality nothing is left
    found = fill(
        LabelRetrieval(('s1', 's2'), ('recall@k',), (1,), directions='all'),
        patches,
        labels,
    ).compute()
    assert found['recall@1_s1_to_s1'].isnan()
    assert found['recall@1_s1_to_s2'] > 0.1
    kept = LabelRetrieval(
        ('s1', 's2'), ('recall@k',), (1,), directions='all', exclude_self='none'
    )
    assert fill(kept, patches, labels).compute()['recall@1_s1_to_s1'] == 1
    gone = LabelRetrieval(('s1', 's2'), ('recall@k',), exclude_self='all')
    assert fill(gone, patches, labels).compute()['recall@10'].isnan()


def test_chance(patches: dict[str, Tensor]) -> None:
    labels = torch.arange(60) % 3
    metric = LabelRetrieval(('s1', 's2'), ('precision@k', 'map'), (10,), chance=True)
    found = fill(metric, patches, labels).compute()
    assert found['chance_precision@10'].item() == pytest.approx(1 / 3, abs=0.05)
    assert found['precision@10_s1_to_s2'] != found['chance_precision@10_s1_to_s2']
    again = metric.compute()
    assert again['chance_map'] == found['chance_map']


def test_rows_of_two_ranks_merge_like_one(
    patches: dict[str, Tensor], multi: Tensor
) -> None:
    first, second, whole = (LabelRetrieval(('s1', 's2')) for _ in range(3))
    first.update({m: z[:20] for m, z in patches.items()}, multi[:20])
    second.update({m: z[20:] for m, z in patches.items()}, multi[20:])
    whole.update(patches, multi)
    second.merge_state(first)
    for name, value in whole.compute().items():
        assert second.compute()[name].item() == pytest.approx(value.item())


def test_blocks_change_nothing(patches: dict[str, Tensor], multi: Tensor) -> None:
    whole, parts = (
        fill(LabelRetrieval(('s1', 's2'), memory=memory), patches, multi).compute()
        for memory in (2**30, 1)
    )
    assert whole == parts


def test_separable_classes_are_perfect_and_graph_is_dropped() -> None:
    labels = torch.arange(40) % 4
    z = torch.eye(4)[labels].requires_grad_()
    metric = LabelRetrieval(('a', 'b'), ('map', 'f1@k', 'ndcg@k', 'anmrr'), (5,))
    metric.update({'a': z, 'b': z}, labels)
    found = metric.compute()
    for name in ('map', 'f1@5', 'ndcg@5'):
        assert found[name] == 1
    assert found['anmrr'] == 0
    assert not found['map'].requires_grad
    metric.reset()
    metric.update({'a': z[:3], 'b': z[:3]}, labels[:3])
    assert np.isclose(metric.compute()['map'].item(), 1)


def test_refuses_bad_input(patches: dict[str, Tensor], multi: Tensor) -> None:
    with pytest.raises(ValueError, match="no metric 'mAP': choose from precision@k"):
        LabelRetrieval(('s1', 's2'), ('mAP',))
    with pytest.raises(ValueError, match='no metric given'):
        LabelRetrieval(('s1', 's2'), ())
    with pytest.raises(ValueError, match=r'found \(0,\)'):
        LabelRetrieval(('s1', 's2'), ks=(0,))
    with pytest.raises(ValueError, match="directions='cross' needs 2 or more"):
        LabelRetrieval(('s1',))
    with pytest.raises(ValueError, match="one of cross, all, found 'both'"):
        LabelRetrieval(('s1', 's2'), directions='both')  # ty: ignore
    with pytest.raises(ValueError, match=r"exclude_self must be one of .* found 'own'"):
        LabelRetrieval(('s1', 's2'), exclude_self='own')  # ty: ignore
    with pytest.raises(ValueError, match="'any', 'exact' or 'jaccard>=t'"):
        LabelRetrieval(('s1', 's2'), rule='some')
    metric = LabelRetrieval(('s1', 's2'))
    with pytest.raises(ValueError, match='embeddings of s2 are missing, found s1'):
        metric.update({'s1': patches['s1']}, multi)
    with pytest.raises(ValueError, match='one row of labels, found 3'):
        metric.update(patches, multi[:3])


def test_each_modality_may_have_labels_and_rows_of_its_own() -> None:
    metric = LabelRetrieval('ab', ('map', 'precision@k'), (1,), directions='all')
    a, b = torch.eye(3), torch.eye(3)[[0, 0, 1, 1, 2]]
    sets = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 0]])  # of the three images
    words = torch.eye(3, dtype=torch.long)[[0, 1, 1, 0, 2]]
    metric.update({'a': a[:2], 'b': b[:4]}, {'a': sets[:2], 'b': words[:4]})
    metric.update({'a': a[2:], 'b': b[4:]}, {'a': sets[2:], 'b': words[4:]})
    found = metric.compute()
    # the first answers are words 0 or 1, 2 or 3, and 4; images 0, 0, 1, 1 and 2
    assert found['precision@1_a_to_b'].item() == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert found['precision@1_b_to_a'].item() == pytest.approx(2 / 5)
    assert {m: len(z) for m, z in metric.embeddings().items()} == {'a': 3, 'b': 5}
    with pytest.raises(ValueError, match='one row of labels, found 0 for 3 of b'):
        metric.update({'a': a, 'b': a}, {'a': sets})
    assert len(metric.embeddings()['a']) == 3


def test_euclidean_distance_sees_lengths() -> None:
    rows = {
        'a': torch.tensor([[1.0, 0.0]]),
        'b': torch.tensor([[9.0, 0.0], [1.0, 0.5]]),
    }
    labels = {'a': torch.tensor([1]), 'b': torch.tensor([0, 1])}
    found = {}
    for similarity in ('dot', 'euclidean'):
        metric = LabelRetrieval('ab', ('map',), similarity=similarity)
        metric.update(rows, labels)
        found[similarity] = metric.compute()['map_a_to_b'].item()
    assert found == {'dot': 0.5, 'euclidean': 1.0}
    with pytest.raises(ValueError, match="dot, euclidean, found 'cosine'"):
        LabelRetrieval('ab', similarity='cosine')  # ty: ignore[invalid-argument-type]
