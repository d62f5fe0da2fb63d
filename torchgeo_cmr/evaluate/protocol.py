"""Published evaluation protocols by name, so that numbers can be compared with the papers'."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from torchgeo_cmr.errors import QueryError

from .label_rule import Match
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
        match: How labels must be compared; None if any rule of labels will do.
        tile: Tile of which both sides must be (column ``tile``); None for all.
        unknown: What the source leaves open, and what is done here in its place.
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
    match: Match | None = None
    tile: str | None = None
    unknown: str = ''


_CSMAE = Protocol(
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
    source='BEN-14K as in the code of CSMAE (arXiv 2401.07782), whose F1 at 10 is '
    'f1@10_of_means: queries from validation, archive from test',
)
_CR_JEPA = Protocol(
    'dsrsid-cr-jepa',
    'test',
    'test',
    k=(5,),
    metrics=('map', 'precision@k'),
    labels=True,
    match='any',
    source='DSRSID as in CR-JEPA (arXiv 2606.00706): same class, average precision over the '
    'whole archive, P@5, a query cannot find itself',
    unknown='its split; queries and archive are the test pairs of our own',
)
_IBM = Protocol(
    'bigearthnet-ibm-any',
    'val',
    'test',
    k=(20,),
    metrics=('map@k_hits', 'precision@k'),
    exclude_self='none',
    directions='same',
    labels=True,
    match='any',
    source='BigEarthNet v1 as in the benchmark of IBM (arXiv 2403.02059), Sentinel-2 only: a '
    'label in common, average precision over the hits among the first 20; queries from '
    'validation, archive from test',
    unknown='scores at or below 0 count as misses in torchmetrics, by which it was measured; '
    'here they are ranked as all others',
)

PROTOCOLS = {
    published.name: published
    for published in (
        _CSMAE,
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
            'ben14k-x-jepa',
            'test',
            'test',
            k=(5,),
            metrics=('f1@k',),
            labels=True,
            match='any',
            source='BEN-14K as in X-JEPA (WACV 2026) and CR-JEPA (arXiv 2606.00706): mean F1 of '
            'the labels of the first 5, a query cannot find itself',
            unknown='the splits of queries and archive; both are test here',
        ),
        Protocol(
            'ben14k-34tcs',
            'test',
            'test',
            metrics=('f1@k', 'map@k', 'map'),
            labels=True,
            match='any',
            tile='34TCS',
            source='BEN-14K without tile 34TCS in training, judged on that tile alone, as entries '
            'of a national challenge of 2026 report it (unreviewed): F1 at 5 and 10',
            unknown='which pairs of the tile are queries and archive, and which F1 is meant; '
            'here all 628 are both, and F1 is the mean of items',
        ),
        replace(
            _CSMAE,
            name='bigearthnet-v2',
            source='Ours: BigEarthNet v2 (arXiv 2407.03653), whose splits are geographic, with '
            'the measures of ben14k-csmae',
        ),
        _IBM,
        replace(
            _IBM,
            name='bigearthnet-ibm-exact',
            match='exact',
            source=_IBM.source.replace('a label in common', 'the same labels'),
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
        _CR_JEPA,
        replace(
            _CR_JEPA,
            name='cbrsir-vs',
            source=_CR_JEPA.source.replace('DSRSID', 'CBRSIR_VS'),
        ),
        Protocol(
            'ucmerced-speech',
            'test',
            'test',
            similarity='euclidean',
            k=(10,),
            metrics=('map', 'precision@k', 'map_cmir'),
            directions='cross',
            labels=True,
            match='any',
            source='UC-Merced and spoken labels as in CMIR-NET (arXiv 1904.04794): a word is '
            'relevant to the images that have its label',
            unknown='the formula of its mAP (its scripts average P@10 to P@100, map_cmir, and '
            'judge by the wrong labels), its recordings, and its split',
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
        name: A name of :data:`PROTOCOLS`.

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
