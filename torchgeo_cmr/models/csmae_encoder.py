"""CSMAE: a vision transformer with blocks for each sensor and blocks for both."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from torchgeo_cmr.errors import RasterError

from .plain_tensors import check_fit
from .weights import NewBands, find_weights, match_bands, read_weights, select_bands

__all__ = ('CSMAE_BANDS', 'CSMAEEncoder', 'MaskedTokens', 'load_csmae', 'positions')

#: Bands of the published weights, of the first and of the second sensor, in order.
CSMAE_BANDS = (
    ['VH', 'VV'],
    ['B02', 'B03', 'B04', 'B08', 'B05', 'B06', 'B07', 'B11', 'B12', 'B8A'],
)


_norm: Any = partial(nn.LayerNorm, eps=1e-6)


class MaskedTokens(NamedTuple):
    """What an encoder makes of the patches that it was shown."""

    #: Class token and patches that were shown, shape (batch, 1 + shown, dim).
    tokens: Tensor
    #: 1 where a patch was hidden, 0 where it was shown, shape (batch, patches).
    hidden: Tensor
    #: Place of each patch among those shown and then those hidden, shape (batch, patches).
    order: Tensor


class CSMAEEncoder(nn.Module):
    """The encoder of the cross-sensor masked autoencoder.

    Each sensor has a patch embedding, a class token and *specific_depth* transformer blocks; then
    *common_depth* blocks serve both. A picture becomes the mean of its patch tokens, as in the
    published retrieval. Modules have the names of the published code, whose checkpoints load as
    they are (:func:`load_csmae`).

    If you use this model in your research, please cite the following paper:

    * https://arxiv.org/abs/2401.07782

    Relations: :class:`~torchgeo_cmr.tasks.CSMAE` trains it.

    Examples:
        >>> encoder = CSMAEEncoder(
        ...     {'s1': 2, 's2': 10},
        ...     dim=16,
        ...     num_heads=2,
        ...     specific_depth=1,
        ...     common_depth=1,
        ... )
        >>> h, z = encoder(torch.zeros(3, 10, 120, 120), 's2')
        >>> h.shape
        torch.Size([3, 16])
    """

    def __init__(
        self,
        in_channels: Mapping[str, int],
        *,
        image_size: int = 120,
        patch_size: int = 15,
        dim: int = 768,
        num_heads: int = 12,
        specific_depth: int = 10,
        common_depth: int = 2,
    ) -> None:
        """Initialize a new CSMAEEncoder instance.

        Args:
            in_channels: Number of channels of each of two modalities; in the published weights
                the first is Sentinel-1 and the second Sentinel-2.
            image_size: Height and width of pictures in pixels, a multiple of *patch_size*.
            patch_size: Height and width of a token in pixels.
            dim: Width of a token.
            num_heads: Heads of attention.
            specific_depth: Blocks of each sensor.
            common_depth: Blocks of both.

        Raises:
            ValueError: If there are not two modalities, or a number does not fit another.
        """
        super().__init__()
        if len(in_channels) != 2:
            raise ValueError(
                f'CSMAE pairs exactly two modalities, found {", ".join(in_channels) or "none"}'
            )
        if image_size % patch_size or dim % (4 * num_heads) or patch_size < 1:
            raise ValueError(
                'CSMAE needs an image_size that is a multiple of patch_size and a dim that is a '
                f'multiple of 4 num_heads, found {image_size}, {patch_size}, {dim}, {num_heads}'
            )
        if min(specific_depth, common_depth) < 0 or not specific_depth + common_depth:
            raise ValueError(
                'CSMAE needs blocks: set specific_depth, common_depth or both above 0, found '
                f'{specific_depth} and {common_depth}'
            )
        self.image_size, self.patch_size = image_size, patch_size
        self.num_features = dim
        first, second = in_channels
        #: Endings of the names of each modality: of patch embedding and token, and of blocks.
        self.endings = {first: ('', '_s1'), second: ('_s2', '_s2')}

        def blocks(depth: int) -> nn.Sequential:
            return nn.Sequential(
                *(
                    Block(dim, num_heads, 4.0, qkv_bias=True, norm_layer=_norm)
                    for _ in range(depth)
                )
            )

        for modality, (short, long) in self.endings.items():
            channels = in_channels[modality]
            embed = PatchEmbed(image_size, patch_size, channels, dim)
            nn.init.xavier_uniform_(embed.proj.weight.flatten(1))
            self.add_module(f'patch_embed{short}', embed)
            token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
            self.register_parameter(f'cls_token{short}', token)
            if specific_depth:
                self.add_module(f'blocks{long}', blocks(specific_depth))
                self.add_module(f'norm{long}', _norm(dim))
        grid = image_size // patch_size
        self.register_buffer('pos_embed', positions(grid, dim))
        self.blocks = blocks(common_depth)
        self.norm = _norm(dim)
        self.fc_norm = _norm(dim)

    def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        """Encode a batch of one modality.

        Args:
            x: Normalised images, shape (batch, channels, image_size, image_size).
            modality: Which sensor.

        Returns:
            Mean of the patch tokens, shape (batch, dim), twice: there is no head.

        Raises:
            RasterError: If the images have another size.
        """
        h = self.pool(self.encode(x, modality, 0.0).tokens)
        return h, h

    def encode(self, x: Tensor, modality: str, mask_ratio: float) -> MaskedTokens:
        """Encode the patches that are not hidden.

        Args:
            x: Normalised images, shape (batch, channels, image_size, image_size).
            modality: Which sensor.
            mask_ratio: Share of the patches that is hidden, at random, 0 to below 1.

        Returns:
            Tokens, and what was hidden.

        Raises:
            RasterError: If the images have another size.
        """
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise RasterError(
                f'CSMAE takes patches of {self.image_size} pixels, found '
                f'{x.shape[-2]} by {x.shape[-1]} of {modality}: set image_size, or cut patches '
                'of that size'
            )
        short, long = self.endings[modality]
        place = self.get_buffer('pos_embed')
        tokens = self.get_submodule(f'patch_embed{short}')(x) + place[:, 1:]
        batch, patches, dim = tokens.shape
        if mask_ratio:
            shuffle = torch.rand(batch, patches, device=x.device).argsort(dim=1)
            shown = shuffle[:, : max(1, int(patches * (1 - mask_ratio)))]
            index = shown[:, :, None].expand(-1, -1, dim)
            tokens = tokens.gather(1, index)
        else:
            shuffle = shown = torch.arange(patches, device=x.device).expand(batch, -1)
        hidden = torch.ones(batch, patches, device=x.device).scatter(1, shown, 0.0)
        token = self.get_parameter(f'cls_token{short}') + place[:, :1]
        tokens = torch.cat([token.expand(batch, -1, -1), tokens], dim=1)
        if hasattr(self, f'blocks{long}'):
            tokens = self.get_submodule(f'blocks{long}')(tokens)
            tokens = self.get_submodule(f'norm{long}')(tokens)
        tokens = self.norm(self.blocks(tokens))
        return MaskedTokens(tokens, hidden, shuffle.argsort(dim=1))

    def pool(self, tokens: Tensor) -> Tensor:
        """Average the patch tokens to one vector per picture, shape (batch, dim)."""
        return self.fc_norm(tokens[:, 1:].mean(dim=1))

    def deciding(self, modality: str, features: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture of a modality lands.

        Args:
            modality: Name of a modality.
            features: ``'h'`` or ``'z'``.

        Returns:
            Prefixes of their names in the state dict.
        """
        short, long = self.endings[modality]
        first = f'patch_embed{short}.', f'cls_token{short}'
        specific = f'blocks{long}.', f'norm{long}.'
        return (*first, *specific, 'pos_embed', 'blocks.', 'norm.', 'fc_norm.')

    def encoder(self, modality: str) -> nn.Module:
        """Return the network, which serves both modalities."""
        return self


