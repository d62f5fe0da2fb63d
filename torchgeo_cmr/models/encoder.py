"""One modality's encoder: any timm network, any number of channels, weights from anywhere."""

import copy
import difflib
from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
import torchgeo.models
from timm.layers import PatchEmbed
from torch import Tensor, nn

from torchgeo_cmr.errors import RasterError

from .foundation.adapters import ADAPTERS
from .plain_tensors import check_fit
from .pooling import PooledEncoder, StageEncoder
from .torchgeo_network import check_pictures, load_network, make_network
from .weights import (
    EncoderWeights,
    FoundWeights,
    NewBands,
    announce_weights,
    check_model,
    find_weights,
    match_bands,
    read_weights,
    select_bands,
)

__all__ = ('build_encoder',)

# final norms that one pooling has and the other lacks; they start as the identity
_OPTIONAL = ('norm.', 'fc_norm.')


def build_encoder(
    model: str | nn.Module,
    in_channels: int,
    weights: EncoderWeights = None,
    *,
    modality: str = '',
    bands: Sequence[str] | None = None,
    new_bands: NewBands = 'error',
    stage: int | None = None,
    grid: int = 1,
) -> nn.Module:
    """Build a network from images to one pooled feature vector each.

    Vision transformers of timm's main family accept any image size and interpolate their
    position embedding. Without weights, timm's residual networks start with the last scale of each
    block at zero, so that a block begins as the identity; torchvision's, and the networks of
    published code, start with ones. Weights that are loaded replace either.

    Args:
        model: Name of a `timm <https://huggingface.co/docs/timm/reference/models>`__ model, or
            one of :func:`torchgeo.models.get_model`; or a network from pictures to vectors,
            tokens or a feature map, of which a copy is taken.
        in_channels: Number of input channels.
        weights: Initial weights: a TorchGeo weight enum, its name
            (``'ResNet50_Weights.SENTINEL1_ALL_MOCO'``), the path of a state dict or of a
            checkpoint that holds this network under some prefix, True for the weights timm
            offers, or None for random ones. Files are read with ``weights_only=True``.
        modality: Name for messages, and the part to take from a checkpoint of several
            encoders.
        bands: Names of the channels. Where the names of the weights' bands are known too
            (TorchGeo weights, their downloaded files, our checkpoints), the first convolution
            is cut by name; ``B2`` and ``B02`` are one band. Otherwise the numbers of channels
            have to agree and the order is taken on trust.
        new_bands: For a band without weights: ``'error'``, or ``'mean'`` for the mean over the
            bands that have some.
        stage: Which of timm's intermediate feature maps to take, from 0; the layers behind it
            are left out. -1 for the last one, None for the network as it is.
        grid: Cells per side of the grid over which the feature map is averaged, 1 for one mean.
            A grid of 4 gives 16 times as many features, which tell where in the picture
            something is.

    Returns:
        The encoder, from (batch, *in_channels*, height, width) to (batch, ``num_features``).
        Its attribute ``assumed_bands`` lists the bands of the weights if they were taken by
        position because *bands* is None, and is None otherwise.

    Raises:
        RasterError: If a band has no weights, or the weights were made for another number of
            channels and names are not known.
        ValueError: If the model is unknown, has no such stage or no feature map for a grid, or
            the weights belong to another network, or a file is missing or holds no weights.

    Examples:
        >>> import torch
        >>> encoder = build_encoder('resnet10t', 2)
        >>> encoder.eval()(torch.zeros(1, 2, 32, 32)).shape
        torch.Size([1, 512])
        >>> encoder = build_encoder('resnet18', 2, stage=2, grid=4)
        >>> encoder.eval()(torch.zeros(1, 2, 64, 64)).shape
        torch.Size([1, 2048])
    """
    if grid < 1:
        raise ValueError(f'grid must be at least 1, found {grid}')
    who = f' for {modality}' if modality else ''
    if isinstance(model, str):
        _check_name(model, who)
    if bands is not None and len(bands) != in_channels:
        raise RasterError(
            f'{modality or "the encoder"} has {in_channels} channels and needs as many bands, '
            f'found {len(bands)}'
        )
    shape: dict[str, Any] = {'stage': stage, 'grid': grid}
    if weights is None or isinstance(weights, bool):
        encoder = _create(
            model, in_channels, pretrained=weights is True, who=who, **shape
        )
        _guard_size(encoder, who)
        encoder.assumed_bands = None  # ty: ignore[invalid-assignment]
        return encoder

    found = find_weights(weights, who)
    if isinstance(model, str):
        check_model(found, model, who)
    options: dict[str, Any] = {'want': bands, 'channels': in_channels}
    options |= {'new_bands': new_bands, 'source': found.source, 'who': who}
    if found.channels is not None:  # refuse before anything is downloaded
        match_bands(found.bands, found.channels, **options)
    if isinstance(model, str) and not timm.is_model(model) and found.enum is not None:
        return _published(model, found, options, who, **shape)
    encoder = _create(model, in_channels, pretrained=False, who=who, **shape)
    state, names = read_weights(found, modality)
    inner = encoder.network if isinstance(encoder, PooledEncoder) else encoder
    _load(inner, state, names, options, modality)
    _guard_size(encoder, who)
    _note_bands(encoder, names, bands, in_channels)
    return encoder


