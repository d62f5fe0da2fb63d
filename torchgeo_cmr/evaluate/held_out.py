"""What an alignment gains: maps are fitted on some ground and scored on the rest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from torchgeo_cmr.errors import QueryError, check_seed
from torchgeo_cmr.search import Alignment
from torchgeo_cmr.search.alignment import Method, Statistic
from torchgeo_cmr.table import EmbeddingTable

from .blocks import cells
from .place_rule import same_place
from .score import evaluate

#: How maps can be made.
METHODS = (*get_args(Statistic), *get_args(Method))
#: Width of the blocks of ground of which some are held out, in metres; and their share.
_BLOCK, _HELD_OUT = 2_000, 0.25
#: Patches that ask in each direction, at most: recall is then known to about a hundredth.
_QUERIES = 2_000

type _Sensors = dict[str, EmbeddingTable]


@dataclass(frozen=True)
class Gain:
    """Recall@10 of the own place on ground that the maps did not see.

    Args:
        direction: Such as ``'s1->s2'``.
        before: Of the vectors as they were; None if they are not as long in both modalities.
        after: Of the mapped ones.
        chance: Of a random ranking.
        queries: Queries that were counted.
    """

    direction: str
    before: float | None
    after: float
    chance: float
    queries: int


def fit_alignment(
    tables: Iterable[EmbeddingTable], method: str, *, seed: int = 0
) -> tuple[Alignment, list[Gain] | None]:
    """Fit maps on all ground, and score maps of three quarters of it on the rest.

    Args:
        tables: Vectors of one modality or several.
        method: One of :data:`METHODS`.
        seed: Of the ground that is held out, and of contrastive maps.

    Returns:
        The maps, and what they gain in both directions; nothing unless there are two modalities,
        None if there is too little ground to hold some out.

    Raises:
        QueryError: If maps are fitted on pairs and there are not two modalities, or the seed is
            negative.
    """
    check_seed(seed, QueryError)
    sensors = _by_sensor(tables)
    if method in get_args(Method) and len(sensors) != 2:
        raise QueryError(
            f'{method} maps are fitted on pairs of two sensors, found '
            f'{", ".join(sensors) or "none"}: give the archives of both, or center'
        )
    maps = _fit(sensors, method, seed)
    if len(sensors) != 2:
        return maps, []
    seen, held = _split(sensors, seed)
    if any(len(table) < 2 for part in (seen, held) for table in part.values()):
        return maps, None
    return maps, _gains(held, _fit(seen, method, seed), seed)


def _by_sensor(tables: Iterable[EmbeddingTable]) -> _Sensors:
    """Divide tables by modality."""
    found: dict[str, list[EmbeddingTable]] = {}
    for table in tables:
        column = table.frame['modality']
        for name in column.dropna().unique():
            rows = np.flatnonzero(column == name)
            found.setdefault(str(name), []).append(table.select(rows))
    return {name: EmbeddingTable.concat(parts) for name, parts in found.items()}


def _fit(sensors: Mapping[str, EmbeddingTable], method: str, seed: int) -> Alignment:
    if method == 'center':
        return Alignment.center(sensors.values())
    if method == 'whiten':
        return Alignment.whiten(sensors.values())
    first, second = sensors.values()
    kind: Any = method
    return Alignment.fit(first, second, kind, seed=seed)


def _split(sensors: _Sensors, seed: int) -> tuple[_Sensors, _Sensors]:
    """Hold out a quarter of the blocks of ground, the same of all modalities."""
    blocks = {name: cells(table, _BLOCK) for name, table in sensors.items()}
    names = sorted({block for found in blocks.values() for block in found})
    number = max(1, round(_HELD_OUT * len(names)))
    drawn = np.random.default_rng(seed).permutation(len(names))[:number]
    chosen = {names[i] for i in drawn}
    held = {name: found.isin(chosen).to_numpy() for name, found in blocks.items()}
    return (
        {n: t.select(np.flatnonzero(~held[n])) for n, t in sensors.items()},
        {n: t.select(np.flatnonzero(held[n])) for n, t in sensors.items()},
    )


def _gains(held: _Sensors, maps: Alignment, seed: int) -> list[Gain]:
    """Score both directions before and after."""
    plain = {
        # Vectors of two encoders are compared here to show that they cannot be.
        name: replace(table, frame=table.frame.assign(space=None))
        for name, table in held.items()
    }
    mapped = {name: maps.table(table) for name, table in held.items()}
    first, second = held
    comparable = held[first].dim == held[second].dim
    gains = []
    for queries, archive in ((first, second), (second, first)):
        before = _score(plain, queries, archive, seed) if comparable else None
        after = _score(mapped, queries, archive, seed)
        gains.append(
            Gain(
                f'{queries}->{archive}',
                before['recall@10'] if before else None,
                after['recall@10'],
                after['chance']['recall@10'],
                after['queries'],
            )
        )
    return gains


def _score(tables: _Sensors, queries: str, archive: str, seed: int) -> dict[str, Any]:
    """Ask for the own place of some patches."""
    asking = tables[queries]
    drawn = np.random.default_rng(seed).permutation(len(asking))[:_QUERIES]
    asking = asking.select(np.sort(drawn))
    return evaluate(asking, tables[archive], relevance=same_place)
