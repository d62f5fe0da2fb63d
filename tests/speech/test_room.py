"""Noise of a stated power, echoes of a stated length."""

import numpy as np
import pytest

from torchgeo_cmr.speech import RATE, add_noise, reverberate

SOUND = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE) * 0.3


def test_noise_has_the_power_asked() -> None:
    for snr in (0.0, 10.0, 25.0):
        noise = add_noise(SOUND, snr, np.random.default_rng(0)) - SOUND
        found = 10 * np.log10(np.mean(SOUND**2) / np.mean(noise**2))
        assert found == pytest.approx(snr, abs=0.01)


def test_noise_is_pink() -> None:
    noise = add_noise(SOUND, 0, np.random.default_rng(0)) - SOUND
    power = np.abs(np.fft.rfft(noise)) ** 2
    # as much power in each octave
    octaves = [power[low : 2 * low].sum() for low in (125, 250, 500, 1000, 2000)]
    assert max(octaves) / min(octaves) < 1.6


def test_chance_is_the_generators() -> None:
    for apply in (add_noise, reverberate):
        one, again, other = (
            apply(SOUND, 0.5, np.random.default_rng(seed)) for seed in (1, 1, 2)
        )
        assert np.array_equal(one, again)
        assert not np.allclose(one, other)


def test_echo_dies_by_60_decibels() -> None:
    click = np.zeros(4000)
    click[0] = 1
    wet = reverberate(click, 0.5, np.random.default_rng(0)).astype(np.float64)
    assert len(wet) == 4000 + RATE // 2
    assert np.sum(wet**2) == pytest.approx(1, rel=1e-5)
    early, late = wet[1:401], wet[RATE // 2 - 400 : RATE // 2]
    fall = 10 * np.log10(np.mean(early**2) / np.mean(late**2))
    # 60 dB over the whole length, a little less between the middles of two windows
    assert fall == pytest.approx(60 * (1 - 400 / (RATE / 2)), abs=2)


def test_no_room_changes_nothing() -> None:
    assert np.allclose(reverberate(SOUND, 0, np.random.default_rng(0)), SOUND)


def test_silence_stays_silent() -> None:
    assert not add_noise(np.zeros(100), 0, np.random.default_rng(0)).any()
