"""Two sensors, one network of any kind: a first layer for each, and the rest shared."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dual import CrossModalEncoder
from .encoder import _first_conv

__all__ = ('SharedTrunkEncoder', 'first_layer', 'with_channels')


class SharedTrunkEncoder(CrossModalEncoder):
    """Encode all modalities with one network that has a first layer for each.

    The first layer of a convolutional network is its first convolution, that of a vision
    transformer its patch embedding. All other layers of the backbones are the same objects, so
    what one sensor teaches changes the other, and each backbone remains a network of its own
    kind, whose state dict can be exported.

    While training, patches of one size pass the shared layers in one batch
    (:meth:`encode_together`), so that batch norm normalises all sensors alike in training and in
    use.

    Relations: :class:`~torchgeo_cmr.models.JointEncoder` puts a 1x1 convolution for each sensor
    before a whole network. The first layer for each sensor and the shared trunk are those of
    CR-JEPA, https://arxiv.org/abs/2606.00706.

    Examples:
        >>> nets = {
        ...     m: nn.Sequential(
        ...         nn.Conv2d(n, 8, 3),
        ...         nn.AdaptiveAvgPool2d(1),
        ...         nn.Flatten(),
        ...         nn.Linear(8, 4),
        ...     )
        ...     for m, n in {'s1': 2, 's2': 12}.items()
        ... }
        >>> encoder = SharedTrunkEncoder(nets, {m: nn.Linear(4, 3) for m in nets})
        >>> h, z = encoder(torch.zeros(5, 12, 8, 8), 's2')
        >>> h.shape, z.shape
        (torch.Size([5, 4]), torch.Size([5, 3]))
        >>> encoder.encoder('s1')[3] is encoder.encoder('s2')[3]
        True
    """

    def __init__(
        self, backbones: Mapping[str, nn.Module], heads: Mapping[str, nn.Module]
    ) -> None:
        """Initialize a new SharedTrunkEncoder instance.

        Args:
            backbones: Per modality a network of one architecture; the layers after the first
                are those of the first modality from now on.
            heads: Per modality a network from (batch, features) to (batch, dim).

        Raises:
            ValueError: If the two do not name the same modalities, or a network does not begin
                with a convolution.
        """
        first, *others = backbones.values()
        self.stem = first_layer(first)
        for other in others:
            _share(other, first, self.stem)
        super().__init__(backbones, heads)

    def encode_together(
        self, images: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Encode all modalities of a batch, the shared layers in one call while training.

        Args:
            images: Per modality normalised images, shape (batch, channels, height, width).
                Patches of different sizes are encoded one modality after the other.

        Returns:
            Per modality *h*, shape (batch, features), and *z*, shape (batch, dim).
        """
        sizes = {x.shape[2:] for x in images.values()}
        if not self.training or len(sizes) > 1 or len(images) < 2:
            return super().encode_together(images)
        stems = {m: _layer(self.backbones[m], self.stem) for m in images}
        rows = [len(x) for x in images.values()]
        channels = [x.shape[1] for x in images.values()]
        most = max(channels)
        whole = torch.cat(
            [F.pad(x, (0, 0, 0, 0, 0, most - x.shape[1])) for x in images.values()]
        )
        seen: list[tuple[Tensor, ...]] = []

        def enter(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
            # What the network did to its input before, such as padding, happened to all.
            seen.append(inputs[0].split(rows))
            return (seen[0][0][:, : channels[0]],)

        def leave(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            rest = zip(
                list(stems.values())[1:], seen.pop()[1:], channels[1:], strict=True
            )
            return torch.cat([output, *(stem(x[:, :n]) for stem, x, n in rest)])

        first = next(iter(images))
        hooks = [
            stems[first].register_forward_pre_hook(enter),
            stems[first].register_forward_hook(leave),
        ]
        try:
            features = self.backbones[first](whole).split(rows)
        finally:
            for hook in hooks:
                hook.remove()
        return self.project(dict(zip(images, features, strict=True)))


def first_layer(network: nn.Module) -> str:
    """Name the convolution through which pictures enter a network.

    Args:
        network: Any network.

    Returns:
        Its name among the modules of the network.

    Raises:
        ValueError: If there is none.
    """
    modules = dict(network.named_modules())
    name = _first_conv(network)
    if not isinstance(modules.get(name), nn.Conv2d):
        name = next((n for n, m in modules.items() if isinstance(m, nn.Conv2d)), '')
    if not name:
        raise ValueError(
            f"{type(network).__name__} has no convolution that stem='own' could give each "
            "sensor: set stem='conv1x1'"
        )
    return name


def with_channels(network: nn.Module, channels: int) -> nn.Module:
    """Copy a network for another number of channels; its first layer starts anew if it differs.

    Args:
        network: Any network with a convolution.
        channels: Number of channels.

    Returns:
        The copy.
    """
    network = copy.deepcopy(network)
    name = first_layer(network)
    old = network.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    if old.in_channels == channels:
        return network
    names = ('kernel_size', 'stride', 'padding', 'dilation', 'padding_mode')
    options: Any = {name: getattr(old, name) for name in names}
    new = nn.Conv2d(channels, old.out_channels, bias=old.bias is not None, **options)
    network.set_submodule(name, new.to(old.weight))
    return network


def _layer(network: nn.Module, name: str) -> nn.Module:
    """Find a layer, in a compiled network too."""
    return getattr(network, '_orig_mod', network).get_submodule(name)


def _share(into: nn.Module, source: nn.Module, skip: str) -> None:
    """Replace all of a network but one layer by the modules of another."""
    step, _, rest = skip.partition('.')
    for name, child in source.named_children():
        if name != step:
            setattr(into, name, child)
        elif rest:
            _share(into.get_submodule(name), child, rest)
    for name, parameter in source.named_parameters(recurse=False):
        into.register_parameter(name, parameter)
    for name, buffer in source.named_buffers(recurse=False):
        persistent = name not in source._non_persistent_buffers_set
        into.register_buffer(name, buffer, persistent=persistent)
