"""Losses of cross-modal retrieval: one idea a file, paired rows in, one number out."""

from .frobenius import FrobeniusLoss
from .intra import ISLoss
from .mde import MDELoss
from .mim import MIMLoss
from .orthogonality import SoftOrthogonalityLoss
from .ramp import ramp_weight
from .weight_norm import WeightNormLoss

__all__ = (
    'FrobeniusLoss',
    'ISLoss',
    'MDELoss',
    'MIMLoss',
    'SoftOrthogonalityLoss',
    'WeightNormLoss',
    'ramp_weight',
)
