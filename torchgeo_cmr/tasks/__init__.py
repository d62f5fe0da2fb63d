"""Tasks: how encoders of several modalities are trained, judged and used to embed."""

from .base import CrossModalTask
from .checkpoint import load_task
from .sscmrsir import SSCMRSIR
from .supervised import SupervisedCMR

__all__ = ('SSCMRSIR', 'CrossModalTask', 'SupervisedCMR', 'load_task')
