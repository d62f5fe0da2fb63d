"""The measures of a report: the metrics of the registry, each with its chance level.

Names, values, how they are joined into one number and what a random ranking scores all come
from :data:`~torchgeo_cmr.metrics.functional.METRICS` and
:data:`~torchgeo_cmr.metrics.functional.CHANCE`; here they are only called.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.metrics.functional import (
    CHANCE,
    METRICS,
    Pool,
    Ranking,
    RankingMetric,
)

type Floats = NDArray[np.float64]
type Measured = tuple[Floats, Floats]

#: Measures that compare label sets, and those of graded relevance.
OF_LABELS = tuple(m.name for m in METRICS.values() if m.needs == 'labels')
OF_GAINS = tuple(m.name for m in METRICS.values() if m.needs == 'gains')
#: What a report holds if nothing else is requested.
DEFAULT = ('recall@k', 'precision@k', 'hit_rate@k', 'map@k', 'map', 'mrr')


class Column:
    """One measure of some queries, and how it becomes one number.

    Args:
        metric: The metric.
        values: What it gave, (queries,), or (queries, 2) if two means are joined; NaN where
            nothing is relevant, and everywhere if unknown.
    """

    def __init__(self, metric: RankingMetric, values: Floats) -> None:
        """Keep both."""
        self.metric, self.values = metric, values

    def __getitem__(self, rows: NDArray[np.bool_]) -> 'Column':
        """Take some queries, by mask."""
        return Column(self.metric, self.values[rows])

    def mean(self) -> float:
        """Average in the sense of the metric: a mean, a median, a harmonic mean of means."""
        return float(self.metric.reduce(self.values))


def check_measures(templates: Iterable[str]) -> None:
    """Refuse a measure that is not known.

    Args:
        templates: Names such as ``'recall@k'``.

    Raises:
        QueryError: If a name is not a measure; the message lists those that are.
    """
    for name in templates:
        if name not in METRICS:
            raise QueryError(
                f'{name!r} is not a measure: choose one of {", ".join(METRICS)}; k stays a letter'
            )


def expand(templates: Iterable[str], cuts: Iterable[int]) -> list[str]:
    """Write the names of a report: ``recall@k`` at each cut-off.

    Args:
        templates: Names of measures.
        cuts: Cut-offs.

    Returns:
        Names such as ``'recall@10'``, in the order of the templates.
    """
    return list(_named(templates, cuts))


def formulas(templates: Iterable[str]) -> dict[str, str]:
    """Give the formula of each measure by its name: several have much the same name.

    Args:
        templates: Names of measures.

    Returns:
        Name, with the letter k, to formula.
    """
    return {name: METRICS[name].formula for name in templates}


def measure(
    ranking: Ranking, pool: Pool, templates: Iterable[str], cuts: Iterable[int]
) -> dict[str, Measured]:
    """Score each query.

    Args:
        ranking: The rankings.
        pool: What they were drawn from.
        templates: Names of measures.
        cuts: Cut-offs.

    Returns:
        Name to value and chance of each query; both NaN where nothing is relevant, chance NaN
        where no formula is known.
    """
    done: dict[str, Measured] = {}
    for name, (metric, k) in _named(templates, cuts).items():
        values = metric.values(ranking, k)
        level = CHANCE.get(metric.name)
        chance = np.full(values.shape, np.nan) if level is None else level(pool, k)
        done[name] = values, chance
    return done


def columns(
    parts: Sequence[Mapping[str, Measured]],
    templates: Iterable[str],
    cuts: Iterable[int],
) -> dict[str, tuple[Column, Column]]:
    """Combine what :func:`measure` gave for some queries at a time.

    Args:
        parts: At least one.
        templates: Names of measures.
        cuts: Cut-offs.

    Returns:
        Name to value and chance of all queries.
    """
    whole = {}
    for name, (metric, _) in _named(templates, cuts).items():
        values, chance = (np.concatenate([p[name][i] for p in parts]) for i in (0, 1))
        whole[name] = Column(metric, values), Column(metric, chance)
    return whole


def _named(
    templates: Iterable[str], cuts: Iterable[int]
) -> dict[str, tuple[RankingMetric, int]]:
    """Give the metric and cut-off behind each name of a report, in order."""
    cuts = list(cuts)
    found: dict[str, tuple[RankingMetric, int]] = {}
    for template in templates:
        for k in cuts:
            found.setdefault(METRICS[template].label(k), (METRICS[template], k))
    return found
