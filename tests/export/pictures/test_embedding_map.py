"""Maps of an archive in colours of its vectors: alike where vectors are alike, right on the ground."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from matplotlib.pyplot import imread

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import principal_colours, to_embedding_map
from torchgeo_cmr.search import Hash
from torchgeo_cmr.table import EmbeddingTable

#: Metres of a patch, and patches along a side of the square.
SIDE, ALONG = 640.0, 6
CRS = 'EPSG:32633'


def table(gap: float = 0.0, noise: float = 0.01) -> EmbeddingTable:
    """A square of patches in two modalities, whose left and right half show different things."""
    rng = np.random.default_rng(0)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(ALONG), np.arange(ALONG)))
    boxes = shapely.box(
        5e5 + x * SIDE, 5e6 + y * SIDE, 5e5 + (x + 1) * SIDE, 5e6 + (y + 1) * SIDE
    )
    vectors, frames = [], []
    for number, modality in enumerate(('s1', 's2')):
        z = np.zeros((len(x), 8))
        z[:, 0] = 1
        z[:, 1] = np.where(x < ALONG // 2, 0.5, -0.5)
        z[:, 2] = np.where(y < ALONG // 2, 0.2, -0.2)
        z[:, 3] = gap * number
        vectors.append(z + noise * rng.standard_normal(z.shape))
        frames.append(
            gpd.GeoDataFrame(
                {
                    'patch_id': [f'{modality}:{i}' for i in range(len(x))],
                    'modality': modality,
                },
                geometry=boxes,
                crs=CRS,
            )
        )
    frame = gpd.pd.concat(frames, ignore_index=True)
    return EmbeddingTable.from_frame(frame, np.concatenate(vectors), space='x')


def test_like_places_have_like_colours_in_both_modalities() -> None:
    made = table(gap=3)
    colours = principal_colours(made)
    assert colours.shape == (2 * ALONG**2, 3)
    assert ((colours >= 0) & (colours <= 1)).all()
    left = np.tile(np.arange(ALONG) < ALONG // 2, 2 * ALONG)
    # The largest difference, that of left and right, is the first component, whatever the gap.
    red = colours[:, 0]
    assert abs(red[left].mean() - red[~left].mean()) > 0.9
    first, second = colours[: ALONG**2], colours[ALONG**2 :]
    assert np.abs(first[:, :2] - second[:, :2]).mean() < 0.1


def test_colours_do_not_depend_on_the_order_or_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = table()
    order = np.random.default_rng(1).permutation(len(made))
    expected = principal_colours(made)
    monkeypatch.setattr('torchgeo_cmr.export.pictures.embedding_map._BLOCK', 7)
    assert np.allclose(
        principal_colours(made.select(order)), expected[order], atol=1e-5
    )


def test_components_that_are_not_there_are_grey() -> None:
    made = table(noise=0).select([0, 1])  # two equal vectors
    assert (principal_colours(made) == 0.5).all()
    short = EmbeddingTable.from_frame(made.frame, [[1, 0], [0, 1]], space='x')
    assert (principal_colours(short)[:, 1:] == 0.5).all()


def test_the_map_is_where_the_patches_are(tmp_path: Path) -> None:
    made = table(gap=3)
    path = to_embedding_map(
        made, tmp_path / 'map.tif', modality='s1', crs=CRS, cell=SIDE / 2
    )
    colours = principal_colours(made)
    with rasterio.open(path) as file:
        assert file.count == 3
        assert file.dtypes[0] == 'uint8'
        assert file.crs == CRS
        for row in (0, 8, 35):
            x, y = made.frame.to_crs(CRS).geometry.iloc[row].centroid.coords[0]
            pixel = np.array(next(iter(file.sample([(x, y)]))))
            assert np.abs(pixel - 255 * colours[row]).max() <= 1
        # Footprints in longitude and latitude lean by less than a cell.
        assert (file.dataset_mask() > 0).mean() > 0.8


def test_the_picture_is_transparent_where_nothing_lies(tmp_path: Path) -> None:
    made = table().select([0, ALONG**2 - 1])
    picture = imread(to_embedding_map(made, tmp_path / 'map.png'))
    assert picture.shape[2] == 4
    assert set(np.unique(picture[..., 3])) == {0, 1}


def test_codes_are_drawn_too(tmp_path: Path) -> None:
    codes = Hash.lsh(8, 64, seed=0).table(table())
    assert to_embedding_map(codes, tmp_path / 'map.tif').exists()


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    made = table()
    with pytest.raises(QueryError, match=r"no rows of the modality 'pan'; .* s1, s2"):
        to_embedding_map(made, tmp_path / 'map.tif', modality='pan')
    with pytest.raises(QueryError, match=r'the suffix .jpg: .* \.tif or \.png'):
        to_embedding_map(made, tmp_path / 'map.jpg')
    (tmp_path / 'map.tif').write_text('mine')
    with pytest.raises(OutputExistsError):
        to_embedding_map(made, tmp_path / 'map.tif')
    assert (tmp_path / 'map.tif').read_text() == 'mine'
