import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import torchgeo_cmr.metrics
from torchgeo_cmr.metrics import embedding_health, verdict
from torchgeo_cmr.metrics.health import (
    alignment,
    effective_rank,
    embedding_std,
    modality_gap,
    uniformity,
)


def rows(num: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(num, dim, generator=generator), dim=1)


def test_hand_computed() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    b = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert modality_gap(a, b).item() == pytest.approx(math.sqrt(0.5))
    assert alignment(a, b).item() == pytest.approx(1)
    assert uniformity(a).item() == pytest.approx(-4)
    assert uniformity(b).item() == pytest.approx(0)
    assert embedding_std(a).item() == pytest.approx(0.5)
    assert effective_rank(a).item() == pytest.approx(2)
    assert effective_rank(b).item() == pytest.approx(1)


def test_uniformity_equals_loop_twin_whatever_the_chunk() -> None:
    z = rows(17, 5)
    total, count = 0.0, 0
    for i, x in enumerate(z.double().tolist()):
        for j, y in enumerate(z.double().tolist()):
            if i != j:
                total += math.exp(-2 * math.dist(x, y) ** 2)
                count += 1
    for chunk in (1, 5, 100):
        assert uniformity(z, chunk=chunk).item() == pytest.approx(
            math.log(total / count), abs=1e-5
        )
    assert uniformity(z[:1]).isnan()


def test_effective_rank_counts_used_dimensions() -> None:
    basis = torch.eye(16)[:4].repeat(10, 1)
    assert effective_rank(basis).item() == pytest.approx(4, abs=1e-4)
    assert effective_rank(rows(2000, 16)).item() == pytest.approx(16, abs=0.1)
    assert effective_rank(torch.full((3, 2), math.nan)).isnan()


def test_all_figures_per_modality_and_their_mean() -> None:
    z = {'s1': rows(50, 8), 's2': rows(50, 8, 1), 'dem': rows(50, 8, 2)}
    figures = embedding_health(z)
    for name in ('uniformity', 'embedding_std', 'effective_rank', 'spread'):
        each = [figures[f'{name}_{m}'].item() for m in z]
        assert figures[name].item() == pytest.approx(sum(each) / 3)
    gaps = [
        modality_gap(z[p], z[q]).item()
        for p, q in (('s1', 's2'), ('s1', 'dem'), ('s2', 'dem'))
    ]
    assert figures['modality_gap'].item() == pytest.approx(sum(gaps) / 3)
    assert not any(set('/>') & set(name) for name in figures)
    assert 'alignment' not in embedding_health({'s1': z['s1']})


class TestVerdict:
    def test_healthy(self) -> None:
        found = verdict({'s1': rows(100, 8), 's2': rows(100, 2)})
        assert not found.collapsed
        assert 'spread out' in found.sentence

    def test_healthy_but_narrow(self) -> None:
        # an untrained encoder: a common direction, mean cosine about 0.9
        z = normalize(rows(100, 64) + 3 * torch.eye(64)[0], dim=1)
        assert (z @ z.T).mean() > 0.85
        assert not verdict({'s1': z}).collapsed

    def test_constant(self) -> None:
        z = normalize(torch.ones(100, 64) + 1e-3 * rows(100, 64), dim=1)
        found = verdict({'s1': rows(100, 64), 's2': z})
        assert found.collapsed
        assert 's2 encoder has collapsed' in found.sentence
        assert '\n' not in found.sentence

    def test_line(self) -> None:
        z = rows(1, 64).repeat(100, 1) * torch.tensor([1.0, -1.0]).repeat(50)[:, None]
        found = verdict({'s1': z})
        assert found.collapsed
        assert 'on one line' in found.sentence

    def test_not_finite(self) -> None:
        found = verdict({'s1': torch.full((5, 2), math.nan)})
        assert found.collapsed
        assert 'not finite' in found.sentence

    def test_too_few_to_judge(self) -> None:
        assert verdict({'s1': rows(1, 4)}) == (False, 'too few embeddings to judge')


def test_lazy_names() -> None:
    for name in torchgeo_cmr.metrics.__all__:
        assert name in dir(torchgeo_cmr.metrics)
        assert getattr(torchgeo_cmr.metrics, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = torchgeo_cmr.metrics.nonsense
