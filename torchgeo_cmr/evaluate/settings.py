"""Settings of a report: checked, completed by its protocol, and turned into rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search.number_checks import is_whole
from torchgeo_cmr.table import EmbeddingTable

from .groups import GROUPINGS
from .label_rule import Match
from .measure import DEFAULT, OF_LABELS, check_measures
from .protocol import PROTOCOLS, ExcludeSelf, Protocol, Similarity, get_protocol


def settle(
    given: Protocol | str | None,
    k: Iterable[int] | None,
    metrics: Iterable[str] | None,
    directions: str | Iterable[str] | None,
    exclude_self: ExcludeSelf | None,
    split: str | None,
    column: str | None,
) -> tuple[Protocol, list[str]]:
    """Put the settings into a protocol.

    Args:
        given: A protocol, the name of one, or None.
        k: Cut-offs, or None for those of the protocol.
        metrics: Measures, or None; without a published protocol, ``f1@k`` is added if
            labels are known.
        directions: Directions, or None.
        exclude_self: What a query may not find, or None.
        split: Split of queries and archive, or None.
        column: Column of labels.

    Returns:
        The protocol, and a note if a published one was changed.

    Raises:
        QueryError: If there is none of this name.
    """
    base = get_protocol(given) if isinstance(given, str) else given or Protocol()
    # A published protocol keeps its name when a caller has changed it already.
    published = PROTOCOLS.get(base.name, base)
    unnamed = base.name == Protocol().name
    if unnamed and base.metrics == DEFAULT and metrics is None and column is not None:
        base = replace(base, metrics=(*base.metrics, 'f1@k', 'f1@k_of_means'))
    if k is not None and not isinstance(k, Iterable):
        k = (k,)
    if k is not None:  # whole numbers of NumPy are not those of JSON
        k = tuple(int(cut) if is_whole(cut) else cut for cut in k)
    if isinstance(metrics, str):
        metrics = (metrics,)
    made = replace(
        base,
        k=base.k if k is None else k,
        metrics=base.metrics if metrics is None else tuple(metrics),
        exclude_self=base.exclude_self if exclude_self is None else exclude_self,
        query_split=base.query_split if split is None else split,
        archive_split=base.archive_split if split is None else split,
    )
    if directions is not None:
        words = directions if isinstance(directions, str) else tuple(directions)
        made = replace(made, directions=words)
    same = unnamed or made == published
    return made, [] if same else [f'the settings of {base.name} were changed']


def check_rule(protocol: Protocol, match: Match | None) -> None:
    """Refuse a rule that is not the one of a protocol.

    Args:
        protocol: The protocol.
        match: How the rule compares labels; None if it is about ground.

    Raises:
        QueryError: If the protocol judges otherwise.
    """
    wanted = protocol.match
    word = {None: 'label', 'any': 'label', 'exact': 'exact', 'jaccard': 'jaccard'}[
        wanted
    ]
    if protocol.labels and match is None:
        raise QueryError(
            f'the protocol {protocol.name} judges by label, not by ground: use {word}:COLUMN'
        )
    if wanted is not None and match != wanted:
        raise QueryError(
            f'the protocol {protocol.name} compares labels by {wanted!r}, found {match!r}: use '
            f'{word}:COLUMN'
        )


def check_cuts(cuts: Sequence[int]) -> None:
    """Refuse cut-offs that are no ranks.

    Args:
        cuts: Values of k.

    Raises:
        QueryError: If there is none, or one is not a whole number of at least 1.
    """
    if not cuts or not all(is_whole(k) and k >= 1 for k in cuts):
        raise QueryError(f'k is {cuts}: give whole numbers of at least 1')


def check_settings(
    protocol: Protocol,
    column: str | None,
    by: Sequence[str],
    bootstrap: int,
    seed: int = 0,
) -> None:
    """Refuse settings that mean nothing, before anything is ranked.

    Args:
        protocol: The protocol.
        column: Column of labels.
        by: Breakdowns.
        bootstrap: Resamples.
        seed: Of the resamples.

    Raises:
        QueryError: If a name is not known, a number out of range, or labels are missing.
    """
    check_measures(protocol.metrics)
    for kinds, value in (
        (ExcludeSelf, protocol.exclude_self),
        (Similarity, protocol.similarity),
    ):
        if value not in get_args(kinds):
            raise QueryError(f'{value!r} is not one of {", ".join(get_args(kinds))}')
    check_cuts(protocol.k)
    for what, number in (('number of resamples', bootstrap), ('seed', seed)):
        if not is_whole(number) or number < 0:
            raise QueryError(
                f'the {what} is a whole number of at least 0 (found {number!r})'
            )
    for word in by:
        if word not in GROUPINGS:
            raise QueryError(
                f'{word!r} is not a breakdown: choose one of {", ".join(GROUPINGS)}'
            )
    needs = [*({*protocol.metrics} & {*OF_LABELS}), *({*by} & {'class'})]
    if column is None and needs:
        raise QueryError(
            f'{min(needs)} needs labels: name their column, or use a rule that has one'
        )


def split_rows(
    queries: EmbeddingTable, archive: EmbeddingTable, protocol: Protocol, required: bool
) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Give the rows of the split and the tile that a protocol names.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        protocol: The protocol.
        required: Whether both must have splits.

    Returns:
        Rows of the queries and of the archive, and what could not be checked or is mixed.

    Raises:
        ArchiveError: If a table has splits, but no row of this one, or no such tile.
    """
    kept, notes = [], []
    for table, split, name in (
        (queries, protocol.query_split, 'queries'),
        (archive, protocol.archive_split, 'archive'),
    ):
        rows = np.arange(len(table))
        if split is not None and 'split' in table.frame:
            rows = np.flatnonzero(marked(table, 'split', split))
            if not len(rows):
                found = ', '.join(map(str, table.frame['split'].unique()))
                needs = '' if required else f', which {protocol.name} needs'
                raise ArchiveError(
                    f'no row of the {name} has split {split!r}{needs}: found {found}'
                )
        elif split is not None and required:
            raise ArchiveError(
                f'there is no column split in the {name}, so no row is known to be {split!r}: '
                'leave split out, or embed pairs with their YAML, which fills it'
            )
        elif split is not None:
            notes.append(
                f'the {name} have no column split: that all are {split!r} is not checked'
            )
        elif mixed := _trained_among(table):
            notes.append(
                f'among the {name} are rows of training ({mixed}), and all count: split takes '
                'those of one'
            )
        if protocol.tile is not None:
            rows = rows[_in_tile(table, protocol.tile, name)[rows]]
        kept.append(rows)
    return kept, notes


