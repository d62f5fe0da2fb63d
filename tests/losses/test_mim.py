import math
import textwrap
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from lightly.loss.ntx_ent_loss import NTXentLoss
from torch import Tensor

from torchgeo_cmr.losses import MIMLoss

U = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
V = torch.tensor([[0.6, 0.8], [0.0, 1.0]])


def twin(a: Tensor, b: Tensor, tau: float, negatives: str) -> float:
    """The formula, one number at a time, in double precision."""

    def cosine(x: list[float], y: list[float]) -> float:
        dot = sum(p * q for p, q in zip(x, y, strict=True))
        return dot / math.sqrt(sum(p * p for p in x) * sum(q * q for q in y))

    rows = [*a.double().tolist(), *b.double().tolist()]
    size, total = len(a), 0.0
    for i, row in enumerate(rows):
        pair = (i + size) % (2 * size)
        below = 0.0
        for j, other in enumerate(rows):
            same_modality = (i < size) == (j < size)
            if j == i or (negatives == 'cross' and same_modality):
                continue
            below += math.exp(cosine(row, other) / tau)
        total -= math.log(math.exp(cosine(row, rows[pair]) / tau) / below)
    return total / (2 * size)


@pytest.mark.parametrize(
    ('negatives', 'value'), [('all', 0.758885), ('cross', 0.454060)]
)
def test_worked_value(negatives: Any, value: float) -> None:
    loss = MIMLoss(0.5, negatives=negatives)(U, V)
    assert loss.item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize('negatives', ['all', 'cross'])
@pytest.mark.parametrize('tau', [0.07, 0.5, 2.0])
@pytest.mark.parametrize('size', [1, 2, 7])
def test_equals_loop_twin(negatives: Any, tau: float, size: int) -> None:
    torch.manual_seed(size)
    a, b = torch.randn(size, 5), 3 * torch.randn(size, 5)
    loss = MIMLoss(tau, negatives=negatives)(a, b)
    assert loss.item() == pytest.approx(twin(a, b, tau, negatives), abs=2e-5)


def test_equals_ntxent_of_lightly_in_one_process() -> None:
    generator = torch.Generator().manual_seed(3)
    pair = torch.randn(2, 6, 5, generator=generator)
    ours, theirs = pair.clone().requires_grad_(), pair.clone().requires_grad_()
    loss, reference = MIMLoss(0.2)(*ours), NTXentLoss(0.2)(*theirs)
    loss.backward()
    reference.backward()
    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_does_not_depend_on_order_of_pairs_of_modalities_or_on_length_of_rows() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(6, 4), torch.randn(6, 4)
    order = torch.randperm(6)
    loss = MIMLoss()
    value = loss(a, b)
    torch.testing.assert_close(loss(a[order], b[order]), value)
    torch.testing.assert_close(loss(b, a), value)
    torch.testing.assert_close(loss(7 * a, b / 9), value)
    assert loss(a, b[order]) != value


