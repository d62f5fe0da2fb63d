"""How an encoder is run: number format, order of pixels, flips, batch size."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from torchgeo_cmr.errors import CMRError, RasterError

#: What numbers an encoder computes with; ``'auto'`` is settled by :func:`settle_precision`.
Precision = Literal['auto', '32', 'bf16', '16']

_DTYPES = {'bf16': torch.bfloat16, '16': torch.float16}

#: Batch sizes that are tried, smallest first.
_SIZES = (8, 16, 32, 64, 128, 256, 512)

#: A larger batch has to be faster by this factor, or the smaller one stays.
_GAIN = 1.05

#: Seconds after which no larger batch is tried.
_PATIENCE = 20.0


@dataclass(frozen=True)
class Encoding:
    """How patches become vectors, besides the weights.

    Examples:
        >>> encoding = Encoding(flips=True)
        >>> encoding.record
        {'precision': '32', 'flips': 'mean of 4, scaled to length 1'}
        >>> encoding(
        ...     lambda x: x.mean((2, 3)), torch.ones(2, 3, 8, 8), torch.device('cpu')
        ... ).shape
        torch.Size([2, 3])
    """

    #: ``'32'``, ``'bf16'`` or ``'16'``: what convolutions and products compute with.
    precision: str = '32'
    #: Whether a vector is the mean of those of four flips.
    flips: bool = False

    @property
    def record(self) -> dict[str, Any]:
        """What an archive records of it: ``precision``, and how ``flips`` were joined."""
        return {
            'precision': self.precision,
            'flips': 'mean of 4, scaled to length 1' if self.flips else None,
        }

    def __call__(
        self, embed: Callable[[Tensor], Tensor], images: Tensor, device: torch.device
    ) -> Tensor:
        """Turn pixels into unit rows.

        Args:
            embed: From pixels on the device to unit rows ``(batch, dim)``.
            images: Pixels, float32 of shape ``(batch, bands, height, width)``.
            device: Where to compute.

        Returns:
            float32 of shape ``(batch, dim)``, on the device. With flips, the vectors of the
            patch as it is, mirrored left to right, top to bottom and both are added and
            scaled to length 1.
        """
        return self.together(lambda given: embed(given['']), {'': images}, device)

    def together(
        self,
        embed: Callable[[dict[str, Tensor]], Tensor],
        images: Mapping[str, Tensor],
        device: torch.device,
        *,
        raw: bool = False,
    ) -> Tensor:
        """Turn the pixels of several sensors into one row per place.

        Args:
            embed: From pixels on the device, by key, to rows ``(batch, dim)``.
            images: Pixels by key, float32 of shape ``(batch, bands, height, width)``; all are
                mirrored together.
            device: Where to compute.
            raw: Whether rows keep their length: with flips it is that of their mean.

        Returns:
            float32 of shape ``(batch, dim)``, on the device.
        """
        moved = {key: sent(x, device) for key, x in images.items()}
        dtype = _DTYPES.get(self.precision)
        fewer = nullcontext() if dtype is None else torch.autocast(device.type, dtype)
        with torch.inference_mode(), fewer:
            rows = embed(moved).float()
            if not self.flips:
                return rows
            for sides in ((3,), (2,), (2, 3)):
                turned = {key: x.flip(sides) for key, x in moved.items()}
                rows = rows + embed(turned).float()
            return rows / 4 if raw else nn.functional.normalize(rows, dim=1)


def sent(pixels: Tensor, device: torch.device) -> Tensor:
    """Move pixels to a device, in the order that it likes; to a GPU, without waiting.

    A GPU fetches them from pinned memory, on a stream of its own while it computes, and
    puts them into its order itself: the caller may read the next batch meanwhile.

    Args:
        pixels: Pixels of shape ``(batch, bands, height, width)``, or sound.
        device: Where to.

    Returns:
        The same numbers on the device.
    """
    order = layout(device) if pixels.ndim == 4 else torch.preserve_format
    if device.type != 'cuda' or pixels.is_cuda:
        return pixels.to(device, memory_format=order)
    copies, computes = _copies(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copies):
        moved = pixels.pin_memory().to(device, non_blocking=True)
    computes.wait_stream(copies)
    # Otherwise the copying stream would reuse the memory while it is computed with.
    moved.record_stream(computes)
    return moved.to(memory_format=order)


@cache
def _copies(device: torch.device) -> 'torch.cuda.Stream':
    """The stream of a device on which pixels come to it."""
    return torch.cuda.Stream(device)


def settle_precision(precision: str, device: torch.device) -> str:
    """Say what ``'auto'`` means on a device.

    Args:
        precision: ``'auto'``, ``'32'``, ``'bf16'`` or ``'16'``.
        device: Where the encoder runs.

    Returns:
        The precision; for ``'auto'`` ``'bf16'`` on CUDA devices that compute with it,
        ``'16'`` on older ones, else ``'32'``: on the CPUs that were measured bf16 is slower.

    Raises:
        RasterError: If there is no such precision.
    """
    if precision not in get_args(Precision):
        raise RasterError(
            f'there is no precision {precision!r}: choose one of {", ".join(get_args(Precision))}'
        )
    if precision != 'auto':
        return precision
    if device.type != 'cuda':
        return '32'
    return 'bf16' if torch.cuda.get_device_capability(device)[0] >= 8 else '16'


def check_batch_size(batch_size: int | str) -> int | None:
    """Read a batch size.

    Args:
        batch_size: A number, 1 or more, or ``'auto'``.

    Returns:
        The number; None for ``'auto'``.

    Raises:
        RasterError: If it is neither.
    """
    if batch_size == 'auto':
        return None
    try:
        number = int(batch_size)
    except ValueError:
        number = 0
    if number < 1:
        raise RasterError(f"batch_size is {batch_size}: give 1 or more, or 'auto'")
    return number


def find_batch_size(run: Callable[[int], Any], device: torch.device) -> int:
    """Find the smallest batch that is about as fast per patch as any larger one.

    Sizes double as long as that gains a twentieth and memory holds; each is timed once,
    after a round that is not.

    Args:
        run: Encodes a batch of so many patches.
        device: Where it runs.

    Returns:
        Patches in a batch.

    Raises:
        CMRError: If not even the smallest batch fits into memory.
    """
    chosen, best = 0, 0.0
    begun = time.monotonic()
    for size in _SIZES:
        try:
            run(size)
            _wait(device)
            start = time.perf_counter()
            run(size)
            _wait(device)
        except torch.OutOfMemoryError as error:
            if not chosen:
                raise CMRError(
                    f'{device} has too little memory for {size} patches: give a smaller '
                    'batch_size, or another device'
                ) from error
            break
        speed = size / max(time.perf_counter() - start, 1e-9)
        if speed < _GAIN * best:
            break
        chosen, best = size, speed
        if time.monotonic() - begun > _PATIENCE:
            break
    return chosen


def layout(device: torch.device) -> torch.memory_format:
    """Give the order of pixels in memory that a device likes: channels last, but on MPS."""
    return (
        torch.channels_last
        if device.type in ('cpu', 'cuda')
        else torch.contiguous_format
    )


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    elif device.type == 'mps':
        torch.mps.synchronize()
