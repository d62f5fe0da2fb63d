"""Losses of cross-modal retrieval: paired rows in, one number out."""

from .cmir_terms import FrobeniusLoss, SoftOrthogonalityLoss, WeightNormLoss
from .intra import ISLoss
from .mde import MDELoss
from .mim import MIMLoss
from .ramp import ramp_weight

__all__ = (
    'FrobeniusLoss',
    'ISLoss',
    'MDELoss',
    'MIMLoss',
    'SoftOrthogonalityLoss',
    'WeightNormLoss',
    'ramp_weight',
)
