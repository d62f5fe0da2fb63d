"""Networks: encoders apart, joint or on stacked bands, projection heads, and fusion."""

from .dual import CrossModalEncoder
from .encoder import build_encoder
from .fusion import EarlyFusionEncoder, fuse
from .heads import ProjectionHead
from .joint import JointEncoder

__all__ = (
    'CrossModalEncoder',
    'EarlyFusionEncoder',
    'JointEncoder',
    'ProjectionHead',
    'build_encoder',
    'fuse',
)
