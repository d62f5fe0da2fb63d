"""Data modules: paired data, split by place, for Lightning trainers."""

from torchgeo_cmr.datamodules.benchmark_module import (
    BEN14KDataModule,
    BigEarthNetPairsDataModule,
    CBRSIRVSDataModule,
    DSRSIDDataModule,
)
from torchgeo_cmr.datamodules.chip_module import ChipDataModule
from torchgeo_cmr.datamodules.image_speech_module import ImageSpeechDataModule
from torchgeo_cmr.datamodules.paired_module import PairedDataModule

__all__ = (
    'BEN14KDataModule',
    'BigEarthNetPairsDataModule',
    'CBRSIRVSDataModule',
    'ChipDataModule',
    'DSRSIDDataModule',
    'ImageSpeechDataModule',
    'PairedDataModule',
)
