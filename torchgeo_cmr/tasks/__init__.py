"""Tasks: how encoders of several modalities are trained, judged and used to embed."""

from .base import CrossModalTask
from .checkpoint import load_task
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
    'load_task',
)
