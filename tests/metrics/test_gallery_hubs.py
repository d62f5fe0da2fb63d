import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from torchgeo_cmr.metrics import embedding_health, hubness, verdict
from torchgeo_cmr.metrics.gallery_hubs import HUB_ROWS


def rows(num: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(num, dim, generator=generator), dim=1)


def hubs(num: int = 200, dim: int = 16) -> dict[str, Tensor]:
    """Healthy rows, but all queries look in one direction: few rows answer."""
    away = 20 * torch.eye(dim)[0]
    return {'s1': normalize(rows(num, dim) * 5 + away, dim=1), 's2': rows(num, dim, 1)}


def test_hand_computed() -> None:
    gallery = torch.eye(4)
    queries = normalize(
        torch.tensor([[9.0, 1, 0, 0], [9, 2, 0, 0], [9, 0, 1, 0], [0, 1, 9, 0]]), dim=1
    )
    found = hubness(queries, gallery, k=1)
    # occurrences 3, 0, 1, 0: mean 1, second moment 6 / 4, third moment 6 / 4
    assert found.skewness.item() == pytest.approx(1.5 / 1.5**1.5)
    assert found.anti_hubs.item() == pytest.approx(0.5)


def test_equals_loop_twin_whatever_the_chunk() -> None:
    q, g = rows(40, 6), rows(30, 6, 1)
    counts = [0] * 30
    for x in q.tolist():
        near = sorted(range(30), key=lambda j, x=x: math.dist(x, g[j].tolist()))
        for j in near[:5]:
            counts[j] += 1
    mean = sum(counts) / 30
    std = math.sqrt(sum((c - mean) ** 2 for c in counts) / 30)
    skewness = sum((c - mean) ** 3 for c in counts) / 30 / std**3
    for chunk in (7, 1000):
        found = hubness(q, g, k=5, chunk=chunk)
        assert found.skewness.item() == pytest.approx(skewness, abs=1e-5)
        assert found.anti_hubs.item() == pytest.approx(counts.count(0) / 30)


def test_everyone_once_and_edges() -> None:
    z = rows(50, 8)
    assert hubness(z, z, k=1) == (0, 0)
    # no more rows than neighbours: all are found by all
    assert hubness(z, z[:4]) == (0, 0)
    assert torch.stack(hubness(z * math.nan, z)).isnan().all()
    assert torch.stack(hubness(z[:0], z)).isnan().all()


def test_figures_per_direction_and_their_mean() -> None:
    figures = embedding_health(hubs())
    for name in ('hubness', 'anti_hubs'):
        there, back = (figures[f'{name}_{d}'].item() for d in ('s1_to_s2', 's2_to_s1'))
        assert figures[name].item() == pytest.approx((there + back) / 2)
    assert figures['anti_hubs_s1_to_s2'] > 0.5
    assert figures['hubness_s1_to_s2'] > 2
    assert 'hubness' not in embedding_health({'s1': rows(10, 4)})


def test_many_rows_are_thinned_out() -> None:
    z = rows(HUB_ROWS + 10, 4)
    found = embedding_health({'s1': z, 's2': rows(len(z), 4, 1)})
    half = hubness(z[::2], rows(len(z), 4, 1)[::2])
    assert found['hubness_s1_to_s2'] == half.skewness


class TestVerdict:
    def test_striking(self) -> None:
        found = verdict(hubs())
        assert not found.collapsed
        assert 'a few hubs answer most queries: from s1 to s2' in found.sentence
        assert '\n' not in found.sentence

    def test_not_worth_a_word(self) -> None:
        s1 = rows(200, 16)
        near = normalize(s1 + 0.3 * rows(200, 16, 1), dim=1)
        assert 'hubs' not in verdict({'s1': s1, 's2': near}).sentence
        # too few to tell
        few = {m: z[:50] for m, z in hubs().items()}
        assert 'hubs' not in verdict(few).sentence
        assert 'hubs' not in verdict({'s2': hubs()['s2']}).sentence