def _published(
    model: str,
    found: FoundWeights,
    options: dict[str, Any],
    who: str,
    *,
    stage: int | None,
    grid: int,
) -> nn.Module:
    """Build a model that only TorchGeo has, with the weights that it publishes.

    The options are those of :func:`match_bands`.
    """
    _check_stage(model, stage, who)
    state, names = read_weights(found, '')
    order = match_bands(names, found.channels or options['channels'], **options)
    network = load_network(model, found, state, order, who)
    encoder = PooledEncoder(network, options['channels'], who, grid=grid)
    _guard_size(encoder, who)
    _note_bands(encoder, names, options['want'], options['channels'])
    return encoder


def _guard_size(encoder: nn.Module, who: str) -> None:
    """Have a network that takes pictures of one size alone refuse others in a sentence."""
    for part in encoder.modules():
        if isinstance(part, PatchEmbed):
            part.register_forward_pre_hook(partial(_check_size, who=who))


def _check_size(part: nn.Module, given: tuple[Tensor, ...], *, who: str) -> None:
    """Refuse pictures of another size than a patch embedding takes."""
    assert isinstance(part, PatchEmbed)
    height, width = given[0].shape[-2:]
    if not part.strict_img_size or part.img_size in (None, (height, width)):
        return
    raise RasterError(
        f'the network{who} takes pictures of {part.img_size[0]} x {part.img_size[1]} pixels alone, '
        f'found {height} x {width}: take a patch_size that gives these, or a network for any size, '
        "such as a convolutional one or timm's vit_..."
    )


def _note_bands(
    encoder: nn.Module,
    have: Sequence[str] | None,
    want: Sequence[str] | None,
    channels: int,
) -> None:
    """Keep the bands of weights that were taken by position."""
    by_position = want is None and have is not None and len(have) == channels
    assumed = list(have) if by_position else None
    encoder.assumed_bands = assumed  # ty: ignore[invalid-assignment]


def _check_name(model: str, who: str) -> None:
    """Refuse a name that neither timm nor TorchGeo knows."""
    if model in ADAPTERS:
        raise ValueError(
            f'{model!r}{who} is a foundation model with bands, width and normalisation of its own, '
            f'which a task that trains does not take: embed with it as it is, with '
            f'tasks.Pretrained or torchgeo-cmr embed --model {model}:WEIGHTS, or train another model'
        )
    check_pictures(model, who)
    models = torchgeo.models.list_models()
    if timm.is_model(model) or model in models:
        return
    known = {*timm.list_models(), *models}
    near = difflib.get_close_matches(model, sorted(known), n=3)
    hint = f', perhaps {" or ".join(near)}' if near else ''
    raise ValueError(
        f'timm has no model {model!r}{who}{hint}, and neither has TorchGeo: see '
        'timm.list_models() and torchgeo.models.list_models()'
    )


