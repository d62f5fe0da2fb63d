import numpy as np

from torchgeo_cmr.datasets.plots import quicklook


class TestQuicklook:
    def test_true_colour_by_name(self) -> None:
        image = np.zeros((4, 8, 8))
        image[2] = np.arange(64).reshape(8, 8)
        shown = quicklook(image, ('B02', 'B03', 'B04', 'B08'))
        assert shown.shape == (8, 8, 3)
        assert shown[..., 0].max() == 1
        assert shown[..., 1].max() == 0

    def test_missing_pixels_do_not_spoil_it(self) -> None:
        image = np.arange(64.0).reshape(1, 8, 8)
        image[0, 0, 0] = np.nan
        shown = quicklook(image)
        assert shown.shape == (8, 8)
        assert np.isfinite(shown).all()
