"""Large networks of TorchGeo with two blocks in the place of twelve or more.

They are made, written and read by the same code, in a fraction of the time: what a test says of
files, bands or the command does not depend on how often a block is repeated.
"""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import timm

#: Module of ``torchgeo.models`` -> the class in it, and the arguments that make it small.
_CLASSES: dict[str, tuple[str, dict[str, int]]] = {
    'copernicusfm': ('CopernicusFM', {'depth': 2}),
    'croma': ('CROMA', {'encoder_depth': 2}),
    'dofa': ('DOFA', {'depth': 2}),
    'panopticon': ('Panopticon', {'attn_dim': 256}),
    'scale_mae': ('ScaleMAE', {'depth': 2}),
}
#: The blocks of Panopticon, which are made by timm.
_INSIDE = 'vit_base_patch14_dinov2'


def make_shallow(patch: pytest.MonkeyPatch) -> None:
    """Have TorchGeo make all of them with two blocks, until the patch is undone."""
    for module, (name, less) in _CLASSES.items():
        found = importlib.import_module(f'torchgeo.models.{module}')
        patch.setattr(found, name, _smaller(getattr(found, name), less))
    whole, shallow = timm.create_model, _smaller(timm.create_model, {'depth': 2})
    patch.setattr(
        timm,
        'create_model',
        lambda name, *args, **options: (shallow if name == _INSIDE else whole)(
            name, *args, **options
        ),
    )


def _smaller(made: Callable[..., Any], less: dict[str, int]) -> Callable[..., Any]:
    return lambda *args, **options: made(*args, **options | less)
