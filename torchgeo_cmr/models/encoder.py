"""One modality's encoder: any timm network, any number of channels, weights from anywhere."""

import difflib
import os
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchgeo.models import get_weight
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import RasterError

__all__ = ('EncoderWeights', 'build_encoder')

#: What may initialise an encoder: a TorchGeo weight enum or its name, the path of a state dict
#: or checkpoint, True for timm's own (ImageNet) weights, None or False for none.
EncoderWeights = WeightsEnum | str | bool | None

# final norms that one pooling has and the other lacks; they start as the identity
_OPTIONAL = ('norm.', 'fc_norm.')


def build_encoder(
    model: str, in_channels: int, weights: EncoderWeights = None, *, modality: str = ''
) -> nn.Module:
    """Build a network from images to one pooled feature vector each.

    Vision transformers of timm's main family accept any image size and interpolate their
    position embedding.

    Args:
        model: Name of a `timm <https://huggingface.co/docs/timm/reference/models>`__ model.
        in_channels: Number of input channels.
        weights: Initial weights: a TorchGeo weight enum, its name
            (``'ResNet50_Weights.SENTINEL1_ALL_MOCO'``), the path of a state dict or of a
            checkpoint that holds this network under some prefix, True for the weights timm
            offers, or None for random ones. Files are read with ``weights_only=True``.
        modality: Name for messages, and the part to take from a checkpoint of several
            encoders.

    Returns:
        The encoder, from (batch, *in_channels*, height, width) to (batch, ``num_features``).

    Raises:
        RasterError: If the weights were made for another number of channels.
        ValueError: If the model is unknown, or the weights belong to another network, or a
            file is missing or holds no weights.

    .. versionadded:: 0.1
    """
    who = f' for {modality}' if modality else ''
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=3)
        hint = f', perhaps {" or ".join(near)}' if near else ''
        raise ValueError(
            f'timm has no model {model!r}{who}{hint}: see timm.list_models()'
        )

    encoder = _create(model, in_channels, pretrained=weights is True)
    if weights is None or isinstance(weights, bool):
        return encoder

    if isinstance(weights, str) and os.path.isfile(weights):
        state, source = _read(weights), f'the file {weights}'
    else:
        try:
            enum = weights if isinstance(weights, WeightsEnum) else get_weight(weights)
        except ValueError as error:
            raise ValueError(
                f'weights {weights!r}{who} are neither a file nor the name of TorchGeo '
                "weights such as 'ResNet50_Weights.SENTINEL1_ALL_MOCO'"
            ) from error
        source = str(enum)
        made_for, channels = enum.meta.get('model'), enum.meta.get('in_chans')
        if isinstance(made_for, str) and made_for != model:
            raise ValueError(
                f'{source} were made for {made_for}, found model={model!r}{who}: set '
                f'model={made_for!r} or other weights'
            )
        # said before anything is downloaded
        if channels is not None and channels != in_channels:
            raise _channel_error(
                source, channels, in_channels, who, enum.meta.get('bands')
            )
        state = enum.get_state_dict(progress=False, check_hash=True, weights_only=True)
    _load(encoder, state, source, modality)
    return encoder


def _create(model: str, in_channels: int, *, pretrained: bool) -> nn.Module:
    """Create a timm model without classifier, for any image size if it can."""
    options: dict[str, Any] = {'in_chans': in_channels, 'num_classes': 0}
    if model.startswith('vit_'):
        try:
            any_size = {'dynamic_img_size': True, 'dynamic_img_pad': True}
            return timm.create_model(model, pretrained, **options, **any_size)
        except TypeError:  # relatives of the family that know one size only
            pass
    return timm.create_model(model, pretrained, **options)


def _read(path: str) -> dict[str, Any]:
    """Read a state dict, or the one inside a checkpoint."""
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise ValueError(
            f'{path} holds no weights that can be read safely (weights_only=True): '
            f'{type(error).__name__}'
        ) from error
    for name in ('state_dict', 'model'):
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    tensors = state if isinstance(state, dict) else {}
    if not any(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(
            f'{path} holds no weights: expected a state dict or a checkpoint, found '
            f'{type(state).__name__}'
        )
    return tensors


def _load(
    encoder: nn.Module, state: dict[str, Any], source: str, modality: str
) -> None:
    """Load the part of a state dict that is this encoder, or say why there is none."""
    who = f' for {modality}' if modality else ''
    wanted = encoder.state_dict()
    needed = [key for key in wanted if not key.startswith(_OPTIONAL)]
    first = needed[0]
    prefixes = [
        key.removesuffix(first)
        for key in state
        if key == first or key.endswith(f'.{first}')
    ]
    complete = [p for p in prefixes if all(p + key in state for key in needed)]
    if not complete:
        most = max(
            (sum(p + key in state for key in needed) for p in prefixes), default=0
        )
        raise ValueError(
            f'{source} does not hold this network{who}: of its {len(needed)} tensors it has '
            f'{most} (the first is called {first!r}): check model='
        )
    mine = [p for p in complete if modality and f'.{modality}.' in f'.{p}']
    if not mine and any('backbones.' in p for p in complete):
        raise ValueError(
            f'{source} holds several encoders, {", ".join(complete)}, and none is '
            f'{modality!r}: name the modalities alike or export the one you want'
        )
    prefix = min(mine or complete, key=len)
    part: dict[str, Tensor] = {
        key: state[prefix + key] for key in wanted if prefix + key in state
    }
    for key, value in part.items():
        if value.shape == wanted[key].shape:
            continue
        if value.ndim == 4 and value.shape[1] != wanted[key].shape[1]:
            raise _channel_error(
                source, value.shape[1], wanted[key].shape[1], who, None
            )
        raise ValueError(
            f'{source} does not fit this network{who}: {key!r} has shape '
            f'{tuple(value.shape)}, expected {tuple(wanted[key].shape)}'
        )
    encoder.load_state_dict(part, strict=False)


def _channel_error(
    source: str, channels: int, in_channels: int, who: str, bands: list[str] | None
) -> RasterError:
    """Say that weights and images disagree about the channels."""
    named = f' ({", ".join(bands)})' if bands else ''
    return RasterError(
        f'{source} were made for {channels} channels{named}, found {in_channels}{who}: '
        'select those bands or take other weights'
    )