@pytest.mark.parametrize('negatives', ['all', 'cross'])
@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_gradient_is_finite_at_equal_and_opposite_vectors(
    negatives: Any, sign: float
) -> None:
    a = torch.ones(4, 3, requires_grad=True)
    b = torch.full((4, 3), sign, requires_grad=True)
    MIMLoss(0.05, negatives=negatives)(a, b).backward()
    for x in (a, b):
        assert x.grad is not None
        assert x.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_small_temperature_survives_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    # the own pair is opposite, so exp(2 / 0.05) would overflow fp16 by far
    a = torch.randn(8, 4)
    b = -a
    expected = twin(a.to(dtype), b.to(dtype), 0.05, 'all')
    x, y = a.to(dtype).requires_grad_(), b.to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype=dtype):
        loss = MIMLoss(0.05)(x, y)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_training_on_it_finds_the_pairs() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(32, 8)
    a, b = hidden @ torch.randn(8, 8), hidden @ torch.randn(8, 8)
    net_a, net_b = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    optimizer = torch.optim.Adam([*net_a.parameters(), *net_b.parameters()], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        MIMLoss(0.1)(net_a(a), net_b(b)).backward()
        optimizer.step()
    x = torch.nn.functional.normalize(net_a(a), dim=1)
    y = torch.nn.functional.normalize(net_b(b), dim=1)
    assert (x @ y.T).argmax(dim=1).tolist() == list(range(32))


def test_refuses_bad_settings() -> None:
    for tau in (0, -1, math.nan):
        with pytest.raises(ValueError, match='temperature must be above 0'):
            MIMLoss(tau)
    with pytest.raises(ValueError, match="'all' or 'cross', found 'none'"):
        MIMLoss(negatives='none')  # ty: ignore[invalid-argument-type]
    with pytest.raises(ValueError, match='one row per pair'):
        MIMLoss()(torch.zeros(2, 3), torch.zeros(3, 3))


def test_shows_its_settings() -> None:
    assert repr(MIMLoss(0.1)) == "MIMLoss(temperature=0.1, negatives='all')"


WORKER = textwrap.dedent(
    """
    import sys
    import torch
    import torch.distributed as dist
    from torchgeo_cmr.losses import (
        BarlowTwinsLoss,
        ISLoss,
        MIMLoss,
        SIGRegLoss,
        SupConLoss,
        TripletLoss,
        VICRegLoss,
        false_negatives,
    )

    rank, folder, cut = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    given = torch.load(f'{folder}/given.pt', weights_only=True)
    part = slice(0, cut) if rank == 0 else slice(cut, None)
    answers = {}
    for name, loss in (
        ('all', MIMLoss(0.1)),
        ('cross', MIMLoss(0.1, negatives='cross')),
        ('is', ISLoss(num_neighbors=2)),
        ('ignore', MIMLoss(0.1)),
        ('triplet', TripletLoss(1.0)),
        ('supcon', SupConLoss(0.1)),
        ('barlow', BarlowTwinsLoss()),
        ('vicreg', VICRegLoss()),
        ('sigreg', SIGRegLoss()),
    ):
        a = given['a'][part].clone().requires_grad_()
        b = given['b'][part].clone().requires_grad_()
        labels, more = given['labels'][part], {}
        if name in ('ignore', 'triplet'):
            more = {'exclude': false_negatives(labels=labels, gather=True)}
        if name == 'supcon':
            more = {'labels': labels}
        if name == 'sigreg':
            b, more = given['u'].clone().requires_grad_(), {}
        value = loss(a, b, **more)
        value.backward()
        if more.get('exclude') is not None:
            more = {'exclude': false_negatives(labels=labels)}
        alone = loss.eval()(a, b, **more).detach()
        answers[name] = [value.detach(), a.grad, b.grad, alone]
    torch.save(answers, f'{folder}/answer{rank}.pt')
    dist.barrier()
    dist.destroy_process_group()
    """
)


@pytest.mark.slow
@pytest.mark.parametrize('cut', [4, 5])
def test_two_processes_equal_one_on_the_whole_batch(tmp_path: Path, cut: int) -> None:
    from torchgeo_cmr.losses import (
        BarlowTwinsLoss,
        ISLoss,
        SIGRegLoss,
        SupConLoss,
        TripletLoss,
        VICRegLoss,
        false_negatives,
    )

    torch.manual_seed(0)
    given = {'a': torch.randn(8, 6), 'b': torch.randn(8, 6), 'u': torch.randn(3, 6)}
    given['labels'] = torch.eye(3)[torch.arange(8) % 3]
    torch.save(given, tmp_path / 'given.pt')
    forked.run_together(*(('-c', WORKER, rank, tmp_path, cut) for rank in (0, 1)))

    answers = [
        torch.load(tmp_path / f'answer{r}.pt', weights_only=True) for r in range(2)
    ]
    for name, loss in (
        ('all', MIMLoss(0.1)),
        ('cross', MIMLoss(0.1, negatives='cross')),
        ('is', ISLoss(num_neighbors=2)),
        ('ignore', MIMLoss(0.1)),
        ('triplet', TripletLoss(1.0)),
        ('supcon', SupConLoss(0.1)),
        ('barlow', BarlowTwinsLoss()),
        ('vicreg', VICRegLoss()),
        ('sigreg', SIGRegLoss()),
    ):
        a = given['a'].clone().requires_grad_()
        b = given['u' if name == 'sigreg' else 'b'].clone().requires_grad_()

        def more(labels: Tensor, name: str = name) -> dict[str, Tensor]:
            if name in ('ignore', 'triplet'):
                return {'exclude': false_negatives(labels=labels)}
            return {'labels': labels} if name == 'supcon' else {}

        value = loss(a, b, **more(given['labels']))
        value.backward()
        assert a.grad is not None
        assert b.grad is not None
        first, second = (answer[name] for answer in answers)
        # DDP takes the mean over ranks of the loss and of the gradients
        torch.testing.assert_close(
            (first[0] + second[0]) / 2, value, rtol=1e-5, atol=1e-6
        )
        grads = ((1, a.grad), (2, b.grad))
        for position, grad in grads[: 1 if name == 'sigreg' else 2]:
            both = torch.cat([first[position], second[position]]) / 2
            torch.testing.assert_close(both, grad, rtol=1e-4, atol=1e-6)
        # evaluation stays on its own rank
        rest = b if name == 'sigreg' else given['b'][:cut]
        alone = loss(given['a'][:cut], rest, **more(given['labels'][:cut]))
        torch.testing.assert_close(first[3], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize('negatives', ['all', 'cross'])
def test_excluded_rows_are_no_negatives(negatives: Any) -> None:
    """Equal to leaving them out of each sum, one number at a time."""
    generator = torch.Generator().manual_seed(5)
    a, b = torch.randn(2, 5, 4, generator=generator)
    exclude = torch.rand(5, 5, generator=generator) < 0.4
    unit = [torch.nn.functional.normalize(x.double(), dim=1) for x in (a, b)]
    total = 0.0
    for mine, other in (unit, unit[::-1]):
        for i in range(5):
            below = sum(
                math.exp(mine[i] @ other[j] / 0.3)
                for j in range(5)
                if j == i or not exclude[i, j]
            )
            if negatives == 'all':
                below += sum(
                    math.exp(mine[i] @ mine[j] / 0.3)
                    for j in range(5)
                    if j != i and not exclude[i, j]
                )
            total -= (mine[i] @ other[i] / 0.3).item() - math.log(below)
    loss = MIMLoss(0.3, negatives=negatives)(a, b, exclude)
    assert loss.item() == pytest.approx(total / 10, abs=1e-5)


def test_all_excluded_leaves_nothing_to_learn() -> None:
    a = torch.randn(3, 4, requires_grad=True)
    loss = MIMLoss()(a, torch.randn(3, 4), torch.ones(3, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert a.grad is not None
    assert a.grad.isfinite().all()


class TestLearnedTemperature:
    def test_starts_at_the_given_one(self) -> None:
        loss = MIMLoss(0.07, negatives='cross', learned=True)
        assert loss.log_scale.item() == pytest.approx(math.log(1 / 0.07), rel=1e-6)
        torch.testing.assert_close(loss(U, V), MIMLoss(0.07, negatives='cross')(U, V))

    def test_moves_and_stays_below_100(self) -> None:
        loss = MIMLoss(0.5, negatives='cross', learned=True)
        optimizer = torch.optim.SGD(loss.parameters(), lr=100.0)
        for _ in range(3):
            optimizer.zero_grad()
            loss(V, V).backward()
            optimizer.step()
        loss(V, V)
        assert loss.log_scale.exp().item() == pytest.approx(100, rel=1e-3)
