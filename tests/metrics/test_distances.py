import numpy as np
import pytest

from torchgeo_cmr.metrics.distances import chi_square


def test_worked_value() -> None:
    value = chi_square([[0.2, 0.0, 0.8]], [[0.5, 0.1, 0.4]])
    assert value.shape == (1, 1)
    assert value.item() == pytest.approx(0.180952, abs=1e-6)


@pytest.mark.parametrize('chunk', [1, 3, 256])
def test_equals_loop_twin(chunk: int) -> None:
    random = np.random.default_rng(0)
    u, v = random.random((4, 6)), random.random((7, 6))
    u[0, :3] = v[0, :3] = 0
    twin = [
        [
            0.5 * sum((p - q) ** 2 / (p + q + 1e-10) for p, q in zip(x, y, strict=True))
            for y in v
        ]
        for x in u
    ]
    np.testing.assert_allclose(chi_square(u, v, chunk=chunk), twin, rtol=1e-12)


def test_is_a_distance() -> None:
    random = np.random.default_rng(1)
    u = random.random((5, 3))
    d = chi_square(u, u)
    np.testing.assert_array_equal(d.diagonal(), 0)
    np.testing.assert_allclose(d, d.T)
    assert (d + np.eye(5) > 0).all()
    assert chi_square(np.zeros((1, 3)), np.zeros((1, 3))).item() == 0
    # it does not forget lengths, as the cosine does
    assert chi_square(u, 2 * u).diagonal().min() > 0.01


def test_refuses() -> None:
    with pytest.raises(
        ValueError, match=r'at least 0, found -0\.1 in the archive: take'
    ):
        chi_square([[0.1]], [[-0.1]])
    with pytest.raises(ValueError, match='at least 0, found -1 in the queries'):
        chi_square([[-1.0]], [[0.1]])
    with pytest.raises(ValueError, match='at least 0, found nan'):
        chi_square([[np.nan]], [[0.1]])
    with pytest.raises(ValueError, match='finite features in the archive'):
        chi_square([[1.0]], [[np.inf]])
    with pytest.raises(ValueError, match=r'one width, found shapes \(1, 1\)'):
        chi_square([[1.0]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match='chunk must be at least 1'):
        chi_square([[1.0]], [[1.0]], chunk=0)
