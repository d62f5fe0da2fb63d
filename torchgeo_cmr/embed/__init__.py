"""From rasters and a trained encoder to a table of vectors with exact footprints."""

from torchgeo_cmr.embed.config import open_data
from torchgeo_cmr.embed.encode import Encoding
from torchgeo_cmr.embed.files import find_files, kind_of
from torchgeo_cmr.embed.images import embed_images
from torchgeo_cmr.embed.inputs import list_scenes
from torchgeo_cmr.embed.item import Batch, Encoder, embed_item, read_item
from torchgeo_cmr.embed.pairs import embed_pairs
from torchgeo_cmr.embed.plan import Plan, WorkItem, plan_scenes
from torchgeo_cmr.embed.published import from_dataset
from torchgeo_cmr.embed.report import RefusedWarning, read_report
from torchgeo_cmr.embed.run import embed
from torchgeo_cmr.embed.scene import open_dataset
from torchgeo_cmr.embed.sound import embed_sounds
from torchgeo_cmr.embed.stack import stack_dates
from torchgeo_cmr.embed.to_onnx import export_onnx

__all__ = (
    'Batch',
    'Encoder',
    'Encoding',
    'Plan',
    'RefusedWarning',
    'WorkItem',
    'embed',
    'embed_images',
    'embed_item',
    'embed_pairs',
    'embed_sounds',
    'export_onnx',
    'find_files',
    'from_dataset',
    'kind_of',
    'list_scenes',
    'open_data',
    'open_dataset',
    'plan_scenes',
    'read_item',
    'read_report',
    'stack_dates',
)
