"""From rasters and a trained encoder to a table of vectors with exact footprints."""

from torchgeo_cmr.embed.centred import center_archive
from torchgeo_cmr.embed.encoder_record import Encoder
from torchgeo_cmr.embed.files.file_kinds import find_files, kind_of
from torchgeo_cmr.embed.files.images import embed_images
from torchgeo_cmr.embed.files.sound import embed_sounds
from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.embed.onnx import export_onnx
from torchgeo_cmr.embed.pairs.config import open_data
from torchgeo_cmr.embed.pairs.pair_rows import embed_pairs
from torchgeo_cmr.embed.published_embeddings import from_dataset
from torchgeo_cmr.embed.run import embed
from torchgeo_cmr.embed.run_report import RefusedWarning, read_report
from torchgeo_cmr.embed.scenes.archive_plan import Plan, plan_scenes
from torchgeo_cmr.embed.scenes.inputs import list_scenes
from torchgeo_cmr.embed.scenes.item import embed_item
from torchgeo_cmr.embed.scenes.patch_batches import Batch, read_item
from torchgeo_cmr.embed.scenes.pixel_statistics import measure_pixels
from torchgeo_cmr.embed.scenes.torchgeo_dataset import open_dataset
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.embed.time_stack import stack_dates

__all__ = (
    'Batch',
    'Encoder',
    'Encoding',
    'Plan',
    'RefusedWarning',
    'WorkItem',
    'center_archive',
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
    'measure_pixels',
    'open_data',
    'open_dataset',
    'plan_scenes',
    'read_item',
    'read_report',
    'stack_dates',
)
