"""Speech without torch: reading and writing sound, and corpora of spoken labels."""

from torchgeo_cmr.speech.corpus import VOICES, read_labels, speak
from torchgeo_cmr.speech.room import add_noise, reverberate
from torchgeo_cmr.speech.wav import RATE, read_wav, resample, write_wav

__all__ = (
    'RATE',
    'VOICES',
    'add_noise',
    'read_labels',
    'read_wav',
    'resample',
    'reverberate',
    'speak',
    'write_wav',
)
