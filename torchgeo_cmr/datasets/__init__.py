"""Datasets: paired modalities, images and speech, benchmarks, and a synthetic world."""

from torchgeo_cmr.datasets.audio import SpokenLabels
from torchgeo_cmr.datasets.ben14k import BEN14K
from torchgeo_cmr.datasets.bigearthnet import BIGEARTHNET_STATISTICS, BigEarthNetPairs
from torchgeo_cmr.datasets.chips import ChipPairs
from torchgeo_cmr.datasets.class_folders import ClassFolders
from torchgeo_cmr.datasets.dsrsid import DSRSID
from torchgeo_cmr.datasets.image_speech import ADVANCEPairs, ImageSpeech
from torchgeo_cmr.datasets.labels import LabelFromMask
from torchgeo_cmr.datasets.paired import PairedDataset
from torchgeo_cmr.datasets.pairs import NonGeoPairs
from torchgeo_cmr.datasets.retrieved import plot_retrieval
from torchgeo_cmr.datasets.ssl4eo import SSL4EOS12Pairs
from torchgeo_cmr.datasets.synthetic import SyntheticLandscape

__all__ = (
    'BEN14K',
    'BIGEARTHNET_STATISTICS',
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
