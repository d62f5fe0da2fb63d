"""Published evaluation protocols by name, so that numbers can be compared with the papers'."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from torchgeo_cmr.errors import QueryError

from .measure import DEFAULT

#: What a query may not find: its own patch, its own patch and place, or nothing.
ExcludeSelf = Literal['same_modality', 'all', 'none']
Similarity = Literal['cosine', 'euclidean', 'chi_square']


@dataclass(frozen=True)
class Protocol:
    """How rankings are made and scored.

    Args:
        name: Name in a report.
        query_split: Split of the queries; None if it is the user's.
        archive_split: Split of the archive.
        similarity: ``'cosine'``, ``'euclidean'`` (distance) or ``'chi_square'`` (distance
            of features that are nowhere negative).
        k: Cut-offs.
        metrics: Names of measures, with the letter k.
        exclude_self: ``'same_modality'``: a query never finds its own patch, but may find its
            pair in the other modality. ``'all'``: nor anything of its own place. ``'none'``.
        directions: ``'all'``, ``'cross'`` (a->b, b->a) or ``'same'`` (a->a, b->b).
        labels: Whether relevance must be by label.
        source: Whose protocol it is, and what is ours in it.
    """

    name: str = 'own'
    query_split: str | None = None
    archive_split: str | None = None
    similarity: Similarity = 'cosine'
    k: tuple[int, ...] = (5, 10)
    metrics: tuple[str, ...] = DEFAULT
    exclude_self: ExcludeSelf = 'same_modality'
    directions: str | tuple[str, ...] = 'all'
    labels: bool = False
    source: str = ''


PROTOCOLS = {
    published.name: published
    for published in (
        Protocol(
            'ben14k-csmae',
            'val',
            'test',
            metrics=(
                'f1@k',
                'f1@k_of_means',
                'item_precision@k',
                'item_recall@k',
                'map@k',
                'map',
            ),
            labels=True,
            source='BEN-14K as in the code of CSMAE: queries from validation, archive from test',
        ),
        Protocol(
            'ben14k-precursor',
            'train',
            'test',
            similarity='chi_square',
            k=(8, 16, 32, 64, 128, 1000),
            metrics=('map@k_hits', 'item_precision@k', 'item_recall@k'),
            exclude_self='none',
            directions='same',
            labels=True,
            source='BEN-14K as in the code before SS-CM-RSIR: queries from train, archive from '
            'test, on fused features, average precision over the hits found',
        ),
        Protocol(
            'dsrsid',
            'test',
            'test',
            similarity='euclidean',
            metrics=('map', 'precision@k', 'map_cmir'),
            labels=True,
            source='DSRSID: queries and archive from test, same class; published split unknown',
        ),
    )
}


def with_distance(protocol: str | None, distance: str | None) -> Protocol | str | None:
    """Rank by another distance than a protocol does.

    Args:
        protocol: Name of a published protocol, or None.
        distance: ``'cosine'``, ``'euclidean'`` or ``'chi_square'``; None to change nothing.

    Returns:
        What :func:`make_report` takes as *protocol*.

    Raises:
        QueryError: If there is none of this name, or no such distance.
    """
    if distance is None:
        return protocol
    for known in get_args(Similarity):
        if distance == known:
            base = Protocol() if protocol is None else get_protocol(protocol)
            return replace(base, similarity=known)
    raise QueryError(
        f'{distance!r} is not a distance: choose one of {", ".join(get_args(Similarity))}'
    )


def get_protocol(name: str) -> Protocol:
    """Look a protocol up.

    Args:
        name: ``'ben14k-csmae'``, ``'ben14k-precursor'`` or ``'dsrsid'``.

    Returns:
        The protocol.

    Raises:
        QueryError: If there is none of this name.
    """
    if name not in PROTOCOLS:
        raise QueryError(
            f'there is no protocol {name!r}: choose one of {", ".join(PROTOCOLS)}'
        )
    return PROTOCOLS[name]
