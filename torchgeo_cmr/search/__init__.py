"""Search: filter an archive by place, time and attributes, then rank what is left."""

from typing import TYPE_CHECKING

import torchgeo_cmr.lazy as lazily
from torchgeo_cmr.search.queries.lookup import at, from_ids, patch_ids, similar_ids
from torchgeo_cmr.search.queries.places import from_places
from torchgeo_cmr.search.where.where import Step, Where

from .archives import open_archives
from .index import Explanation, RetrievalIndex
from .results import RESULT_COLUMNS, check_result

if TYPE_CHECKING:
    from torchgeo_cmr.search.answers.change import changes
    from torchgeo_cmr.search.answers.hubs import HubFree
    from torchgeo_cmr.search.answers.near_duplicates import duplicates, near_duplicates
    from torchgeo_cmr.search.answers.rank_fusion import fuse
    from torchgeo_cmr.search.answers.ranking_rules import Ranking
    from torchgeo_cmr.search.answers.rerank import rerank
    from torchgeo_cmr.search.postgres.part_loader import load_archive
    from torchgeo_cmr.search.postgres.server_check import describe_server, verify_server
    from torchgeo_cmr.search.queries.blend import blend
    from torchgeo_cmr.search.queries.examples import from_examples
    from torchgeo_cmr.search.queries.feedback import from_feedback
    from torchgeo_cmr.search.store.index_check import verify_index
    from torchgeo_cmr.search.store.index_summary import describe_index

    from .alignment import Alignment
    from .estimates import Way, capacity
    from .hashing import Hash

__all__ = (
    'RESULT_COLUMNS',
    'Alignment',
    'Explanation',
    'Hash',
    'HubFree',
    'Ranking',
    'RetrievalIndex',
    'Step',
    'Way',
    'Where',
    'at',
    'blend',
    'capacity',
    'changes',
    'check_result',
    'describe_index',
    'describe_server',
    'duplicates',
    'from_examples',
    'from_feedback',
    'from_ids',
    'from_places',
    'fuse',
    'load_archive',
    'near_duplicates',
    'open_archives',
    'patch_ids',
    'rerank',
    'similar_ids',
    'verify_index',
    'verify_server',
)

#: Names that most searches do without -> their modules, loaded when first used: a command
#: that searches once starts sooner.
_HOMES = {
    'Alignment': 'alignment',
    'Hash': 'hashing',
    'HubFree': 'answers.hubs',
    'Ranking': 'answers.ranking_rules',
    'Way': 'estimates',
    'blend': 'queries.blend',
    'capacity': 'estimates',
    'changes': 'answers.change',
    'describe_index': 'store.index_summary',
    'describe_server': 'postgres.server_check',
    'duplicates': 'answers.near_duplicates',
    'from_examples': 'queries.examples',
    'from_feedback': 'queries.feedback',
    'fuse': 'answers.rank_fusion',
    'load_archive': 'postgres.part_loader',
    'near_duplicates': 'answers.near_duplicates',
    'rerank': 'answers.rerank',
    'verify_index': 'store.index_check',
    'verify_server': 'postgres.server_check',
}

__getattr__, __dir__ = lazily.lazy(__name__, _HOMES, __all__)
