"""Samplers: which patches make a batch."""

from torchgeo_cmr.samplers.area import Area
from torchgeo_cmr.samplers.disjoint import DisjointBatchSampler

__all__ = ('Area', 'DisjointBatchSampler')
