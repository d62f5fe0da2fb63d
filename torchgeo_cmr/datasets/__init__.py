"""Datasets: paired modalities, benchmarks of pairs, and a synthetic world to try them on."""

from torchgeo_cmr.datasets.ben14k import BEN14K
from torchgeo_cmr.datasets.bigearthnet import BIGEARTHNET_STATISTICS, BigEarthNetPairs
from torchgeo_cmr.datasets.chips import ChipPairs
from torchgeo_cmr.datasets.paired import PairedDataset
from torchgeo_cmr.datasets.pairs import NonGeoPairs
from torchgeo_cmr.datasets.ssl4eo import SSL4EOS12Pairs
from torchgeo_cmr.datasets.synthetic import SyntheticLandscape

__all__ = (
    'BEN14K',
    'BIGEARTHNET_STATISTICS',
    'BigEarthNetPairs',
    'ChipPairs',
    'NonGeoPairs',
    'PairedDataset',
    'SSL4EOS12Pairs',
    'SyntheticLandscape',
)
