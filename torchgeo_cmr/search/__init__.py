"""Search: filter an archive by place, time and attributes, then rank what is left."""

from .archives import open_archives
from .blend import blend
from .change import changes
from .describe import describe_index
from .examples import from_examples
from .feedback import from_feedback
from .filters import Step, Where
from .fuse import fuse
from .groups import duplicates, near_duplicates
from .hashing import Hash
from .hubs import HubFree
from .index import Explanation, RetrievalIndex
from .query import at, from_ids, from_places, patch_ids, similar_ids
from .rerank import rerank
from .results import RESULT_COLUMNS, check_result

__all__ = (
    'RESULT_COLUMNS',
    'Explanation',
    'Hash',
    'HubFree',
    'RetrievalIndex',
    'Step',
    'Where',
    'at',
    'blend',
    'changes',
    'check_result',
    'describe_index',
    'duplicates',
    'from_examples',
    'from_feedback',
    'from_ids',
    'from_places',
    'fuse',
    'near_duplicates',
    'open_archives',
    'patch_ids',
    'rerank',
    'similar_ids',
)
