"""Argument names of other libraries, with ours as suggestions."""

import functools
import inspect
from collections.abc import Callable

from torchgeo_cmr.errors import QueryError

#: What others call an argument -> what it is here; the first that a function has.
_OURS = {
    **dict.fromkeys(
        ('top_k', 'topk', 'n', 'num', 'limit', 'n_results', 'max_results', 'count'),
        ('k',),
    ),
    **dict.fromkeys(
        ('bbox', 'box', 'area', 'aoi', 'roi', 'shape', 'polygon', 'bounds', 'geom'),
        ('geometry', 'where'),
    ),
    **dict.fromkeys(
        ('filter', 'filters', 'condition', 'conditions', 'expression'), ('where',)
    ),
    **dict.fromkeys(
        ('query', 'embedding', 'embeddings', 'vector', 'vectors'),
        ('queries', 'vectors', 'where'),
    ),
    **dict.fromkeys(
        ('time', 'date', 'dates', 'datetime', 'start', 'end', 'period', 'toi'),
        ('during',),
    ),
    **dict.fromkeys(('threshold', 'min_similarity', 'score_threshold'), ('min_score',)),
    **dict.fromkeys(('overlap', 'min_iou'), ('min_overlap',)),
    **dict.fromkeys(('srs', 'epsg'), ('crs',)),
    'queries': ('vectors',),
    'month': ('months',),
    'approximate': ('exact',),
    'include_self': ('exclude',),
    'exclude_self': ('exclude',),
    'exclude_metres': ('exclude',),
}


def named[**P, R](call: Callable[P, R]) -> Callable[P, R]:
    """Answer an argument of an unknown name, or one too many, by what to write.

    Args:
        call: A function, or the ``__init__`` of a class.

    Raises:
        QueryError: When ``call`` is called with such an argument.
    """
    known = inspect.signature(call).parameters
    name = (
        str(getattr(call, '__qualname__', 'it'))
        .removesuffix('.__init__')
        .split('.')[-1]
    )
    plain = [
        parameter.name
        for parameter in known.values()
        if parameter.kind != parameter.KEYWORD_ONLY
    ]
    rest = [parameter for parameter in known if parameter not in (*plain, 'self')]

    @functools.wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for word in kwargs:
            if word not in known:
                raise QueryError(_answer(name, word, tuple(known)))
        if len(args) > len(plain):
            raise QueryError(
                f'{name} takes {len(plain) - 1} values without a name at most; name the others: '
                f'{", ".join(rest)}'
            )
        return call(*args, **kwargs)

    return checked


def _answer(name: str, word: str, known: tuple[str, ...]) -> str:
    """Say what to write in place of a word."""
    ours = [word_known for word_known in _OURS.get(word, ()) if word_known in known]
    mine = [word_known for word_known in known if word_known != 'self']
    if ours:
        return f'{name} has no argument {word}; write {ours[0]}=...'
    if name == 'Where':
        return (
            f'Where has no argument {word}; compare a column by where="{word} = ..."; the '
            f'arguments are {", ".join(mine)}'
        )
    if 'where' in known and (word in _CLAUSES or 'during' in _OURS.get(word, ())):
        clause = word if word in _CLAUSES else 'during'
        return f'{name} has no argument {word}; write where=Where({clause}=...)'
    return f'{name} has no argument {word}; there are {", ".join(mine)}'


#: Arguments of a filter, which a search does not have.
_CLAUSES = frozenset(
    (
        'beyond',
        'crs',
        'days',
        'during',
        'geometry',
        'layer',
        'min_overlap',
        'months',
        'near',
        'predicate',
        'undated',
    )
)
