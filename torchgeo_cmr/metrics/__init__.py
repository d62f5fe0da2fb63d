"""Metrics: pure functions of ranked relevance (NumPy), and what training watches (torch).

Importing this package, or :mod:`torchgeo_cmr.metrics.functional`, does not load torch; the
names below that need it are loaded when they are first used.
"""

from typing import TYPE_CHECKING

import torchgeo_cmr.lazy as lazily

if TYPE_CHECKING:
    from .gallery_hubs import hubness
    from .health import CollapseWarning, embedding_health, verdict
    from .label_retrieval import LabelRetrieval
    from .retrieval import CrossModalRetrieval

__all__ = (
    'CollapseWarning',
    'CrossModalRetrieval',
    'LabelRetrieval',
    'embedding_health',
    'hubness',
    'verdict',
)

_HOMES = {
    'CollapseWarning': 'health',
    'CrossModalRetrieval': 'retrieval',
    'LabelRetrieval': 'label_retrieval',
    'embedding_health': 'health',
    'hubness': 'gallery_hubs',
    'verdict': 'health',
}

__getattr__, __dir__ = lazily.lazy(__name__, _HOMES, __all__)
