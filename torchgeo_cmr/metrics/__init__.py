"""Metrics: pure functions of ranked relevance (NumPy), and what training watches (torch).

Importing this package, or :mod:`torchgeo_cmr.metrics.functional`, does not load torch; the
names below that need it are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    """Load a name that needs torch when it is first used."""
    if name in _HOMES:
        return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    """List the lazy names along with the loaded ones."""
    return sorted({*globals(), *__all__})
