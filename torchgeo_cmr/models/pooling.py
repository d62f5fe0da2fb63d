"""Any network as an encoder: whatever it gives becomes one feature vector per picture."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ('PooledEncoder', 'StageEncoder', 'pool')

#: Inputs on which the width of a network's output is measured: pictures of the usual sizes,
#: then sound. Networks of one size only refuse the others.
_SHAPES = (*((side, side) for side in (64, 224, 32, 256, 128, 320)), (16_000,))


class PooledEncoder(nn.Module):
    """A network whose feature map, tokens or vector become one vector per picture.

    Feature maps are averaged over height and width, or over each cell of a grid, and tokens over
    their number. Of a tuple or list the last output counts, as of networks that give one per
    stage.
    """

    def __init__(
        self, network: nn.Module, in_channels: int, who: str = '', *, grid: int = 1
    ) -> None:
        """Initialize a new PooledEncoder instance.

        Args:
            network: Network from (batch, *in_channels*, height, width) to features.
            in_channels: Number of channels.
            who: For messages, such as ``' for s1'``.
            grid: Cells per side of the grid over which a feature map is averaged; the vector has
                the means of all cells, channel by channel.

        Raises:
            ValueError: If the network does not take such pictures, gives something else, has
                lazy layers whose size would be that of the first picture, or is to be averaged
                over a grid and gives no feature map.
        """
        super().__init__()
        self.network, self.grid = network, grid
        lazy = any(map(is_lazy, network.parameters()))
        self.num_features = self._width(in_channels, who)
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
        return pool(self.output(x), self.grid)

    def output(self, x: Tensor) -> Any:
        """Give what the network makes of a batch, before it is averaged."""
        return self.network(x)

    def _width(self, in_channels: int, who: str) -> int:
        """Encode one empty picture and count its features."""
        network = self.network
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
                        return int(self(picture).shape[1])
                except Exception as error:  # noqa: BLE001
                    reasons += (str(error) or type(error).__name__).splitlines()[:1]
        finally:
            for part, training in modes:
                part.training = training
        raise ValueError(
            f'{type(network).__name__}{who} does not take pictures of shape (batch, '
            f'{in_channels}, height, width) alone ({reasons[0]}): wrap it in a network that does'
        )


class StageEncoder(PooledEncoder):
    """A timm network up to one of its stages, averaged over a grid.

    Early stages have small fields of view and are quick; a grid keeps where in the picture
    something is. The layers behind the stage are removed.
    """

    def __init__(
        self,
        network: nn.Module,
        in_channels: int,
        who: str = '',
        *,
        grid: int = 1,
        stage: int | None = None,
    ) -> None:
        """Initialize a new StageEncoder instance.

        Args:
            network: Network of timm; it is changed.
            in_channels: Number of channels.
            who: For messages, such as ``' for s1'``.
            grid: Cells per side of the grid.
            stage: Which of timm's intermediate features, from 0; None for the last.

        Raises:
            ValueError: If the network has no such stage.
        """
        try:
            kept = network.prune_intermediate_layers(  # ty: ignore[not-callable]
                1 if stage is None else [stage], prune_norm=True
            )
        except AttributeError as error:
            raise ValueError(
                f'timm gives no feature maps of {type(network).__name__}{who}, which stage and '
                'grid need: take a convolutional network, or leave both out'
            ) from error
        except (AssertionError, IndexError) as error:
            raise ValueError(
                f'{type(network).__name__}{who} has no stage {stage} ({error}): stages count '
                'from 0'
            ) from error
        self.stages = list(kept)
        super().__init__(network, in_channels, who, grid=grid)

    def output(self, x: Tensor) -> Any:
        """Give the feature map of the stage, shape (batch, channels, height, width)."""
        return self.network.forward_intermediates(  # ty: ignore[not-callable]
            x, indices=self.stages, intermediates_only=True, stop_early=True
        )


def pool(output: Tensor | tuple[Tensor, ...] | list[Tensor], grid: int = 1) -> Tensor:
    """Average what a network gives to one vector per picture.

    Args:
        output: Shape (batch, features), (batch, tokens, features) or
            (batch, features, height, width); or several of these, of which the last counts.
        grid: Cells per side over which a feature map is averaged.

    Returns:
        Shape (batch, features), of a grid (batch, features * grid * grid).

    Raises:
        TypeError: If it is none of these, or not a feature map where there is a grid.
    """
    last = output[-1] if isinstance(output, tuple | list) and output else output
    if isinstance(last, Tensor) and grid > 1:
        if last.ndim == 4:
            return F.adaptive_avg_pool2d(last, grid).flatten(1)
        raise TypeError(
            f'grid={grid} needs a feature map, found shape {tuple(last.shape)}'
        )
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
