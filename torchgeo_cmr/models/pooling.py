"""Any network as an encoder: whatever it gives becomes one feature vector per picture."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ('PooledEncoder', 'pool')

#: Inputs on which the width of a network's output is measured: pictures of the usual sizes,
#: then sound. Networks of one size only refuse the others.
_SHAPES = ((64, 64), (224, 224), (32, 32), (256, 256), (128, 128), (16_000,))


class PooledEncoder(nn.Module):
    """A network whose feature map, tokens or vector become one vector per picture.

    Feature maps are averaged over height and width and tokens over their number. Of a tuple
    or list the last output counts, as of networks that give one per stage.
    """

    def __init__(self, network: nn.Module, in_channels: int, who: str = '') -> None:
        """Initialize a new PooledEncoder instance.

        Args:
            network: Network from (batch, *in_channels*, height, width) to features.
            in_channels: Number of channels.
            who: For messages, such as ``' for s1'``.

        Raises:
            ValueError: If the network does not take such pictures, gives something else, or
                has lazy layers whose size would be that of the first picture.
        """
        super().__init__()
        self.network = network
        lazy = any(map(is_lazy, network.parameters()))
        self.num_features = _width(network, in_channels, who)
        if lazy and not _takes(network, in_channels, (96, 160)):
            raise ValueError(
                f'{type(network).__name__}{who} has lazy layers, whose size the first picture '
                'decides: call it once on a picture of the size that you train with'
            )

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            x: Normalised pictures, shape (batch, channels, height, width).

        Returns:
            Features, shape (batch, num_features).
        """
        return pool(self.network(x))


def pool(output: Tensor | tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """Average what a network gives to one vector per picture.

    Args:
        output: Shape (batch, features), (batch, tokens, features) or
            (batch, features, height, width); or several of these, of which the last counts.

    Returns:
        Shape (batch, features).

    Raises:
        TypeError: If it is none of these.
    """
    last = output[-1] if isinstance(output, tuple | list) and output else output
    if isinstance(last, Tensor):
        if last.ndim == 2:
            return last
        if last.ndim == 3:
            return last.mean(dim=1)
        if last.ndim == 4:
            return last.mean(dim=(2, 3))
    found = tuple(last.shape) if isinstance(last, Tensor) else type(last).__name__
    raise TypeError(
        f'an encoder gives (batch, features), tokens or a feature map, found {found}'
    )


def _takes(network: nn.Module, in_channels: int, shape: tuple[int, int]) -> bool:
    """Whether a network that took one picture takes one of another size."""
    try:
        with torch.no_grad():
            # a copy, because batch norm counts what it sees
            copy.deepcopy(network).eval()(torch.zeros(1, in_channels, *shape))
    except Exception:  # noqa: BLE001
        return False
    return True


def _width(network: nn.Module, in_channels: int, who: str) -> int:
    """Encode one empty picture and count its features."""
    weight = next(network.parameters(), torch.zeros(()))
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    reasons: list[str] = []
    try:
        for shape in _SHAPES:
            picture = torch.zeros(
                (1, in_channels, *shape), dtype=weight.dtype, device=weight.device
            )
            try:
                with torch.no_grad():
                    return int(pool(network(picture)).shape[1])
            except Exception as error:  # noqa: BLE001
                reasons += (str(error) or type(error).__name__).splitlines()[:1]
    finally:
        for part, training in modes:
            part.training = training
    raise ValueError(
        f'{type(network).__name__}{who} does not take pictures of shape (batch, {in_channels}, '
        f'height, width) alone ({reasons[0]}): wrap it in a network that does'
    )
