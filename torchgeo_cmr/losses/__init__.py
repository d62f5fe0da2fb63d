"""Losses of cross-modal retrieval: one idea a file, paired rows in, one number out."""

from .intra import ISLoss
from .mde import MDELoss
from .mim import MIMLoss
from .ramp import ramp_weight

__all__ = ('ISLoss', 'MDELoss', 'MIMLoss', 'ramp_weight')
