"""Samplers: which patches make a batch."""

from torchgeo_cmr.samplers.disjoint import DisjointBatchSampler
from torchgeo_cmr.samplers.patch_area import Area

__all__ = ('Area', 'DisjointBatchSampler')
