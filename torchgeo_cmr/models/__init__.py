"""Networks: one encoder a modality, projection heads, and the pair of them."""

from .dual import CrossModalEncoder
from .encoder import build_encoder
from .heads import ProjectionHead

__all__ = ('CrossModalEncoder', 'ProjectionHead', 'build_encoder')
