import pytest

from torchgeo_cmr.losses import ramp_weight


@pytest.mark.parametrize(
    ('epoch', 'weight'),
    [
        (0, 1e-4),
        (37, 9.84665e-4),
        (74, 9.69566e-3),
        (75, 1.03139e-2),
        (112, 0.101557),
        (149, 1),
    ],
)
def test_worked_values(epoch: int, weight: float) -> None:
    assert ramp_weight(epoch, 150) == pytest.approx(weight, rel=1e-5)


def test_single_epoch_constant_and_past_the_end() -> None:
    assert ramp_weight(0, 1) == 1
    assert ramp_weight(3, 10, 'constant') == 1
    assert ramp_weight(12, 10) == 1
    assert ramp_weight(0, 10, start=0.5) == 0.5


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((0, 5, 'linear'), "'log_ramp' or 'constant', found 'linear'"),
        ((0, 0), 'num_steps must be at least 1, found 0'),
        ((-1, 5), 'step must be at least 0, found -1'),
    ],
)
def test_refuses_bad_settings(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ramp_weight(*arguments)
    with pytest.raises(ValueError, match='start must be above 0'):
        ramp_weight(0, 5, start=0)
