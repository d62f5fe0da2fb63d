"""From the options of a task to its network: separate, joint, or on all bands stacked."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal

from torch import nn
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.models import (
    CrossModalEncoder,
    EarlyFusionEncoder,
    JointEncoder,
    ProjectionHead,
    SharedTrunkEncoder,
    TwoHeads,
    build_encoder,
)
from torchgeo_cmr.models.heads import Head
from torchgeo_cmr.models.shared_trunk import with_channels
from torchgeo_cmr.models.weights import EncoderWeights, NewBands

__all__ = (
    'Models',
    'Normalize',
    'Stem',
    'Weights',
    'build_networks',
    'check_per_modality',
    'each_model',
)

#: An encoder by name, or a network; one for all modalities or one for each.
Models = str | nn.Module | Mapping[str, str | nn.Module]

#: Initial weights of encoders; one for all modalities or one for each.
Weights = dict[str, WeightsEnum | str | bool | None] | WeightsEnum | str | bool | None

#: By whose statistics pixels are normalised: those of the weights, or of the data.
Normalize = Literal['weights', 'data']

#: What the joint variant has for each modality: a 1x1 convolution, or the network's first layer.
Stem = Literal['conv1x1', 'own']

#: Channels between the stems and the trunk of the joint variant, as in the precursor.
STEM_CHANNELS = 32


def check_per_modality(
    variant: str, in_channels: Mapping[str, int], **options: Any
) -> None:
    """Refuse options without an entry per modality, or with several for a shared network.

    Args:
        variant: ``'separate'``, or one with a single network.
        in_channels: The modalities.
        **options: Options by name, each one value for all or a dictionary by modality.

    Raises:
        ValueError: If a dictionary names other modalities, or differs where one network is
            shared.
    """
    for name, given in options.items():
        if not isinstance(given, dict):
            continue
        if set(given) != set(in_channels):
            raise ValueError(
                f'{name} needs one entry for each of {", ".join(in_channels)}, found '
                f'{", ".join(given) or "none"}'
            )
        if variant != 'separate' and any(
            value != next(iter(given.values())) for value in given.values()
        ):
            raise ValueError(
                f'variant={variant!r} has one network and takes one {name}, found {given}'
            )


def each_model(model: Models, modalities: Iterable[str]) -> dict[str, str | nn.Module]:
    """Assign each modality its encoder.

    Args:
        model: Name of an encoder or a network, one for all or one per modality.
        modalities: Names of the modalities.

    Returns:
        Encoder of each modality.
    """
    return {m: model[m] if isinstance(model, Mapping) else model for m in modalities}


def build_networks(
    variant: Literal['separate', 'joint', 'bands_12'],
    in_channels: Mapping[str, int],
    model: Mapping[str, str | nn.Module],
    weights: EncoderWeights | Mapping[str, EncoderWeights] = None,
    *,
    stem: Stem = 'conv1x1',
    head: Head = 'mlp',
    shared_head: bool = False,
    two_heads: bool = False,
    hidden_dim: int | None = None,
    output_dim: int = 128,
    bands: Mapping[str, list[str]] | None = None,
    new_bands: NewBands = 'error',
    stage: int | None = None,
    grid: int = 1,
) -> tuple[nn.Module, dict[str, list[str]], dict[str, int]]:
    """Build encoders and heads.

    Args:
        variant: Nothing shared, all but the stems shared, or one encoder of the stack.
        in_channels: Number of channels of each modality.
        model: Name of the encoder, or a network, of each modality.
        weights: Initial encoder weights, one for all or one per modality.
        stem: What each modality has in front of a joint network.
        head: Kind of head.
        shared_head: One head for all modalities.
        two_heads: A unified and a cross head in place of one.
        hidden_dim: Width inside the head; that of the encoder by default.
        output_dim: Width of *z*, of each of two heads.
        bands: Names of the channels of each modality, as far as they are known.
        new_bands: What to do with a band that the weights do not know.
        stage: Stage of the network whose feature map counts, as of :func:`build_encoder`.
        grid: Cells per side over which that map is averaged.

    Returns:
        The network; the bands of weights that were taken by position, by modality; and the
        width of *h*, by modality.

    Raises:
        ValueError: If a head is to be shared by encoders of different widths.
    """
    names = dict(bands or {})
    build = partial(build_encoder, new_bands=new_bands, stage=stage, grid=grid)
    heads = partial(
        _heads, head, output_dim, hidden_dim, shared=shared_head, two=two_heads
    )
    first = next(iter(in_channels))
    if variant == 'separate' or (variant == 'joint' and stem == 'own'):
        adapted = variant == 'joint'
        backbones = {
            m: build(
                _for_channels(model[m], channels) if adapted else model[m],
                channels,
                _of(weights, m),
                modality=m,
                bands=names.get(m),
            )
            for m, channels in in_channels.items()
        }
        widths = {m: _width(backbone) for m, backbone in backbones.items()}
        assumed = {m: vars(b)['assumed_bands'] for m, b in backbones.items()}
        known = {m: found for m, found in assumed.items() if found}
        kind = CrossModalEncoder if variant == 'separate' else SharedTrunkEncoder
        return kind(backbones, heads(widths)), known, widths
    if variant == 'joint':
        trunk = build(model[first], STEM_CHANNELS, _of(weights, first))
        widths = dict.fromkeys(in_channels, _width(trunk))
        joint = JointEncoder(
            in_channels, trunk, heads(widths), stem_channels=STEM_CHANNELS
        )
        return joint, {}, widths
    stacked = [band for m in in_channels for band in names.get(m, [])]
    total = sum(in_channels.values())
    encoder = build(
        model[first],
        total,
        _of(weights, first),
        bands=stacked if len(stacked) == total else None,
    )
    width = _width(encoder)
    widths = dict.fromkeys(in_channels, width)
    return EarlyFusionEncoder(encoder, heads({first: width})[first]), {}, widths


def _for_channels(model: str | nn.Module, channels: int) -> str | nn.Module:
    """Adapt a network that was made for the channels of another modality."""
    return model if isinstance(model, str) else with_channels(model, channels)


def _of(given: Any, modality: str) -> Any:
    """Take what belongs to a modality, or what is given for all."""
    return given[modality] if isinstance(given, Mapping) else given


def _heads(
    kind: Head,
    output_dim: int,
    hidden_dim: int | None,
    widths: Mapping[str, int],
    *,
    shared: bool,
    two: bool,
) -> dict[str, nn.Module]:
    """Build a head for encoder outputs of each modality, or one for all."""

    def project(width: int) -> nn.Module:
        first, *second = (
            ProjectionHead(width, output_dim, hidden_dim=hidden_dim, kind=kind)
            for _ in range(1 + two)
        )
        return TwoHeads(first, *second) if two else first

    if not shared:
        return {m: project(width) for m, width in widths.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(
            f'shared_head needs encoder outputs of one width, found {dict(widths)}: take '
            'models of one width'
        )
    return dict.fromkeys(widths, project(next(iter(widths.values()))))


def _width(encoder: nn.Module) -> int:
    return int(encoder.num_features)  # ty: ignore[invalid-argument-type]
