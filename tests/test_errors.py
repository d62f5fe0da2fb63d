from typing import Any, Literal

import pytest

from torchgeo_cmr.errors import OptionError, check_choice


def test_a_choice_of_a_foreign_file_does_not_fill_the_screen() -> None:
    nested: Any = 'deep'
    for _ in range(900):
        nested = [nested]
    with pytest.raises(OptionError, match=r"kind must be 'a' or 'b', found \[\[") as e:
        check_choice('kind', nested, Literal['a', 'b'])
    assert len(str(e.value)) < 300
    assert str(e.value).endswith('...')