def marked(table: EmbeddingTable, column: str, word: str) -> NDArray[np.bool_]:
    """Mark the rows that have a word, or a number that is written so; none where there is no such column."""
    if column not in table.frame:
        return np.zeros(len(table), bool)
    values = table.frame[column]
    return (values.notna() & (values.astype(str) == str(word))).to_numpy(bool)


def _trained_among(table: EmbeddingTable) -> str:
    """Count the rows of each split where those of training are among others; else nothing."""
    if 'split' not in table.frame:
        return ''
    counts = table.frame['split'].value_counts(sort=False)
    if 'train' not in counts.index or len(counts) < 2:
        return ''
    return ', '.join(f'{name} {count}' for name, count in counts.items())


def _in_tile(table: EmbeddingTable, tile: str, name: str) -> NDArray[np.bool_]:
    """Mark the rows of a tile."""
    inside = marked(table, 'tile', tile)
    if not inside.any():
        raise ArchiveError(
            f'no row of the {name} has {tile!r} in a column tile: embed the pairs of BEN14K, '
            'which fills it, or add the column'
        )
    return inside


def pairs(
    queries: EmbeddingTable, archive: EmbeddingTable, wanted: str | Iterable[str]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    """Give the directions between the modalities of two tables.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        wanted: ``'all'``, ``'cross'``, ``'same'``, or words such as ``'s1->s2'``.

    Yields:
        Name, rows of the queries and rows of the archive.

    Raises:
        ArchiveError: If a table is empty or has rows without a modality.
        QueryError: If there is no such direction.
    """
    rows: list[dict[str, NDArray[np.int64]]] = []
    for table, name in ((queries, 'queries'), (archive, 'archive')):
        kinds = table.frame['modality']
        if kinds.isna().any() or not len(table):
            raise ArchiveError(
                f'the {name} are empty or hold rows without a modality; fill that column'
            )
        rows.append(
            {str(m): np.flatnonzero(kinds == m) for m in sorted(kinds.unique())}
        )
    known = [(a, b) for a in rows[0] for b in rows[1]]
    if wanted == 'all':
        chosen = known
    elif wanted in ('cross', 'same'):
        chosen = [(a, b) for a, b in known if (a == b) == (wanted == 'same')]
    else:
        words = [wanted] if isinstance(wanted, str) else list(wanted)
        chosen = []
        for word in words:
            a, _, b = word.partition('->')
            if (a, b) not in known:
                raise QueryError(
                    f'{word!r} is not a direction of these tables: choose all, cross, '
                    f'same or one of {", ".join(f"{a}->{b}" for a, b in known)}'
                )
            chosen.append((a, b))
    if not chosen:
        raise QueryError(
            f'there is no {wanted} direction between {", ".join(rows[0])} and '
            f'{", ".join(rows[1])}'
        )
    for a, b in chosen:
        yield f'{a}->{b}', rows[0][a], rows[1][b]
