"""Tasks: how encoders of several modalities are trained, evaluated and used to embed."""

from .base import CrossModalTask
from .checkpoint import describe_checkpoint, load_task, verify_checkpoint
from .cmirnet import CMIRNet
from .cmirpretrain import CMIRPretrain
from .frozen.pretrained import Pretrained
from .sscmrsir import SSCMRSIR
from .supervised import SupervisedCMR

__all__ = (
    'SSCMRSIR',
    'CMIRNet',
    'CMIRPretrain',
    'CrossModalTask',
    'Pretrained',
    'SupervisedCMR',
    'describe_checkpoint',
    'load_task',
    'verify_checkpoint',
)
