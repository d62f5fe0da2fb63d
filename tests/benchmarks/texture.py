"""Colour and texture of a picture as one vector, for classes with a handful of pictures.

A network that starts from nothing learns little from ten pictures a class. These figures are
not learnt at all: CMIR-NET takes them as vectors that were made elsewhere (``model='mlp'``),
as it took those of another network in its paper.
"""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

__all__ = ('describe',)

#: Rings of the spectrum, in cycles a picture.
RINGS = (1, 2, 4, 6, 9, 13, 19, 28, 40, 56, 80, 120)

#: Scales, each of half the size.
SCALES = 4

#: Neighbours of a pixel, counter-clockwise.
AROUND = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


def describe(image: Tensor) -> Tensor:
    """Describe a picture; turning it by quarters or flipping it changes next to nothing.

    Args:
        image: Red, green and blue, shape (3, height, width), 0 to 255; square, and of the
            same size for all that are compared.

    Returns:
        Shape (308,), float32.
    """
    red, green, blue = image / 255
    grey = (red + green + blue) / 3
    opponent = torch.stack([grey, red - green, (red + green) / 2 - blue])
    parts = _colours(opponent)
    scaled = grey[None, None]
    for scale in range(SCALES):
        if scale:
            scaled = avg_pool2d(scaled, 2)
        parts += _texture(scaled[0, 0])
    parts += _spectrum(grey)
    return torch.cat([part.flatten() for part in parts])


def _colours(opponent: Tensor) -> list[Tensor]:
    """Quantiles of each channel, and a joint histogram."""
    levels = torch.tensor([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
    pixels = opponent.flatten(1)
    grey, first, second = pixels
    bins = (
        (grey * 5).clamp(0, 4.99).long() * 16
        + ((first + 0.15) / 0.3 * 4).clamp(0, 3.99).long() * 4
        + ((second + 0.15) / 0.3 * 4).clamp(0, 3.99).long()
    )
    return [torch.quantile(pixels, levels, dim=1), pixels.std(1), _shares(bins, 80)]


def _texture(grey: Tensor) -> list[Tensor]:
    """Edges, their directions, local binary patterns, and how they vary over the picture."""
    across, down = (grey[1:-1, 2:] - grey[1:-1, :-2], grey[2:, 1:-1] - grey[:-2, 1:-1])
    edge = (across**2 + down**2).sqrt() + 1e-6
    mean, angle = edge.mean(), torch.atan2(down, across)
    size = torch.stack(
        [
            mean.log(),
            edge.std().add(1e-6).log(),
            edge.square().mean().sqrt() / mean,
            edge.median() / mean,
            torch.quantile(edge.flatten(), 0.9) / mean,
        ]
    )
    turns = torch.stack([_harmonic(edge, angle, k) for k in (1, 2, 4, 8)])
    tensor = torch.stack([across**2, down**2, across * down])[None]
    xx, yy, xy = avg_pool2d(tensor, 5, 2)[0]
    strength = xx + yy
    line = ((xx - yy) ** 2 + 4 * xy**2).sqrt() / (strength + 1e-5)
    lines = torch.stack(
        [(line * strength).sum() / (strength.sum() + 1e-9), line.mean(), line.std()]
    )
    varied = []
    for blocks in (4, 8):
        edges = adaptive_avg_pool2d(edge[None, None], blocks) / mean
        levels = adaptive_avg_pool2d(grey[None, None], blocks)
        varied += [edges.std(), levels.std(), edges.max(), edges.min()]
    return [size, turns, lines, _patterns(grey, edge > mean), torch.stack(varied)]


def _patterns(grey: Tensor, strong: Tensor) -> Tensor:
    """Histogram of uniform local binary patterns, on strong edges and beside them."""
    height, width = (n - 2 for n in grey.shape)
    brighter = torch.stack(
        [
            grey[1 + y : 1 + y + height, 1 + x : 1 + x + width]
            > grey[1:-1, 1:-1] + 0.01
            for y, x in AROUND
        ]
    ).long()
    changes = (brighter != brighter.roll(1, 0)).sum(0)
    pattern = torch.where(changes <= 2, brighter.sum(0), 9)
    return _shares((pattern + 10 * strong.long()).flatten(), 20)


def _spectrum(grey: Tensor) -> list[Tensor]:
    """Power in rings of the spectrum, how peaked it is, and how much it has a direction."""
    (height, width), middle = grey.shape, grey - grey.mean()
    middle = middle * torch.hann_window(height)[:, None] * torch.hann_window(width)
    power = torch.fft.fft2(middle).abs() ** 2 + 1e-9
    down = torch.fft.fftfreq(height)[:, None] * height
    across = torch.fft.fftfreq(width)[None] * width
    radius, angle = torch.hypot(down, across), torch.atan2(down, across + 0 * down)
    found = []
    for low, high in pairwise(RINGS):
        ring = (radius >= low) & (radius < high)
        inside, turned = power[ring], angle[ring]
        if not len(inside):  # beyond what so small a picture can hold
            found.append(torch.zeros(4))
            continue
        figures = [inside.mean().log(), inside.max() / inside.sum()]
        figures += [_harmonic(inside, turned, k) for k in (2, 4)]
        found.append(torch.stack(figures))
    return found


def _harmonic(weight: Tensor, angle: Tensor, order: int) -> Tensor:
    """How much angles agree up to turns by 360 degrees / order, 0 to 1."""
    cosine = (weight * torch.cos(order * angle)).sum()
    sine = (weight * torch.sin(order * angle)).sum()
    return torch.hypot(cosine, sine) / weight.sum()


def _shares(bins: Tensor, count: int) -> Tensor:
    """Roots of the shares of the bins."""
    return (torch.bincount(bins, minlength=count) / len(bins)).sqrt()
