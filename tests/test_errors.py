from typing import Any, Literal

import numpy as np
import pytest

from torchgeo_cmr.errors import OptionError, QueryError, check_choice, check_seed


def test_a_choice_of_a_foreign_file_does_not_fill_the_screen() -> None:
    nested: Any = 'deep'
    for _ in range(900):
        nested = [nested]
    with pytest.raises(OptionError, match=r"kind must be 'a' or 'b', found \[\[") as e:
        check_choice('kind', nested, Literal['a', 'b'])
    assert len(str(e.value)) < 300
    assert str(e.value).endswith('...')


@pytest.mark.parametrize('seed', [-1, 0.5, '1', None, True])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(QueryError, match=r'start is .*: give a whole number of at lea'):
        check_seed(seed, QueryError, name='start')


def test_a_seed_may_be_too_large_for_a_generator() -> None:
    check_seed(np.int64(7), most=7)
    with pytest.raises(
        OptionError, match='seed is 8: give a whole number of at most 7'
    ):
        check_seed(8, most=7)
