"""Networks: encoders that are separate, joint or on stacked bands, heads, and fusion."""

from .cmir_network import ClassifiedEncoders, CMIRNetwork, UnifiedEncoderDecoder
from .dual import CrossModalEncoder
from .encoder import build_encoder
from .features import CMIRConvNet, FeatureEncoder, build_feature_encoder
from .fusion import EarlyFusionEncoder, fuse
from .heads import ProjectionHead, TwoHeads
from .joint import JointEncoder
from .shared_trunk import SharedTrunkEncoder
from .speech import SpeechEncoder

__all__ = (
    'CMIRConvNet',
    'CMIRNetwork',
    'ClassifiedEncoders',
    'CrossModalEncoder',
    'EarlyFusionEncoder',
    'FeatureEncoder',
    'JointEncoder',
    'ProjectionHead',
    'SharedTrunkEncoder',
    'SpeechEncoder',
    'TwoHeads',
    'UnifiedEncoderDecoder',
    'build_encoder',
    'build_feature_encoder',
    'fuse',
)
