"""Evaluation of one table as queries on another, under a stated rule of relevance.

There is no default rule: the same ranking scores very differently when "relevant" means the
same place and when it means the same land cover. Every score comes with the level a random
ranking would reach.
"""

from typing import TYPE_CHECKING

import torchgeo_cmr.lazy as lazily
from torchgeo_cmr.table.distance import metres_between
from torchgeo_cmr.table.provenance import fingerprint

from .blocks import cells
from .directions import make_report
from .label_rule import LabelSets, label_sets, same_label, shares_label
from .leak import near_area
from .offset import days_between, within_days
from .place_rule import near_place, same_patch, same_place, within_distance
from .protocol import PROTOCOLS, Protocol, get_protocol, with_distance
from .raw_features import feature_report, raw_features
from .report import Report
from .rule import Rule
from .score import evaluate

if TYPE_CHECKING:
    from .plot_folder import write_plots
    from .raster_labels import labels_from_raster
    from .recall_curve import plot_recall

__all__ = (
    'PROTOCOLS',
    'LabelSets',
    'Protocol',
    'Report',
    'Rule',
    'cells',
    'days_between',
    'evaluate',
    'feature_report',
    'fingerprint',
    'get_protocol',
    'label_sets',
    'labels_from_raster',
    'make_report',
    'metres_between',
    'near_area',
    'near_place',
    'plot_recall',
    'raw_features',
    'same_label',
    'same_patch',
    'same_place',
    'shares_label',
    'with_distance',
    'within_days',
    'within_distance',
    'write_plots',
)

#: Names that need rasterio or draw.
_HOMES = {
    'labels_from_raster': 'raster_labels',
    'plot_recall': 'recall_curve',
    'write_plots': 'plot_folder',
}

__getattr__, __dir__ = lazily.lazy(__name__, _HOMES, __all__)
