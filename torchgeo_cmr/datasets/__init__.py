"""Datasets: paired modalities, images and speech, benchmarks, and a synthetic world."""

from torchgeo_cmr.datasets.benchmarks.ben14k import BEN14K
from torchgeo_cmr.datasets.benchmarks.bigearthnet import (
    BIGEARTHNET_STATISTICS,
    BigEarthNetPairs,
)
from torchgeo_cmr.datasets.benchmarks.cbrsir_vs import CBRSIRVS
from torchgeo_cmr.datasets.benchmarks.chips import ChipPairs
from torchgeo_cmr.datasets.benchmarks.dsrsid import DSRSID
from torchgeo_cmr.datasets.benchmarks.nongeo import NonGeoPairs
from torchgeo_cmr.datasets.benchmarks.ssl4eo import SSL4EOS12Pairs
from torchgeo_cmr.datasets.label_map import LabelFromMask
from torchgeo_cmr.datasets.paired import PairedDataset
from torchgeo_cmr.datasets.retrieval_plot import plot_retrieval
from torchgeo_cmr.datasets.spoken.class_folders import ClassFolders
from torchgeo_cmr.datasets.spoken.image_speech import ADVANCEPairs, ImageSpeech
from torchgeo_cmr.datasets.spoken.spoken_labels import SpokenLabels
from torchgeo_cmr.datasets.synthetic import SyntheticLandscape

__all__ = (
    'BEN14K',
    'BIGEARTHNET_STATISTICS',
    'CBRSIRVS',
    'DSRSID',
    'ADVANCEPairs',
    'BigEarthNetPairs',
    'ChipPairs',
    'ClassFolders',
    'ImageSpeech',
    'LabelFromMask',
    'NonGeoPairs',
    'PairedDataset',
    'SSL4EOS12Pairs',
    'SpokenLabels',
    'SyntheticLandscape',
    'plot_retrieval',
)
