"""Data modules: paired data, split by place, for Lightning trainers."""

from torchgeo_cmr.datamodules.bigearthnet import (
    BEN14KDataModule,
    BigEarthNetPairsDataModule,
)
from torchgeo_cmr.datamodules.chips import ChipDataModule
from torchgeo_cmr.datamodules.dsrsid import DSRSIDDataModule
from torchgeo_cmr.datamodules.image_speech import ImageSpeechDataModule
from torchgeo_cmr.datamodules.paired import PairedDataModule

__all__ = (
    'BEN14KDataModule',
    'BigEarthNetPairsDataModule',
    'ChipDataModule',
    'DSRSIDDataModule',
    'ImageSpeechDataModule',
    'PairedDataModule',
)
