"""How an encoder is run: precision, flips, batch size, layout."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchgeo_cmr.embed import Encoding, embed
from torchgeo_cmr.embed.device import fetched, prepared
from torchgeo_cmr.embed.inference import (
    check_batch_size,
    find_batch_size,
    sent,
    settle_precision,
)
from torchgeo_cmr.errors import ArchiveError, CMRError, RasterError
from torchgeo_cmr.table import read_header

CPU = torch.device('cpu')


def rows(x: torch.Tensor) -> torch.Tensor:
    """Unit vectors that tell a patch from its mirror image."""
    flat = torch.stack([x[:, 0, 0, 0], x[:, 0, 0, -1], x[:, 0, -1, 0]], dim=1)
    return nn.functional.normalize(flat, dim=1)


def test_flips_are_the_mean_of_four() -> None:
    images = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    found = Encoding(flips=True)(rows, images, CPU)
    for image, row in zip(images, found, strict=True):
        total = sum(
            rows(one[None])[0]
            for one in (image, image.flip(2), image.flip(1), image.flip(1, 2))
        )
        torch.testing.assert_close(row, total / torch.linalg.norm(total))
    # A patch and its mirror image are one place to such an encoder.
    mirrored = Encoding(flips=True)(rows, images.flip(3), CPU)
    torch.testing.assert_close(found, mirrored)
    assert not torch.allclose(rows(images), rows(images.flip(3)))
    torch.testing.assert_close(Encoding()(rows, images, CPU), rows(images))


def test_bf16_is_near_and_vectors_stay_float32() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 8, 3)
    images = torch.rand(4, 2, 8, 8)

    def run(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(layer(x).mean((2, 3)), dim=1)

    full, half = (Encoding(p)(run, images, CPU) for p in ('32', 'bf16'))
    assert half.dtype == torch.float32
    assert 1e-6 < (full - half).abs().max() < 0.02
    assert torch.nn.functional.cosine_similarity(full, half).min() > 0.999


def test_auto_is_float32_where_bf16_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle_precision('auto', CPU) == '32'
    assert settle_precision('auto', torch.device('mps')) == '32'
    assert settle_precision('bf16', CPU) == 'bf16'
    for capability, expected in (((9, 0), 'bf16'), ((7, 5), '16')):
        monkeypatch.setattr(
            torch.cuda, 'get_device_capability', lambda device, c=capability: c
        )
        assert settle_precision('auto', torch.device('cuda')) == expected
    with pytest.raises(RasterError, match="no precision '8': choose one of auto, 32"):
        settle_precision('8', CPU)


def test_the_batch_size_stops_where_nothing_is_gained() -> None:
    clock = [0.0]
    tried: list[int] = []

    def run(n: int) -> None:
        tried.append(n)
        clock[0] += max(n, 32) / 1000  # up to 32 patches take as long as 32

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('time.perf_counter', lambda: clock[0])
        assert find_batch_size(run, CPU) == 32
    assert tried == [8, 8, 16, 16, 32, 32, 64, 64]


def test_the_batch_size_stays_inside_memory() -> None:
    clock = [0.0]

    def run(n: int) -> None:
        if n > 16:
            raise torch.OutOfMemoryError('too much')
        clock[0] += 1

    def never(n: int) -> None:
        raise torch.OutOfMemoryError('too much')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('time.perf_counter', lambda: clock[0])
        assert find_batch_size(run, CPU) == 16
        with pytest.raises(CMRError, match='too little memory for 8 patches'):
            find_batch_size(never, CPU)


@pytest.mark.parametrize('word', ['0', 'many', '-3', '1.5'])
def test_a_batch_size_is_a_number_or_auto(word: str) -> None:
    with pytest.raises(RasterError, match=f"{word}: give 1 or more, or 'auto'"):
        check_batch_size(word)
    assert check_batch_size('auto') is None
    assert check_batch_size('12') == 12


def test_an_automatic_batch_size_is_kept_by_the_archive(
    s2_folder: Path,
    fake: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / 'out'
    monkeypatch.setattr(
        'torchgeo_cmr.embed.run_options.find_batch_size', lambda run, d: 4
    )
    options: dict[str, Any] = {'out': out, 'batch_size': 'auto', 'progress': False}
    files = sorted(s2_folder.glob('*B02.tif'))
    task = fake(channels=1)
    first = embed(task, files, 's2', 16, **options)
    assert task.batches == [1, *[4, 2] * 4]
    assert read_header(out)['batch_size'] == 4
    next(out.glob('part-*')).unlink()
    # Another machine would have found another number.
    monkeypatch.setattr(
        'torchgeo_cmr.embed.run_options.find_batch_size', lambda run, d: 99
    )
    task = fake(channels=1)
    again = embed(task, files, 's2', 16, **options)
    assert task.batches == [1, 4, 2]
    np.testing.assert_array_equal(first.vectors, again.vectors)


def test_flips_and_precision_belong_to_the_plan(
    s2_folder: Path, fake: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    files = sorted(s2_folder.glob('*B02.tif'))
    options: dict[str, Any] = {'out': out, 'progress': False}
    table = embed(fake(channels=1), files, 's2', 16, flips=True, **options)
    assert table.record['flips'] == 'mean of 4, scaled to length 1'
    assert table.record['precision'] == '32'
    with pytest.raises(ArchiveError, match='begun with flips = true and not false'):
        embed(fake(channels=1), files, 's2', 16, **options)
    with pytest.raises(
        ArchiveError, match='begun with precision = "32" and not "bf16"'
    ):
        embed(
            fake(channels=1), files, 's2', 16, flips=True, precision='bf16', **options
        )


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Conv2d(2, 3, 3)


def test_weights_come_back_as_they_were() -> None:
    task = Small()
    kernel = task.model.weight
    strides, values = kernel.stride(), kernel.detach().clone()
    with prepared(task, CPU):
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        assert task.model.weight is kernel
    assert kernel.stride() == strides
    torch.testing.assert_close(kernel.detach(), values, rtol=0, atol=0)


def test_compiling_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    task, asked = Small(), []
    monkeypatch.setattr(torch, 'compile', lambda f, **_: asked.append(f) or f)
    with prepared(task, CPU, compiled=True):
        assert task.model._compiled_call_impl is not None
        assert len(asked) == 1
    assert task.model._compiled_call_impl is None
    with (
        pytest.raises(CMRError, match='Linear has no network `model` to compile'),
        prepared(nn.Linear(1, 1), CPU, compiled=True),
    ):
        pass


@pytest.mark.parametrize('late', [None, False, True])
def test_rows_come_back_in_order_also_one_batch_late(late: bool | None) -> None:
    steps: list[str] = []

    def encoded() -> Iterator[tuple[int, Tensor]]:
        for number in range(3):
            steps.append(f'encode {number}')
            yield number, torch.full((2, 3), float(number))

    found = []
    for number, rows in fetched(encoded(), late=late):
        steps.append(f'use {number}')
        found.append(rows)
    assert [rows.tolist() for rows in found] == [[[n] * 3] * 2 for n in (0.0, 1.0, 2.0)]
    order = (
        'encode 0, encode 1, use 0, encode 2, use 1, use 2'
        if late
        else 'encode 0, use 0, encode 1, use 1, encode 2, use 2'
    )
    assert ', '.join(steps) == order


def test_a_batch_that_cannot_be_read_loses_none_before_it() -> None:
    def encoded() -> Iterator[tuple[int, Tensor]]:
        yield 0, torch.ones(1, 2)
        raise OSError('cut short')

    coming = fetched(encoded(), late=False)
    assert next(coming)[0] == 0
    with pytest.raises(OSError, match='cut short'):
        next(coming)
    assert [*fetched(iter(()), late=True)] == []


def test_pixels_are_sent_as_they_are() -> None:
    pixels, sound = torch.randn(2, 3, 4, 5), torch.randn(2, 16)
    pixels[0, 0, 0, 0] = torch.nan
    moved = sent(pixels, torch.device('cpu'))
    assert torch.equal(moved.nan_to_num(7), pixels.nan_to_num(7))
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert sent(sound, torch.device('cpu')) is sound
