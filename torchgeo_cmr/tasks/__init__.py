"""Tasks: how encoders of several modalities are trained, evaluated and used to embed."""

from .base import CrossModalTask
from .checkpoint import describe_checkpoint, load_task, verify_checkpoint
from .cmirnet import CMIRNet
from .cmirpretrain import CMIRPretrain
from .sscmrsir import SSCMRSIR
from .supervised import SupervisedCMR

__all__ = (
    'SSCMRSIR',
    'CMIRNet',
    'CMIRPretrain',
    'CrossModalTask',
    'SupervisedCMR',
    'describe_checkpoint',
    'load_task',
    'verify_checkpoint',
)
