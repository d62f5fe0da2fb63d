"""Rules of relevance as one word, for the command line and reports."""

import re
from dataclasses import dataclass, replace
from typing import get_args

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .label_rule import Match, shares_label
from .offset import within_days
from .place_rule import Relevance, near_place, same_place, within_distance

_FORMS = (
    'place, place>=IOU, near, near:WIDTHS, label:COLUMN, exact:COLUMN, '
    'jaccard:COLUMN>=SHARE, distance:METRES or raster:FILE; after place, near or distance '
    'also +days:NUMBER'
)
#: Column that holds the classes of a raster.
RASTER_COLUMN = 'raster_class'


@dataclass(frozen=True)
class Rule:
    """A rule of relevance with its settings.

    Args:
        kind: ``'place'``, ``'near'``, ``'distance'``, ``'any'``, ``'exact'`` or
            ``'jaccard'``.
        value: Smallest IoU of ``place``, widths of ``near``, metres of ``distance``, smallest
            index of ``jaccard``.
        column: Column of labels.
        file: Raster that the column is made of, if it is.
        days: Largest time between the acquisitions, for rules about ground; None for any.

    Examples:
        >>> Rule.parse('near:1.5+days:5')
        Rule(kind='near', value=1.5, column=None, file=None, days=5.0)
    """

    kind: str
    value: float = 0.0
    column: str | None = None
    file: str | None = None
    days: float | None = None

    @classmethod
    def parse(cls, word: str) -> 'Rule':
        """Read a rule from a word.

        Args:
            word: ``place`` (IoU of at least one half), ``place>=0.3``, ``near`` (one patch
                width), ``near:2``, ``label:COLUMN``, ``exact:COLUMN``,
                ``jaccard:COLUMN>=0.5``, ``distance:METRES`` or ``raster:FILE``; rules about
                ground may end in ``+days:5``, and items without a date are then not relevant.

        Raises:
            QueryError: If the word is not a rule.
        """
        number = r'(\d+\.?\d*(?:e\d+)?|\.\d+)'
        if found := re.fullmatch(
            rf'((?:place|near|distance)\b.*)\+days:{number}', word
        ):
            return replace(cls.parse(found[1]), days=float(found[2]))
        name, _, rest = word.partition(':')
        if name == 'raster' and rest:
            return cls('any', column=RASTER_COLUMN, file=rest)
        if name in ('label', 'exact') and rest:
            return cls('any' if name == 'label' else 'exact', column=rest)
        if found := re.fullmatch(rf'jaccard:(.+)>={number}', word):
            return cls('jaccard', _share(found[2], word), column=found[1].strip())
        if found := re.fullmatch(rf'place(?:>={number})?', word):
            return cls('place', _share(found[1] or '0.5', word))
        if found := re.fullmatch(rf'near(?::{number})?', word):
            return cls('near', float(found[1] or 1))
        if found := re.fullmatch(rf'distance:{number}', word):
            return cls('distance', float(found[1]))
        raise QueryError(f'{word!r} is not a rule of relevance: write {_FORMS}')

    @property
    def match(self) -> Match | None:
        """How label sets are compared; None if the rule is about ground."""
        return next((m for m in get_args(Match) if m == self.kind), None)

    def __str__(self) -> str:
        """Say the rule in words."""
        if self.days is not None:
            return f'{replace(self, days=None)}, taken at most {self.days:g} days apart'
        source = f'column {self.column}' if self.file is None else f'raster {self.file}'
        return {
            'place': f'footprints overlap with an IoU of at least {self.value:g}',
            'near': f'footprints at most {self.value:g} patch widths apart',
            'distance': f'footprints at most {self.value:g} m apart (geodesic)',
            'any': f'a label in common ({source})',
            'exact': f'the same labels ({source})',
            'jaccard': f'Jaccard index of the labels at least {self.value:g} ({source})',
        }[self.kind]

    def __call__(self, queries: EmbeddingTable, archive: EmbeddingTable) -> Relevance:
        """Judge all items for all queries: bool (queries, items)."""
        if self.days is not None:
            near = replace(self, days=None)(queries, archive)
            return near & within_days(queries, archive, self.days)
        if self.kind == 'place':
            return same_place(queries, archive, iou=self.value)
        if self.kind == 'near':
            return near_place(queries, archive, widths=self.value)
        if self.kind == 'distance':
            return within_distance(queries, archive, self.value)
        if self.match is None or self.column is None:
            raise QueryError(f'{self.kind!r} is not a kind of rule that has a column')
        return shares_label(
            queries, archive, self.column, match=self.match, threshold=self.value or 0.5
        )


def _share(number: str, word: str) -> float:
    if not 0 < (share := float(number)) <= 1:
        raise QueryError(f'{word!r} has the share {share:g}: give one above 0, up to 1')
    return share
