import math
from typing import Any

import numpy as np
import pytest
import torch

from torchgeo_cmr.transforms import LogMel
from torchgeo_cmr.transforms.logmel import mel_bands


def tone(frequency: float, seconds: float = 1.0, rate: int = 16_000) -> torch.Tensor:
    time = torch.arange(round(seconds * rate)) / rate
    return torch.sin(2 * math.pi * frequency * time)[None]


@pytest.mark.parametrize('seconds', [0.01, 0.5, 0.975, 1.0, 3.0])
def test_shape_is_that_of_the_method(seconds: float) -> None:
    picture = LogMel()(tone(440, seconds))
    assert picture.shape == (1, 96, 64)
    assert LogMel().samples == 15_600
    batch = LogMel(frames=20)(torch.stack([tone(440), tone(880)]))
    assert batch.shape == (2, 1, 20, 64)


def test_equals_a_loop_in_numpy() -> None:
    torch.manual_seed(0)
    sound = torch.rand(1, 2000) - 0.5
    found = LogMel(frames=6, num_mels=10)(sound)[0]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    edges = np.linspace(*(1127 * np.log(1 + np.array([125, 7500]) / 700)), 12)
    middle = (2000 - (400 + 5 * 160)) // 2
    for frame in range(6):
        part = sound[0, middle + 160 * frame :][:400].numpy() * window
        strength = np.abs(np.fft.rfft(part, 512))
        for band in range(10):
            low, top, high = edges[band : band + 3]
            total = 0.0
            for k, s in enumerate(strength):
                mel = 1127 * math.log(1 + k * 31.25 / 700)
                if low < mel < high:
                    rising = mel <= top
                    total += s * (
                        (mel - low) / (top - low)
                        if rising
                        else (high - mel) / (high - top)
                    )
            assert found[frame, band].item() == pytest.approx(
                math.log(total + 0.01), abs=1e-3
            )


@pytest.mark.parametrize('frequency', [300, 1000, 4000])
def test_a_tone_lights_up_its_band(frequency: float) -> None:
    picture = LogMel()(tone(frequency))[0]
    bands = mel_bands(512, 16_000, 64, 125, 7500)
    nearest = round(frequency / 31.25)
    expected = bands[nearest].argmax().item()
    assert set(picture.argmax(dim=1).tolist()) <= {expected - 1, expected, expected + 1}


def test_silence_is_the_offset_and_pads_behind() -> None:
    silent = LogMel()(torch.zeros(1, 16_000))
    torch.testing.assert_close(silent, torch.full_like(silent, math.log(0.01)))
    short = LogMel()(tone(440, 0.3))[0]
    assert (short[-40:] == math.log(torch.tensor(0.01))).all()
    assert short[:20].max() > 0


def test_level_makes_quiet_like_loud() -> None:
    loud, quiet = tone(440), 0.01 * tone(440)
    level = LogMel(level=0.1)
    torch.testing.assert_close(level(loud), level(quiet), atol=1e-3, rtol=0)
    assert (LogMel()(loud) - LogMel()(quiet)).max() > 2
    assert level(torch.zeros(1, 100)).isfinite().all()


def test_gradient_is_finite_at_silence() -> None:
    sound = torch.zeros(1, 16_000, requires_grad=True)
    LogMel(level=0.1)(sound).sum().backward()
    assert sound.grad is not None
    assert sound.grad.isfinite().all()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'sample_rate': 8000}, 'to 7500 Hz do not fit sound of 8000 samples'),
        ({'low': 8000.0}, 'bands from 8000'),
        ({'frames': 0}, 'at least 1, offset and level above 0, found 0'),
        ({'level': 0.0}, '0.01 and 0.0'),
    ],
)
def test_refuses_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel(**options)


@pytest.mark.parametrize('shape', [(2, 100), (1, 0), (100,)])
def test_refuses_other_than_mono(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'shape \(..., 1, samples\), found'):
        LogMel()(torch.zeros(shape))


def test_print_out_names_the_settings() -> None:
    assert 'frames=96, num_mels=64, low=125, high=7500' in repr(LogMel())
