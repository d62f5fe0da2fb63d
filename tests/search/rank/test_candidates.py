"""A pool against a sort of every score."""

import numpy as np
import pytest

from torchgeo_cmr.search.rank.candidates import Pool, gathered, where
from torchgeo_cmr.search.rank.margin import Margin


@pytest.mark.parametrize('k', [1, 6, 40])
@pytest.mark.parametrize('slack', [0.0, 0.0983])
@pytest.mark.parametrize('pools', [1, 3])
def test_keeps_what_may_belong_and_little_else(
    k: int, slack: float, pools: int
) -> None:
    rng = np.random.default_rng(k)
    # Few values, so that ties are common.
    scores = (rng.integers(0, 300, (9, 2_000)) / 300).astype(np.float32)
    many = [Pool(9, k, Margin.even(9, slack)) for _ in range(pools)]
    for start in range(0, 2_000, 25):
        block = scores[:, start : start + 25]
        taken = block if start % 2 else block.T.copy().T
        many[start % pools].add(np.arange(start, start + 25), taken)
    owner, row = gathered(many)
    kth = np.sort(scores, axis=1)[:, -k]
    told = np.argwhere(scores >= (kth - np.float32(slack))[:, None]).tolist()
    assert sorted(np.column_stack([owner, row]).tolist()) == told


def test_fewer_rows_than_asked_for() -> None:
    pool = Pool(2, 5, Margin.even(2, 0))
    pool.add(np.array([3, 8]), np.array([[0.1, 0.2], [-1.0, 1.0]], np.float32))
    owner, row = gathered([pool, Pool(2, 5, Margin.even(2, 0))])
    assert sorted(zip(owner, row, strict=True)) == [(0, 3), (0, 8), (1, 3), (1, 8)]


def test_a_mask_in_either_order() -> None:
    mask = np.random.default_rng(0).random((6, 50)) < 0.1
    for given in (mask, mask.T.copy().T):
        first, second = where(given)
        assert sorted(zip(first, second, strict=True)) == [
            tuple(pair) for pair in np.argwhere(mask).tolist()
        ]


@pytest.mark.parametrize('k', [1, 3])
def test_a_long_block_is_bounded_by_the_best_of_groups(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.random((4, 1_003), dtype=np.float32)
    pool = Pool(4, k, Margin.even(4, 0))
    pool.add(np.arange(1_003), scores.T.copy().T)
    kth = np.sort(scores, axis=1)[:, -k]
    assert (pool.least <= kth).all()
    # Rarely do two of the best share a group, so that little more than k are kept.
    assert ((scores >= pool.least[:, None]).sum(axis=1) <= 3 * k).all()
    owner, row = gathered([pool])
    # Sorting the few too many out of one block is left to the decision.
    told = np.argwhere(scores >= pool.least[:, None]).tolist()
    assert sorted(np.column_stack([owner, row]).tolist()) == told
