"""From rasters and a trained encoder to a table of vectors with exact footprints."""

from torchgeo_cmr.embed.item import Batch, Encoder, embed_item, read_item
from torchgeo_cmr.embed.plan import Plan, WorkItem, plan_scenes
from torchgeo_cmr.embed.run import embed
from torchgeo_cmr.embed.scene import open_dataset

__all__ = (
    'Batch',
    'Encoder',
    'Plan',
    'WorkItem',
    'embed',
    'embed_item',
    'open_dataset',
    'plan_scenes',
    'read_item',
)
