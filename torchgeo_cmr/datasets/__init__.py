"""Datasets: paired modalities, and a synthetic world to try them on."""

from torchgeo_cmr.datasets.paired import PairedDataset
from torchgeo_cmr.datasets.synthetic import SyntheticLandscape

__all__ = ('PairedDataset', 'SyntheticLandscape')
