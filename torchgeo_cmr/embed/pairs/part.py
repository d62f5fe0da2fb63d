"""Blocks of pairs that are committed together: which there are, and how they are read."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader

from torchgeo_cmr.datamodules.split import SPLITS
from torchgeo_cmr.embed.pairs.chip_pairs import Ground
from torchgeo_cmr.errors import PairingError

#: Pairs that are committed together.
_PART = 1024


@dataclass(frozen=True)
class Part:
    """Pairs that are committed together."""

    #: Name of the part, in the order of the parts.
    key: str
    split: str
    #: Pairs, as :class:`Ground` has them.
    keys: list[Any]


def cut_parts(ground: Ground, splits: Sequence[str] | None) -> list[Part]:
    """Cut the pairs of the splits into parts, in the order in which they are loaded."""
    unknown = sorted(set(splits or ()) - set(SPLITS))
    if unknown:
        raise PairingError(
            f'there is no split {", ".join(unknown)}: choose one of {", ".join(SPLITS)}'
        )
    parts = []
    for number, split in enumerate(SPLITS):
        if splits is not None and split not in splits:
            continue
        keys = ground.keys(split)
        if not keys and splits is not None:
            raise PairingError(
                f'the data has no {split} pairs: leave that split out, or hold some out'
            )
        for start in range(0, len(keys), _PART):
            name = f'{number}:{split}:{start:09d}'
            parts.append(Part(name, split, keys[start : start + _PART]))
    if not parts:
        raise PairingError('the data holds no pair: check its root and splits')
    return parts


def read_parts(
    ground: Ground, parts: Sequence[Part], batch_size: int, num_workers: int
) -> Iterator[tuple[Part, Iterator[Mapping[str, Any]]]]:
    """Read part after part; workers start once per split and read ahead across parts."""
    for split in SPLITS:
        mine = [part for part in parts if part.split == split]
        batches = [
            part.keys[start : start + batch_size]
            for part in mine
            for start in range(0, len(part.keys), batch_size)
        ]
        if not batches:
            continue
        loader = DataLoader(
            ground.dataset(split), batch_sampler=batches, num_workers=num_workers
        )
        stream = iter(loader)
        for part in mine:
            count = -(-len(part.keys) // batch_size)
            yield part, (next(stream) for _ in range(count))


def part_marks(ground: Ground, parts: Sequence[Part]) -> dict[str, str]:
    """Say by key which pairs are in each part, in which order."""
    known: set[str] = set()
    marks = {}
    for part in parts:
        names = ground.names(part.split, part.keys)
        twice = [name for name in names if name in known]
        known.update(names)
        if twice or len(set(names)) < len(names):
            twice += [name for name in names if names.count(name) > 1]
            raise PairingError(
                f'two pairs of the data are called {twice[0]}: leave one of them out, or one '
                'of the splits'
            )
        marks[part.key] = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]
    return marks


def pairs_fingerprint(parts: Sequence[Part], marks: Mapping[str, str]) -> str:
    """Say which pairs there are, in which order and split."""
    digest = hashlib.sha256(json.dumps(list(marks.items())).encode()).hexdigest()
    return f'{sum(len(part.keys) for part in parts)} pairs, {digest[:16]}'
