"""CSMAE's decoder: from the tokens that were shown to the pixels of those that were hidden."""

from collections.abc import Mapping

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .csmae_encoder import MaskedTokens, positions

__all__ = ('CSMAEDecoder', 'patchify')


class CSMAEDecoder(nn.Module):
    """Decode tokens of any sensor to the pixels of one or several.

    Relations: the counterpart of :class:`~torchgeo_cmr.models.csmae_encoder.CSMAEEncoder`, needed
    for training only.
    """

    def __init__(
        self,
        out_channels: Mapping[str, int],
        *,
        grid: int,
        patch_size: int,
        in_dim: int,
        dim: int = 512,
        depth: int = 8,
        num_heads: int = 16,
    ) -> None:
        """Initialize a new CSMAEDecoder instance.

        Args:
            out_channels: Number of channels of each modality that is decoded to.
            grid: Patches along a side.
            patch_size: Height and width of a patch in pixels.
            in_dim: Width of the encoder's tokens.
            dim: Width inside.
            depth: Transformer blocks.
            num_heads: Heads of attention.
        """
        super().__init__()
        self.embed = nn.Linear(in_dim, dim)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.register_buffer('place', positions(grid, dim))
        self.layers = nn.Sequential(
            *(Block(dim, num_heads, 4.0, qkv_bias=True) for _ in range(depth)),
            nn.LayerNorm(dim),
        )
        self.pixels = nn.ModuleDict(
            {m: nn.Linear(dim, patch_size**2 * n) for m, n in out_channels.items()}
        )

    def forward(self, shown: MaskedTokens, modality: str) -> Tensor:
        """Predict the pixels of all patches.

        Args:
            shown: What the encoder made of the patches that it was shown.
            modality: Whose pixels.

        Returns:
            Shape (batch, patches, patch_size * patch_size * channels).
        """
        x = self.embed(shown.tokens)
        batch, count, dim = x.shape
        patches = shown.order.shape[1]
        blanks = self.token.expand(batch, patches + 1 - count, -1)
        every = torch.cat([x[:, 1:], blanks], dim=1)
        every = every.gather(1, shown.order[:, :, None].expand(-1, -1, dim))
        x = torch.cat([x[:, :1], every], dim=1) + self.get_buffer('place')
        return self.pixels[modality](self.layers(x)[:, 1:])


def patchify(x: Tensor, patch_size: int) -> Tensor:
    """Cut pictures into the patches that a decoder predicts.

    Args:
        x: Shape (batch, channels, height, width).
        patch_size: Height and width of a patch.

    Returns:
        Shape (batch, patches, patch_size * patch_size * channels), channels last.
    """
    batch, channels, height, width = x.shape
    rows, columns = height // patch_size, width // patch_size
    x = x.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)
