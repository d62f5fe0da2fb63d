"""Fingerprints of rows: the number that their digests are the digits of."""

import numpy as np
import pytest

from torchgeo_cmr.table import provenance
from torchgeo_cmr.table.provenance import Content

#: Rows that are read together.
STEP = provenance._DIGITS


def digit_by_digit(digests: np.ndarray) -> int:
    value = 0
    for digest in digests:
        digit = int.from_bytes(digest.tobytes(), 'little')
        value = (value * provenance._BASE + digit) % provenance._PRIME
    return value


@pytest.mark.parametrize('rows', [0, 1, 2, STEP - 1, STEP, STEP + 1, 3 * STEP + 5])
@pytest.mark.parametrize('kind', ['random', 'largest', 'none', 'every other'])
def test_content_is_the_number_of_the_digits(rows: int, kind: str) -> None:
    digests = np.random.default_rng(0).integers(0, 256, (rows, 16), dtype=np.uint8)
    if kind == 'largest':
        digests[:] = 255
    if kind == 'none':
        digests[:] = 0
    if kind == 'every other':  # not side by side in memory
        digests = np.repeat(digests, 2, axis=0)[::2]
    content = Content.of(digests)
    assert content == Content(rows, digit_by_digit(digests))


def test_rows_below_others_are_added() -> None:
    digests = np.random.default_rng(1).integers(0, 256, (5_000, 16), dtype=np.uint8)
    whole = Content.of(digests)
    for cut in (0, 1, 2_500, 5_000):
        assert Content.of(digests[:cut]) + Content.of(digests[cut:]) == whole
    assert Content.of(digests[::-1]) != whole
