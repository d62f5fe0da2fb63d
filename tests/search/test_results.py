"""The columns of a result."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RESULT_COLUMNS, check_result
from torchgeo_cmr.search.results import make_result

#: The tables are Any: pandas' stubs lose the types of rows and assigned frames.
Make = Callable[..., Any]


def one_hit(table: Any) -> Any:
    ranks, scores = np.ones(1, dtype=np.int32), np.ones(1, dtype=np.float32)
    return make_result(table.frame.iloc[[1]], ['q'], ranks, scores)


@pytest.mark.parametrize('num_queries', [0, 2])
def test_schema(make: Make, num_queries: int) -> None:
    rows = np.array([3, 1, 2, 0, 5, 4])[: 3 * num_queries]
    result = make_result(
        make().frame.iloc[rows],
        ['a', 'b'][:num_queries] * 3,
        np.arange(1, len(rows) + 1, dtype=np.int32),
        (rows / 10).astype(np.float32),
    )
    assert result.index.tolist() == list(range(len(rows)))
    assert result['score'].tolist() == pytest.approx((rows / 10).tolist())
    assert list(result.columns) == [
        *RESULT_COLUMNS,
        'space',
        'native_corners',
        'valid_fraction',
        'cloud',
        'geometry',
    ]
    kinds = {name: str(result[name].dtype) for name in result}
    assert kinds['query_id'] == kinds['patch_id'] == 'str'
    assert (kinds['rank'], kinds['score'], kinds['exact'], kinds['relevant']) == (
        'int32',
        'float64',
        'bool',
        'boolean',
    )
    assert kinds['time_start'] == 'datetime64[us, UTC]'
    assert result.crs.to_epsg() == 4326
    assert result.relevant.isna().all()
    assert result.exact.all()
    check_result(result)


def test_colliding_columns_are_kept_apart(make: Make) -> None:
    table = make(50, rank=7, relevant='yes')
    result = one_hit(table)
    assert result['rank'].tolist() == [1]
    assert result['archive_rank'].tolist() == [7]
    assert result['archive_relevant'].tolist() == ['yes']


def test_check(make: Make) -> None:
    result: Any = one_hit(make())
    with pytest.raises(QueryError, match='lacks rank, score'):
        check_result(result.drop(columns=['rank', 'score']))
    with pytest.raises(QueryError, match='no CRS'):
        check_result(result.set_crs(None, allow_override=True))
    with pytest.raises(QueryError, match='not a finite number'):
        check_result(result.assign(score=np.nan))
