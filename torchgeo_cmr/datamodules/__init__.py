"""Data modules: paired data, split by place, for Lightning trainers."""

from torchgeo_cmr.datamodules.paired import PairedDataModule

__all__ = ('PairedDataModule',)
