"""Splits of things that have a class, or a speaker, but no place."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

#: Splits in the order in which they are cut from a shuffled list.
SPLITS = ('train', 'val', 'test')


def hold_out(
    groups: Sequence[Hashable], shares: Mapping[str, float], seed: int
) -> dict[str, list[int]]:
    """Divide each group by the same shares, at random.

    Args:
        groups: The group of each item, such as its class.
        shares: 'train', 'val' and 'test' -> share of each group; they add up to 1.
        seed: Seed of the shuffle.

    Returns:
        Split -> sorted positions. A group of n items gives the held-out splits that have a
        share ``round(share * n)`` items, at least one, as long as one is left to train on.
    """
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    rng = np.random.default_rng(seed)
    for positions in members.values():
        order = rng.permutation(positions).tolist()
        for split in ('test', 'val'):
            share = shares.get(split, 0)
            wanted = max(1, round(share * len(positions))) if share else 0
            count = min(wanted, len(order) - 1)
            parts[split] += order[:count]
            order = order[count:]
        parts['train'] += order
    return {split: sorted(positions) for split, positions in parts.items()}


__all__ = ('SPLITS', 'hold_out')
