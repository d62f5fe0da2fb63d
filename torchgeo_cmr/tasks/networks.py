"""From the options of a task to its network: separate, joint, or on all bands stacked."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import nn
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.models import (
    CrossModalEncoder,
    EarlyFusionEncoder,
    JointEncoder,
    ProjectionHead,
    build_encoder,
)
from torchgeo_cmr.models.heads import Head
from torchgeo_cmr.models.weights import EncoderWeights, NewBands

__all__ = ('Models', 'Weights', 'build_networks', 'check_per_modality', 'each_model')

#: An encoder by name, or a network; one for all modalities or one for each.
Models = str | nn.Module | Mapping[str, str | nn.Module]

#: Initial weights of encoders; one for all modalities or one for each.
Weights = dict[str, WeightsEnum | str | bool | None] | WeightsEnum | str | bool | None

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
    head: Head = 'mlp',
    hidden_dim: int | None = None,
    output_dim: int = 128,
    bands: Mapping[str, list[str]] | None = None,
    new_bands: NewBands = 'error',
) -> tuple[nn.Module, dict[str, list[str]], dict[str, int]]:
    """Build encoders and heads.

    Args:
        variant: Nothing shared, all but the stems shared, or one encoder of the stack.
        in_channels: Number of channels of each modality.
        model: Name of the encoder, or a network, of each modality.
        weights: Initial encoder weights, one for all or one per modality.
        head: Kind of head.
        hidden_dim: Width inside the head; that of the encoder by default.
        output_dim: Width of *z*.
        bands: Names of the channels of each modality, as far as they are known.
        new_bands: What to do with a band that the weights do not know.

    Returns:
        The network; the bands of weights that were taken by position, by modality; and the
        width of *h*, by modality.
    """
    names = dict(bands or {})

    def of(given: Any, modality: str) -> Any:
        return given[modality] if isinstance(given, Mapping) else given

    def project(width: int) -> ProjectionHead:
        return ProjectionHead(width, output_dim, hidden_dim=hidden_dim, kind=head)

    first = next(iter(in_channels))
    if variant == 'separate':
        backbones = {
            m: build_encoder(
                model[m],
                channels,
                of(weights, m),
                modality=m,
                bands=names.get(m),
                new_bands=new_bands,
            )
            for m, channels in in_channels.items()
        }
        widths = {m: _width(backbone) for m, backbone in backbones.items()}
        heads = {m: project(width) for m, width in widths.items()}
        assumed = {m: vars(b)['assumed_bands'] for m, b in backbones.items()}
        known = {m: found for m, found in assumed.items() if found}
        return CrossModalEncoder(backbones, heads), known, widths
    if variant == 'joint':
        trunk = build_encoder(
            model[first], STEM_CHANNELS, of(weights, first), new_bands=new_bands
        )
        heads = {m: project(_width(trunk)) for m in in_channels}
        widths = dict.fromkeys(in_channels, _width(trunk))
        joint = JointEncoder(in_channels, trunk, heads, stem_channels=STEM_CHANNELS)
        return joint, {}, widths
    stacked = [band for m in in_channels for band in names.get(m, [])]
    total = sum(in_channels.values())
    encoder = build_encoder(
        model[first],
        total,
        of(weights, first),
        bands=stacked if len(stacked) == total else None,
        new_bands=new_bands,
    )
    widths = dict.fromkeys(in_channels, _width(encoder))
    return EarlyFusionEncoder(encoder, project(_width(encoder))), {}, widths


def _width(encoder: nn.Module) -> int:
    return int(encoder.num_features)  # ty: ignore[invalid-argument-type]
