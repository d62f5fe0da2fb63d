"""An engine that speaks in tones and counts."""

import numpy as np
import pytest


class Tones:
    """The length of the words decides the pitch of the tone."""

    name = 'tones 1'

    def __init__(self) -> None:
        self.said: list[tuple[str, str, int, int]] = []
        self.stop_after = 10**6

    def say(
        self, words: str, voice: str, speed: int, pitch: int
    ) -> tuple[np.ndarray, int]:
        if len(self.said) >= self.stop_after:
            raise KeyboardInterrupt
        self.said.append((words, voice, speed, pitch))
        count = 0 if words == '?' else 22_050 * 60 // speed
        time = np.arange(count) / 22_050
        hertz = 100 + 4 * pitch + 10 * len(words)
        return np.sin(2 * np.pi * hertz * time).astype(np.float32) * 0.5, 22_050


@pytest.fixture
def tones() -> Tones:
    return Tones()
