"""Networks that TorchGeo has and timm has not, as encoders of pictures: which ones, and how."""

from collections.abc import Mapping, Sequence
from typing import Any

import torchgeo.models
from torch import Tensor, nn

from torchgeo_cmr.errors import OptionError

from .weights import Channels, FoundWeights, select_bands

__all__ = ('check_pictures', 'load_network', 'make_network')

#: Models of TorchGeo that see something else than one picture -> what, and what to take instead.
_OF_OTHER_INPUTS = {
    'aurora_swin_unet': 'forecasts weather from fields of the atmosphere, and sees no pictures: '
    'take a model of pictures, such as panopticon_vitb14 or dofa_base_patch16_224',
    'satclip': 'encodes longitude and latitude alone, and sees no pictures: take a model of '
    'pictures, such as panopticon_vitb14 or dofa_base_patch16_224',
    'tessera': 'encodes single pixels over a year, with the day of each observation, and a patch is '
    'a picture of one date: take presto, which sees the same bands at one date, or vectors that '
    'others made with it, with torchgeo_cmr.embed.from_dataset',
}
#: Layers that classify, which no vector passes.
_CLASSIFIERS = 'head', 'classifier'
#: What published files may lack: those layers, and norms that start as the identity.
_OPTIONAL = ('head.', 'norm.', 'fc_norm.')


def check_pictures(model: str, who: str = '') -> None:
    """Refuse models of TorchGeo that encode something else than pictures.

    Args:
        model: Name of a model.
        who: For messages, such as ``' for s1'``.

    Raises:
        OptionError: If it is one of them.
    """
    if model in _OF_OTHER_INPUTS:
        raise OptionError(f'{model!r}{who} {_OF_OTHER_INPUTS[model]}')


def make_network(model: str, in_channels: int) -> nn.Module:
    """Build a model of TorchGeo with random weights, without classifier.

    Args:
        model: One of :func:`torchgeo.models.list_models`.
        in_channels: Number of channels.
    """
    for options in ({'in_channels': in_channels}, {'in_chans': in_channels}, {}):
        try:
            network = torchgeo.models.get_model(model, **options)
            break
        except TypeError:  # builders name their channels differently, or have no name
            continue
    network = _vectors(model, network, in_colour=in_channels == 3)
    first = _first_conv(network)
    if first is not None and first.in_channels != in_channels and first.groups == 1:
        _set_kernel(first, first.weight.new_empty(_shape(first, in_channels)))
        first.reset_parameters()
    return network


def load_network(
    model: str,
    found: FoundWeights,
    state: Mapping[str, Any],
    order: Sequence[Channels],
    who: str = '',
) -> nn.Module:
    """Build a model of TorchGeo with published weights, by TorchGeo's own loading code.

    Args:
        model: One of :func:`torchgeo.models.list_models`.
        found: Which weights.
        state: Their tensors.
        order: Channels of the weights for each channel of the pictures, as
            :func:`~torchgeo_cmr.models.weights.match_bands` gives them.
        who: For messages, such as ``' for s1'``.

    Raises:
        ValueError: If the tensors are not those of the model.
    """
    assert found.enum is not None  # the caller knows what they are
    given: Any = _Tensors(state, found.enum.meta)
    try:
        network = torchgeo.models.get_model(model, weights=given)
        known = network.state_dict()
        lost = [k for k in known if k not in state and not k.startswith(_OPTIONAL)]
        if lost:
            raise KeyError(lost[0])
    except (AssertionError, KeyError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200] or 'other tensors'
        raise ValueError(
            f'{found.source} does not hold the weights of {model}{who} ({reason}): give the '
            'file that TorchGeo publishes for it'
        ) from error
    network = _vectors(model, network, in_colour={*order} == {0, 1, 2})
    first = _first_conv(network)
    if first is not None and [*order] != [*range(first.in_channels)]:
        _set_kernel(first, select_bands(first.weight.detach(), order))
    return network


class _Tensors:
    """Weights at hand that look like an enum of TorchGeo to its builders."""

    def __init__(self, state: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        self.meta = meta
        self._state = state

    def get_state_dict(self, **_: Any) -> dict[str, Any]:
        """Give a copy, which builders may change."""
        return dict(self._state)


class _LastStage(nn.Module):
    """The encoder of a U-Net: its last feature map, (batch, features, height, width)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[-1]


class _Deo(nn.Module):
    """DEO with one of its two first layers; its feature map has its channels last."""

    def __init__(self, network: Any, stem: str) -> None:
        super().__init__()
        self.stem = getattr(network.feat_extr, stem)
        self.layers = network.feat_extr.features

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.stem(x)).permute(0, 3, 1, 2)


def _vectors(model: str, network: Any, *, in_colour: bool) -> nn.Module:
    """Leave out what follows the features of a picture."""
    if model == 'unet':
        return _LastStage(network.encoder)
    if model == 'deo_base':
        return _Deo(network, 'conv_rgb' if in_colour else 'conv_ms')
    for name in _CLASSIFIERS:
        if isinstance(getattr(network, name, None), nn.Linear):
            setattr(network, name, nn.Identity())
    return network


def _first_conv(network: nn.Module) -> nn.Conv2d | None:
    """Find the layer that sees the bands."""
    return next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)


def _set_kernel(conv: nn.Conv2d, kernel: Tensor) -> None:
    """Give a layer another kernel; what kind of layer it is stays, such as one that pads."""
    conv.weight = nn.Parameter(kernel)
    conv.in_channels = kernel.shape[1]


def _shape(conv: nn.Conv2d, in_channels: int) -> tuple[int, ...]:
    return conv.out_channels, in_channels, *conv.kernel_size
