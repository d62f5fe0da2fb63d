"""Common types of columns of several tables."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from torchgeo_cmr.table.kinds import kinds_of, united

BIG = 2**53 + 1


def kinds(values: list[Any], kind: pa.DataType) -> dict[str, Any]:
    nowhere = pa.array([b''] * len(values), pa.binary())
    return kinds_of(pa.table({'x': pa.array(values, kind), 'geometry': nowhere}))


@pytest.mark.parametrize(
    ('one', 'other', 'together'),
    [
        (([1, None], pa.int64()), ([BIG], pa.int64()), pd.Int64Dtype()),
        (([1, None], pa.int8()), ([BIG], pa.int64()), pd.Int64Dtype()),
        (([1, None], pa.uint64()), ([BIG], pa.uint64()), pd.UInt64Dtype()),
        (([1, None], pa.int64()), ([2], pa.int64()), np.dtype('float64')),
        (([0.5], pa.float64()), ([BIG], pa.int64()), np.dtype(object)),
        (([0.5], pa.float32()), ([2], pa.int64()), np.dtype('float64')),
        (([-1], pa.int64()), ([2**63], pa.uint64()), np.dtype(object)),
    ],
)
def test_no_number_is_rounded(one: Any, other: Any, together: Any) -> None:
    for pair in ((one, other), (other, one)):
        assert united([kinds(*part) for part in pair])['x'] == together
