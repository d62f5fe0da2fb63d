"""Losses of cross-modal retrieval: paired rows in, one number out."""

from .adversary import ModalityAdversary
from .cmir_terms import FrobeniusLoss, SoftOrthogonalityLoss, WeightNormLoss
from .cross_correlation import BarlowTwinsLoss
from .false_negatives import false_negatives
from .hash_terms import BitBalanceLoss, QuantisationLoss, common_code
from .intra import ISLoss
from .label_contrast import SupConLoss
from .mde import MDELoss
from .mim import MIMLoss
from .ramp import ramp_weight
from .sigreg import SIGRegLoss
from .triplet_margin import TripletLoss
from .vicreg_terms import VICRegLoss

__all__ = (
    'BarlowTwinsLoss',
    'BitBalanceLoss',
    'FrobeniusLoss',
    'ISLoss',
    'MDELoss',
    'MIMLoss',
    'ModalityAdversary',
    'QuantisationLoss',
    'SIGRegLoss',
    'SoftOrthogonalityLoss',
    'SupConLoss',
    'TripletLoss',
    'VICRegLoss',
    'WeightNormLoss',
    'common_code',
    'false_negatives',
    'ramp_weight',
)