def _create(
    model: str | nn.Module,
    in_channels: int,
    *,
    pretrained: bool,
    who: str,
    stage: int | None,
    grid: int,
) -> nn.Module:
    """Create a network without classifier, for any image size if it can."""
    if not isinstance(model, str) or not timm.is_model(model):
        if pretrained:
            raise ValueError(
                f'weights=True means those of timm, which has none for {model!r}{who}: give '
                'TorchGeo weights, a file, or a network that has its weights'
            )
        _check_stage(model, stage, who)
        network = (
            copy.deepcopy(model)
            if isinstance(model, nn.Module)
            else make_network(model, in_channels)
        )
        return PooledEncoder(network, in_channels, who, grid=grid)
    network = _of_timm(model, in_channels, pretrained=pretrained, who=who)
    if stage is None and grid == 1:
        return network
    return StageEncoder(network, in_channels, who, stage=stage, grid=grid)


def _of_timm(model: str, in_channels: int, *, pretrained: bool, who: str) -> nn.Module:
    """Create a timm model without classifier."""
    options: dict[str, Any] = {'in_chans': in_channels, 'num_classes': 0}
    if pretrained:
        announce_weights(model, who)
    if model.startswith('vit_'):
        try:
            any_size = {'dynamic_img_size': True, 'dynamic_img_pad': True}
            return timm.create_model(model, pretrained, **options, **any_size)
        except TypeError:  # members of the family that take one size only
            pass
    return timm.create_model(model, pretrained, **options)


def _check_stage(model: str | nn.Module, stage: int | None, who: str) -> None:
    """Refuse a stage of a network that is not timm's."""
    if stage not in (None, -1):
        name = model if isinstance(model, str) else type(model).__name__
        raise ValueError(
            f'stage={stage} is one of a timm model, found {name}{who}: set stage=-1'
        )


def _load(
    encoder: nn.Module,
    state: dict[str, Any],
    bands: Sequence[str] | None,
    options: dict[str, Any],
    modality: str,
) -> None:
    """Load the part of a state dict that belongs to this encoder.

    The options are those of :func:`match_bands`.
    """
    source, who = options['source'], options['who']
    expected = encoder.state_dict()
    needed = [key for key in expected if not key.startswith(_OPTIONAL)]
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
    named = [p for p in complete if modality and f'.{modality}.' in f'.{p}']
    if not named and any('backbones.' in p for p in complete):
        raise ValueError(
            f'{source} holds several encoders, {", ".join(complete)}, but none of '
            f'{modality!r}: use the same names of modalities or export one encoder'
        )
    prefix = min(named or complete, key=len)
    part: dict[str, Tensor] = {
        key: state[prefix + key] for key in expected if prefix + key in state
    }
    first_conv = f'{_first_conv(encoder)}.weight'
    check_fit(part, expected, [first_conv], f'{source} does not fit this network{who}')
    part = {key: value.to(expected[key].dtype) for key, value in part.items()}
    if first_conv in part and part[first_conv].ndim == 4:
        kernel = part[first_conv]
        order = match_bands(bands, kernel.shape[1], **options)
        part[first_conv] = select_bands(kernel, order)
    encoder.load_state_dict(part, strict=False)


def _first_conv(encoder: nn.Module) -> str:
    """Name of the layer that sees the bands, from the configuration of timm."""
    config = getattr(encoder, 'pretrained_cfg', None)
    if config is None:
        kernels = (n for n, m in encoder.named_modules() if isinstance(m, nn.Conv2d))
        return next(kernels, '')
    name = config.get('first_conv') or ''
    return name if isinstance(name, str) else name[0]
