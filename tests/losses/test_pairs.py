import pytest
import torch

from torchgeo_cmr.losses.pairs import check_pairs, gather_rows, unit_rows


def test_unit_rows_are_float32_of_length_one_and_zero_stays_zero() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float16)
    torch.testing.assert_close(unit_rows(x), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_gather_rows_without_process_group_changes_nothing() -> None:
    x = torch.rand(3, 2)
    every, start, ranks = gather_rows(x)
    assert every is x
    assert (start, ranks) == (0, 1)


def test_check_pairs_says_what_does_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r'matrices \(batch, dim\), found shapes \(3,\)'
    ):
        check_pairs(torch.zeros(3), torch.zeros(3, 1))
    with pytest.raises(ValueError, match='one row per pair, found 3 rows against 2'):
        check_pairs(torch.zeros(3, 1), torch.zeros(2, 1))
    with pytest.raises(ValueError, match='one width, found 4 against 5'):
        check_pairs(torch.zeros(3, 4), torch.zeros(3, 5))
    check_pairs(torch.zeros(3, 4), torch.zeros(3, 5), same_dim=False)
