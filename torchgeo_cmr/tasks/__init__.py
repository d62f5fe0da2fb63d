"""Tasks: how encoders of several modalities are trained, evaluated and used to embed."""

from .base import CrossModalTask
from .cmirnet import CMIRNet
from .cmirpretrain import CMIRPretrain
from .frozen.pretrained import Pretrained
from .rivals.barlow_twins import BarlowTwins
from .rivals.csmae import CSMAE
from .rivals.decur import DeCUR
from .rivals.duch import DUCH
from .rivals.infonce import InfoNCE
from .rivals.supcon import SupCon
from .rivals.triplet import CrossModalTriplet
from .rivals.vicreg import VICReg
from .sscmrsir import SSCMRSIR
from .storage.checkpoint import describe_checkpoint, load_task, verify_checkpoint
from .supervised import SupervisedCMR

__all__ = (
    'CSMAE',
    'DUCH',
    'SSCMRSIR',
    'BarlowTwins',
    'CMIRNet',
    'CMIRPretrain',
    'CrossModalTask',
    'CrossModalTriplet',
    'DeCUR',
    'InfoNCE',
    'Pretrained',
    'SupCon',
    'SupervisedCMR',
    'VICReg',
    'describe_checkpoint',
    'load_task',
    'verify_checkpoint',
)
