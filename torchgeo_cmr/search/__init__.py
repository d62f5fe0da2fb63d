"""Search: filter an archive by place, time and attributes, then rank what is left."""

from .filters import Step, Where
from .index import Explanation, RetrievalIndex
from .query import at, from_ids, similar_ids
from .results import RESULT_COLUMNS, check_result

__all__ = (
    'RESULT_COLUMNS',
    'Explanation',
    'RetrievalIndex',
    'Step',
    'Where',
    'at',
    'check_result',
    'from_ids',
    'similar_ids',
)
