"""Each group divided by itself."""

from itertools import chain

import pytest

from torchgeo_cmr.datasets.holdout import hold_out

SHARES = {'train': 0.7, 'val': 0.1, 'test': 0.2}


def test_every_item_is_in_one_split() -> None:
    groups = [i % 3 for i in range(60)]
    parts = hold_out(groups, SHARES, 0)
    assert sorted(chain(*parts.values())) == list(range(60))
    for split, count in (('train', 14), ('val', 2), ('test', 4)):
        assert parts[split] == sorted(parts[split])
        for group in range(3):
            assert sum(groups[i] == group for i in parts[split]) == count


def test_seed_decides() -> None:
    groups = [0] * 50
    assert hold_out(groups, SHARES, 1) == hold_out(groups, SHARES, 1)
    assert hold_out(groups, SHARES, 1) != hold_out(groups, SHARES, 2)


@pytest.mark.parametrize(
    ('count', 'sizes'), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1))]
)
def test_small_groups_train_first(count: int, sizes: tuple[int, ...]) -> None:
    parts = hold_out(['x'] * count, SHARES, 0)
    assert tuple(len(parts[s]) for s in ('train', 'val', 'test')) == sizes


def test_a_share_of_nothing() -> None:
    parts = hold_out([0] * 10, {'train': 0.8, 'val': 0.2, 'test': 0.0}, 0)
    assert {s: len(p) for s, p in parts.items()} == {'train': 8, 'val': 2, 'test': 0}
