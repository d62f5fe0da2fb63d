import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from torchgeo_cmr.metrics import CrossModalRetrieval, functional


def rows(num: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(num, dim, generator=generator), dim=1)


@pytest.fixture
def pairs() -> dict[str, Tensor]:
    s1 = rows(60, 8, 0)
    return {'s1': s1, 's2': normalize(s1 + 0.6 * rows(60, 8, 1), dim=1)}


@pytest.mark.parametrize('chunk', [7, 1024])
def test_equals_numpy_ranking(pairs: dict[str, Tensor], chunk: int) -> None:
    metric = CrossModalRetrieval(('s1', 's2'), chunk=chunk)
    for part in range(0, 60, 25):
        metric.update({m: z[part : part + 25] for m, z in pairs.items()})
    found = metric.compute()
    for query, gallery in (('s1', 's2'), ('s2', 's1')):
        scores = (pairs[query] @ pairs[gallery].T).numpy()
        ranked = functional.rank_relevance(scores, np.eye(60, dtype=bool))
        direction = f'{query}_to_{gallery}'
        for k in (1, 5, 10):
            expected = functional.recall(ranked, k).mean()
            assert found[f'recall@{k}_{direction}'].item() == pytest.approx(expected)
        median = functional.median_rank(ranked)
        assert found[f'median_rank_{direction}'].item() == median
    for name in ('recall@1', 'recall@5', 'recall@10', 'median_rank'):
        both = found[f'{name}_s1_to_s2'] + found[f'{name}_s2_to_s1']
        assert found[name].item() == pytest.approx(both.item() / 2)
    assert 0.1 < found['recall@1'] < 1
    assert not any(set('/>') & set(name) for name in found)


def test_perfect_and_random() -> None:
    z = rows(100, 16, 0)
    metric = CrossModalRetrieval(('a', 'b'))
    metric.update({'a': z, 'b': -z})
    assert metric.compute()['recall@10'] == 0
    metric.reset()
    metric.update({'a': z, 'b': z})
    assert metric.compute()['recall@1'] == 1
    assert metric.compute()['median_rank'] == 1


def test_median_rank_is_between_the_two_in_the_middle() -> None:
    # the pair of b is the first of a for one row, and the second for the other
    metric = CrossModalRetrieval(('a', 'b'))
    rows = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    metric.update({'a': torch.tensor([[1.0, 0.0], [1.0, 0.0]]), 'b': rows})
    assert metric.compute()['median_rank_a_to_b'] == 1.5


@pytest.mark.parametrize('value', [0.5, 0.0, math.nan])
def test_constant_and_diverged_encoders_score_chance(value: float) -> None:
    metric = CrossModalRetrieval(('a', 'b'), chunk=7)
    metric.update({'a': torch.full((40, 4), value), 'b': torch.full((40, 4), value)})
    assert metric.compute()['recall@10'].item() == pytest.approx(10 / 40)
    assert metric.compute()['median_rank'].item() == pytest.approx(41 / 2)


def test_ties_are_scored_as_in_numpy() -> None:
    rng = np.random.default_rng(0)
    pairs = {m: rng.integers(0, 3, (50, 2)).astype(np.float32) for m in 'ab'}
    pairs['b'][7] = np.nan
    metric = CrossModalRetrieval('ab', (1, 3, 10), chunk=11)
    metric.update({m: torch.from_numpy(z) for m, z in pairs.items()})
    found = metric.compute()
    for query, gallery in ('ab', 'ba'):
        means = functional.score_ranking(
            pairs[query],
            pairs[gallery],
            functional.MatrixTruth(np.eye(50)),
            names=['recall@k', 'median_rank'],
            ks=(1, 3, 10),
        ).means()
        for name, mean in means.items():
            key = f'{name}_{query}_to_{gallery}'
            assert found[key].item() == pytest.approx(mean.mean), key


def test_three_modalities_have_six_directions(pairs: dict[str, Tensor]) -> None:
    metric = CrossModalRetrieval(('s1', 's2', 'dem'), ks=(10,), health=True)
    metric.update({**pairs, 'dem': rows(60, 8, 3)})
    found = metric.compute()
    assert sum(name.startswith('recall@10_') for name in found) == 6
    assert found['recall@10_s1_to_s2'] > 0.5
    assert found['recall@10_s1_to_dem'] < 0.5
    assert {'modality_gap', 'uniformity_dem', 'effective_rank'} <= set(found)


def test_rows_of_two_ranks_merge_like_one(pairs: dict[str, Tensor]) -> None:
    first, second, whole = (CrossModalRetrieval(('s1', 's2')) for _ in range(3))
    first.update({m: z[:20] for m, z in pairs.items()})
    second.update({m: z[20:] for m, z in pairs.items()})
    whole.update(pairs)
    second.merge_state(first)
    for name, value in whole.compute().items():
        if 'recall' in name:
            assert second.compute()[name] == value


def test_keeps_float32_rows_without_graph_until_reset(pairs: dict[str, Tensor]) -> None:
    metric = CrossModalRetrieval(('s1', 's2'))
    metric.update({m: z.half().requires_grad_() for m, z in pairs.items()})
    kept = metric.embeddings()['s1']
    assert kept.dtype == torch.float32
    assert not kept.requires_grad
    metric.reset()
    metric.update(pairs)
    assert len(metric.embeddings()['s2']) == 60


def test_refuses_bad_input(pairs: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match='needs two or more'):
        CrossModalRetrieval(('s1', 's1'))
    with pytest.raises(ValueError, match=r'cut-offs of at least 1, found \(0,\)'):
        CrossModalRetrieval(('s1', 's2'), ks=(0,))
    metric = CrossModalRetrieval(('s1', 's2'))
    with pytest.raises(ValueError, match='embeddings of s2 are missing, found s1'):
        metric.update({'s1': pairs['s1']})
    with pytest.raises(ValueError, match='one row per pair'):
        metric.update({'s1': pairs['s1'], 's2': pairs['s2'][:3]})