def positions(grid: int, dim: int) -> Tensor:
    """Make the fixed position embedding of a square of patches, sines and cosines of both axes.

    Args:
        grid: Patches along a side.
        dim: Width of a token, a multiple of 4.

    Returns:
        Shape (1, 1 + grid * grid, dim), float32; the first row, of the class token, is 0.
    """
    rates = 10_000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * rates
    along = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = along[None].expand(grid, -1, -1)
    rows = along[:, None].expand(-1, grid, -1)
    square = torch.cat([columns, rows], dim=2).reshape(grid * grid, dim)
    return torch.cat([square.new_zeros(1, dim), square]).float()[None]


def load_csmae(
    encoder: CSMAEEncoder,
    path: str | Path,
    *,
    bands: Mapping[str, Sequence[str]] | None = None,
    new_bands: NewBands = 'error',
) -> dict[str, list[str]]:
    """Load published weights, or a state dict of the same names, into an encoder.

    Decoders in the file are passed over. Patch embeddings are cut by the names of the bands, as
    far as *bands* has them; the published order is :data:`CSMAE_BANDS`.

    Args:
        encoder: What to load into.
        path: Checkpoint of the published code, or state dict; read with ``weights_only=True``.
        bands: Names of the channels of each modality, as far as they are known.
        new_bands: What to do with a band without weights: ``'error'``, or ``'mean'`` of all.

    Returns:
        Bands of the weights that were taken by position, by modality.

    Raises:
        RasterError: If a band has no weights, or the weights are for another number of channels.
        ValueError: If the file is missing, holds no weights, or those of another layout.
    """
    found = find_weights(str(path))
    state, _ = read_weights(found, '')
    ends = [
        name for name in state if name == 'pos_embed' or name.endswith('.pos_embed')
    ]
    prefix = min(ends, key=len).removesuffix('pos_embed') if ends else ''
    expected = encoder.state_dict()
    missing = [name for name in expected if prefix + name not in state]
    blocks = {
        n.removeprefix(prefix) for n in state if 'blocks' in n and 'decoder' not in n
    }
    extra = sorted(n for n in blocks - set(expected) if n.startswith('blocks'))
    if missing or extra:
        raise ValueError(
            f'{found.source} is of another layout of CSMAE: {len(missing)} of '
            f'{len(expected)} tensors are missing ({", ".join(missing[:1])}) and {len(extra)} too '
            'many: set specific_depth and common_depth as in its configuration'
        )
    part = {name: state[prefix + name] for name in expected}
    embeddings = [f'patch_embed{s}.proj.weight' for s, _ in encoder.endings.values()]
    check_fit(
        part,
        expected,
        embeddings,
        f'{found.source} does not fit',
        'set image_size, patch_size and size alike',
    )
    part = {name: value.to(expected[name].dtype) for name, value in part.items()}
    assumed: dict[str, list[str]] = {}
    for (modality, (short, _)), have in zip(
        encoder.endings.items(), CSMAE_BANDS, strict=True
    ):
        name = f'patch_embed{short}.proj.weight'
        want = (bands or {}).get(modality)
        order = match_bands(
            have,
            part[name].shape[1],
            want,
            expected[name].shape[1],
            new_bands=new_bands,
            source=found.source,
            who=f' for {modality}',
        )
        if want is None and len(order) == len(have):
            assumed[modality] = list(have)
        part[name] = select_bands(part[name], order)
    encoder.load_state_dict(part)
    return assumed
