import pytest
import torch

from torchgeo_cmr.losses import false_negatives


def test_equals_loop_twin() -> None:
    generator = torch.Generator().manual_seed(0)
    # float32 cannot hold these places to the metre
    places = torch.rand(8, 2, generator=generator).double() * 300 + 5_000_000.25
    labels = (torch.rand(8, 3, generator=generator) < 0.3).float()
    for within, with_labels in ((120.0, False), (120.0, True), (0.0, True)):
        found = false_negatives(
            places if within else None, labels if with_labels else None, within=within
        )
        for i in range(8):
            for j in range(8):
                near = within > 0 and torch.dist(places[i], places[j]) < within
                same = with_labels and bool((labels[i] * labels[j]).any())
                assert found[i, j] == (i != j and (bool(near) or same))


def test_a_row_without_a_class_is_like_no_other() -> None:
    assert not false_negatives(labels=torch.zeros(3, 4)).any()


def test_needs_something_to_tell_them_by() -> None:
    with pytest.raises(ValueError, match='by places, labels or both'):
        false_negatives()
