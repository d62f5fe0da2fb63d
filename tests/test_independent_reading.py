"""Rasters as other people make them, at random: what the package reads is what rasterio reads.

The side of the truth uses rasterio, NumPy, shapely and pyproj and nothing of the package.
More cases than the default suite has time for:
``TORCHGEO_CMR_CASES=500 python -m pytest tests/test_independent_reading.py``.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.ndimage import binary_dilation
from torch import Tensor, nn
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.datasets import PairedDataset
from torchgeo_cmr.embed import embed
from torchgeo_cmr.export import clip_hits, scenes_of
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable

#: CRS of the ground, in which pixels count: value = distance from here in metres.
GROUND = 'EPSG:32632'
CENTRE = 500_000.0, 5_000_000.0

#: CRS of rasters, and units of each in a metre on the ground.
UNITS = {
    'EPSG:32632': 1.0,
    'EPSG:32633': 1.0,
    'EPSG:3035': 1.0,
    'EPSG:4326': 1 / 111_000,
}

#: Metres of a step of the values, so that whole numbers tell pixels apart.
STEP = 2.0


@dataclass(frozen=True)
class Case:
    """A raster of two bands, which hold easting and northing of each pixel."""

    crs: str
    #: Metres.
    pixel: tuple[float, float]
    shape: tuple[int, int]
    #: How often the array is turned by 90 degrees, and whether it is mirrored.
    quarters: int
    mirrored: bool
    #: Degrees by which the grid is rotated besides, and how much it is sheared.
    angle: float
    shear: float
    dtype: str
    #: How missing pixels are marked.
    missing: str
    #: Scale and offset that the file states.
    scale: tuple[float, float] | None
    tiled: bool
    #: Pixels.
    patch: int
    edges: Literal['drop', 'pad']
    seed: int

    @property
    def straight(self) -> bool:
        """Whether the grid is one of the eight along the axes."""
        return self.angle == self.shear == 0

    @property
    def slack(self) -> float:
        """By how much pixels may differ: float32 cannot hold both numbers of a sum exactly."""
        moved = self.scale is not None and self.scale[1] != 0
        return 3e-4 if self.dtype == 'float64' and moved else 0


class Truth(NamedTuple):
    """What a raster holds, with north at the top."""

    #: Stored numbers (bands, height, width).
    stored: NDArray[np.float64]
    #: What they mean, NaN where missing.
    pixels: NDArray[np.float64]
    #: Corners of pixels (height + 1, width + 1, 2), in the CRS of the raster.
    corners: NDArray[np.float64]


def cases() -> st.SearchStrategy[Case]:
    """Make cases: each of the dimensions varies on its own."""
    # Not near 45 degrees, where two orientations are as good as each other.
    angles = st.integers(-179, 180).filter(lambda a: abs(abs(a % 90) - 45) > 3)
    return st.builds(
        Case,
        crs=st.sampled_from(list(UNITS)),
        pixel=st.sampled_from([(10.0, 10.0), (10.0, 10.0), (10.0, 7.0), (6.0, 12.0)]),
        shape=st.tuples(st.integers(18, 50), st.integers(18, 50)),
        quarters=st.integers(0, 3),
        mirrored=st.booleans(),
        angle=st.one_of(st.just(0), st.just(0), angles),
        shear=st.sampled_from([0.0, 0.0, 0.0, 0.2]),
        dtype=st.sampled_from(['float32', 'int16', 'uint16', 'float64']),
        missing=st.sampled_from(['none', 'nodata', 'bands', 'nan', 'mask', 'sidecar']),
        scale=st.sampled_from([None, None, (0.0001, -0.1), (0.5, 0.0), (2.0, 20.0)]),
        tiled=st.booleans(),
        patch=st.integers(5, 17),
        edges=st.sampled_from(['drop', 'pad']),
        seed=st.integers(0, 99),
    )


def write(case: Case, path: Path) -> Path:
    """Write the raster of a case; give the file to read, which may be another one."""
    height, width = case.shape
    transform = _transform(case)
    x, y = (
        axis[:-1, :-1] for axis in np.moveaxis(_corners(transform, case.shape), -1, 0)
    )
    x = x + (transform.a + transform.b) / 2
    y = y + (transform.d + transform.e) / 2
    east, north = Transformer.from_crs(case.crs, GROUND, always_xy=True).transform(x, y)
    values = np.stack([east - CENTRE[0], north - CENTRE[1]]) / STEP + 3000
    if case.dtype in ('int16', 'uint16'):
        values = np.round(values)
    values = values.astype(case.dtype)
    lost = _lost(case)
    # The mark of one band is a value of the other.
    marks = 7, 7 if case.missing == 'nodata' else values[0, -1, -1].item()
    if case.missing in ('nodata', 'bands'):
        for band, mark, where in zip(values, marks, lost, strict=True):
            band[where] = mark
    if case.missing == 'nan' and case.dtype.startswith('float'):
        values[lost] = np.nan
    blocks = {'tiled': True, 'blockxsize': 16, 'blockysize': 16} if case.tiled else {}
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        height=height,
        width=width,
        count=2,
        dtype=case.dtype,
        crs=case.crs,
        transform=transform,
        nodata=7 if case.missing == 'nodata' else None,
        **blocks,
    ) as file:
        file.write(values)
        file.descriptions = ('east', 'north')
        if case.scale:
            file.scales, file.offsets = [case.scale[0]] * 2, [case.scale[1]] * 2
        if case.missing in ('mask', 'sidecar'):
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=case.missing == 'mask'):
                file.write_mask(~lost[0])
    return _with_marks(path, marks) if case.missing == 'bands' else path


def _with_marks(path: Path, marks: tuple[float, float]) -> Path:
    """Name a value of missing pixels for each band, which a GeoTIFF cannot."""
    found = path.with_suffix('.vrt')
    # ty does not see compiled modules.
    copy = import_module('rasterio.shutil').copy
    copy(path, found, driver='VRT')
    text = found.read_text()
    for number, mark in enumerate(marks, start=1):
        start = text.index('>', text.index(f'band="{number}"')) + 1
        text = f'{text[:start]}<NoDataValue>{mark}</NoDataValue>{text[start:]}'
    found.write_text(text)
    return found


def read(path: Path) -> Truth:
    """Read a raster, north at the top, with rasterio alone."""
    with rasterio.open(path) as file:
        stored = file.read().astype(np.float64)
        valid = file.read_masks() > 0
        scales, offsets = np.array(file.scales), np.array(file.offsets)
        corners = _corners(file.transform, file.shape)
    pixels = stored + np.round(offsets / scales, 6)[:, None, None]
    pixels[~valid] = np.nan
    layers = [stored, pixels, np.moveaxis(corners, -1, 0)]
    best = max(
        (
            [np.rot90(layer[..., ::step], turns, (-2, -1)) for layer in layers]
            for turns in range(4)
            for step in (1, -1)
        ),
        key=lambda turned: _northing(turned[2]),
    )
    return Truth(best[0], best[1], np.moveaxis(best[2], 0, -1))


def _northing(corners: NDArray[np.float64]) -> float:
    """Say how much a grid has east at the right and north at the top; never mirrored."""
    right = corners[:, 0, 1] - corners[:, 0, 0]
    down = corners[:, 1, 0] - corners[:, 0, 0]
    right, down = right / np.hypot(*right), down / np.hypot(*down)
    if right[0] * down[1] - right[1] * down[0] > 0:
        return -np.inf
    angles = np.arctan2(right[1], right[0]), np.arctan2(down[0], -down[1])
    return -float(np.abs(angles).sum())


def _transform(case: Case) -> Affine:
    """Grid of a case: around the centre of the ground, then brought into its orientation."""
    unit = UNITS[case.crs]
    x, y = Transformer.from_crs(GROUND, case.crs, always_xy=True).transform(*CENTRE)
    height, width = case.shape
    # The centre of the raster lies at some odd place, not on the pixels of others.
    shift = Affine.translation(x + 3.1 * unit, y - 1.7 * unit)
    across, down = (size * unit for size in case.pixel)
    linear = (
        Affine.rotation(90 * case.quarters + case.angle)
        @ Affine(1, case.shear, 0, 0, 1, 0)
        @ Affine.scale(-across if case.mirrored else across, -down)
    )
    grid = shift @ linear @ Affine.translation(-width / 2, -height / 2)
    if case.straight and case.crs == GROUND:
        # As people write them: on whole metres.
        grid = Affine(grid.a, grid.b, round(grid.c), grid.d, grid.e, round(grid.f))
    return grid


def _corners(transform: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    row, column = np.mgrid[: shape[0] + 1, : shape[1] + 1]
    x = transform.a * column + transform.b * row + transform.c
    y = transform.d * column + transform.e * row + transform.f
    return np.stack([x, y], axis=-1)


def _lost(case: Case) -> NDArray[np.bool_]:
    """Missing pixels (bands, height, width): a corner, and some here and there."""
    rng = np.random.default_rng(case.seed)
    lost = rng.random((2, *case.shape)) < 0.03
    lost[:, : case.shape[0] // 3, : case.shape[1] // 2] = True
    return lost


class Encoder(nn.Module):
    """Keeps what it is given; vectors are of no interest."""

    modalities = ('m', 'n')
    keys = {'m': 'image_m', 'n': 'image_n'}  # noqa: RUF012
    in_channels = {'m': 2, 'n': 2}  # noqa: RUF012
    space = '0123456789abcdef'

    def __init__(self) -> None:
        super().__init__()
        self.specs: dict[str, dict[str, object]] = {'m': {}, 'n': {}}
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[Tensor] = []

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        images = batch[self.keys[modality]]
        self.seen += list(images.clone())
        return nn.functional.normalize(torch.ones(len(images), 4), dim=1)


def rows_of(
    path: Path, size: int, edges: Literal['drop', 'pad'] = 'drop', modality: str = 'm'
) -> tuple[EmbeddingTable, list[Tensor]]:
    """Embed a raster: the rows, and the pixels that the encoder saw of each."""
    task = Encoder()
    table = embed(
        task, [path], modality, size, edges=edges, min_valid=0.0, progress=False
    )
    return table, task.seen[len(task.seen) - len(table) :]


def check_embedding(case: Case, path: Path) -> EmbeddingTable:
    """Every patch has the pixels, outline and valid share that rasterio and pyproj give."""
    truth, size = read(path), case.patch
    height, width = truth.pixels.shape[1:]
    table, seen = rows_of(path, size, case.edges)
    pad = size if case.edges == 'pad' else 0
    padded = np.pad(truth.pixels, ((0, 0), (0, pad), (0, pad)), constant_values=np.nan)
    far = truth.corners[0, 0], truth.corners[0, 1], truth.corners[1, 0]
    expected = []
    for row in range(0, height - size + 1 + max(0, pad - 1), size):
        for column in range(0, width - size + 1 + max(0, pad - 1), size):
            window = padded[:, row : row + size, column : column + size]
            valid = np.isfinite(window).all(axis=0).mean()
            if valid > 0:
                expected.append((row, column, window, valid))
    assert len(table) == len(expected)
    frame = table.frame
    move = Transformer.from_crs(case.crs, 'EPSG:4326', always_xy=True)
    for i, (row, column, window, valid) in enumerate(expected):
        np.testing.assert_allclose(
            seen[i], window.astype(np.float32), rtol=0, atol=case.slack
        )
        assert frame['valid_fraction'].iloc[i] == pytest.approx(valid, abs=1e-12)
        places = [(row, column), (row, column + size)]
        places += [(row + size, column + size), (row + size, column)]
        ring = [
            far[0] + c * (far[1] - far[0]) + r * (far[2] - far[0]) for r, c in places
        ]
        corners = frame['native_corners'].iloc[i].reshape(4, 2)
        np.testing.assert_allclose(
            corners, ring, rtol=1e-12, atol=1e-5 * UNITS[case.crs]
        )
        outline = np.column_stack(move.transform(*np.transpose(ring)))
        found = shapely.get_coordinates(frame.geometry.iloc[i])
        gaps = np.abs(found[:, None] - outline[None]).max(axis=2).min(axis=1)
        assert gaps.max() < 1e-9
        assert (
            shapely.Polygon(outline).symmetric_difference(frame.geometry.iloc[i]).area
            < 1e-6 * shapely.Polygon(outline).area
        )
    return table


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raster of the same ground with nothing unusual about it."""
    case = Case(
        crs=GROUND,
        pixel=(10.0, 10.0),
        shape=(80, 80),
        quarters=0,
        mirrored=False,
        angle=0,
        shear=0,
        dtype='float64',
        missing='none',
        scale=None,
        tiled=False,
        patch=13,
        edges='drop',
        seed=0,
    )
    return write(case, tmp_path_factory.mktemp('plain') / 'plain.tif')


@pytest.fixture(scope='module')
def other(plain: Path) -> EmbeddingTable:
    """Patches of that raster, as of another sensor."""
    return rows_of(plain, 13, modality='n')[0]


def check_clips(
    case: Case, path: Path, table: EmbeddingTable, other: EmbeddingTable, home: Path
) -> None:
    """A clip holds whole pixels of the file; all under the hit, and no others."""
    places = scenes_of([table, other])
    rng = np.random.default_rng(case.seed)
    for archive in (table, other):
        query = archive.select([int(rng.integers(len(archive)))])
        hits = RetrievalIndex(query).search(query, 1, exclude=None)
        folder = clip_hits(
            hits,
            home / f'clips_{archive.frame["modality"].iloc[0]}',
            record={'scenes': places},
        )
        found = [
            c
            for c in json.loads((folder / 'clips.json').read_text())
            if c['modality'] == 'm'
        ]
        check_clip(case, path, hits.iloc[0], [folder / c['name'] for c in found])


def check_clip(case: Case, path: Path, hit: pd.Series, clips: list[Path]) -> None:
    """Compare the clips of one hit with the file."""
    ring = shapely.segmentize(
        shapely.Polygon(hit['native_corners'].reshape(4, 2)), 20 * UNITS[hit['src_crs']]
    )
    move = Transformer.from_crs(hit['src_crs'], case.crs, always_xy=True)
    points = np.column_stack(move.transform(*shapely.get_coordinates(ring).T))
    with rasterio.open(path) as file:
        t, stored, valid = file.transform, file.read(), file.read_masks()
        size, scales, offsets = file.shape, file.scales, file.offsets
    back = ~t
    column = back.a * points[:, 0] + back.b * points[:, 1] + back.c
    row = back.d * points[:, 0] + back.e * points[:, 1] + back.f
    # Two ways to follow an edge differ by a little.
    low = np.array([row.min(), column.min()])
    high = np.array([row.max(), column.max()])
    least = np.clip([np.floor(low + 0.02), np.ceil(high - 0.02)], 0, size).astype(int)
    most = np.clip([np.floor(low - 0.02), np.ceil(high + 0.02)], 0, size).astype(int)
    bands = []
    for clip in clips:
        with rasterio.open(clip) as file:
            place = back @ file.transform
            assert np.allclose(
                [place.a, place.b, place.d, place.e], [1, 0, 0, 1], atol=1e-6
            )
            first = np.array([place.f, place.c]).round().astype(int)
            assert np.allclose(first, [place.f, place.c], atol=1e-4)
            last = first + file.shape
            assert ((most[0] <= first) & (first <= least[0])).all()
            assert ((least[1] <= last) & (last <= most[1])).all()
            inside = slice(first[0], last[0]), slice(first[1], last[1])
            for number, name in enumerate(file.descriptions, start=1):
                band = ('east', 'north').index(name)
                bands.append(name)
                np.testing.assert_array_equal(file.read(number), stored[band][inside])
                np.testing.assert_array_equal(
                    file.read_masks(number) > 0, valid[band][inside] > 0
                )
                assert (file.scales[number - 1], file.offsets[number - 1]) == (
                    scales[band],
                    offsets[band],
                )
    ring = shapely.Polygon(np.column_stack([column, row]))
    common = ring.intersection(shapely.box(0, 0, size[1], size[0])).area
    if common > 0.1:
        assert sorted(bands) == ['east', 'north']
    assert not clips or common > 0


def check_training(case: Case, path: Path, plain: Path, first: bool) -> None:
    """A patch of a pair has the pixels of its ground: exact ones if the grid lies straight."""
    members = {'m': RasterDataset([str(path)]), 'n': RasterDataset([str(plain)])}
    names = ('m', 'n') if first else ('n', 'm')
    pairs = PairedDataset({name: members[name] for name in names})
    side = case.patch * pairs.res[0]
    rng = np.random.default_rng(case.seed)
    ground = pairs.index.geometry.iloc[0]
    low, high = np.reshape(ground.bounds, (2, 2))
    # Anywhere on the common ground, over its edges too.
    x, y = next(
        point
        for point in low + rng.random((1000, 2)) * (high - low)
        if ground.contains(shapely.Point(point))
    )
    x, y = x - side / 2, y - side / 2
    sample = pairs[x : x + side, y : y + side]
    valid = [
        np.isfinite(sample[f'image_{n}'].numpy()).all(axis=0).mean() for n in names
    ]
    share = pairs.valid_share(0, (x, y, x + side, y + side))
    assert share == pytest.approx(min(valid), abs=1e-12)
    for name, source in (('n', plain), ('m', path)):
        crs = case.crs if name == 'm' else GROUND
        straight = case.straight or name == 'n'
        place = sample[f'transform_{name}'].double().numpy().reshape(3, 3)
        own = str(pairs.crs.to_authority()[0]) + ':' + str(pairs.crs.to_authority()[1])
        image = sample[f'image_{name}'].numpy()
        # The whole patch, on a north-up grid that lies within half a pixel of it.
        assert place[0, 1] == place[1, 0] == 0
        res = place[0, 0], -place[1, 1]
        slack = 0.51 * np.array(res) + 1e-7 * np.abs([x, y])
        gaps = place[0, 2] - x, place[1, 2] - (y + side)
        assert (np.abs(gaps) < slack).all()
        sides = image.shape[2] * res[0], image.shape[1] * res[1]
        assert (np.abs(np.array(sides) - side) < slack).all()
        exact = straight and own == crs
        check_patch(image, place, own, source, crs, exact, case.slack)


def check_patch(
    image: NDArray[np.float32],
    place: NDArray[np.float64],
    own: str,
    source: Path,
    crs: str,
    exact: bool,
    slack: float,
) -> None:
    """Compare a patch with the file, pixel by pixel or within a part of a pixel."""
    truth = read(source)
    height, width = image.shape[1:]
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x = place[0, 0] * column + place[0, 2]
    y = place[1, 1] * row + place[1, 2]
    back = ~_of(truth.corners)
    u, v = Transformer.from_crs(own, crs, always_xy=True).transform(x, y)
    column = back.a * u + back.b * v + back.c
    row = back.d * u + back.e * v + back.f
    rows, columns = truth.pixels.shape[1:]
    padded = np.pad(truth.pixels, ((0, 0), (2, 2), (2, 2)), constant_values=np.nan)
    at = (
        np.clip(np.floor(row).astype(int) + 2, 0, rows + 3),
        np.clip(np.floor(column).astype(int) + 2, 0, columns + 3),
    )
    if exact:
        np.testing.assert_allclose(
            image, padded[:, *at].astype(np.float32), rtol=0, atol=slack
        )
        return
    # Resampled: values are those of a slope, which any interpolation leaves alone.
    shift = (
        np.nanmedian(truth.pixels - truth.stored)
        if np.isfinite(truth.pixels).any()
        else 0
    )
    east, north = Transformer.from_crs(own, GROUND, always_xy=True).transform(x, y)
    slope = np.stack([east - CENTRE[0], north - CENTRE[1]]) / STEP + 3000 + shift
    lost = ~np.isfinite(padded)
    near = np.stack([binary_dilation(band, np.ones((5, 5))) for band in lost])
    clear, gone = (
        ~near[:, *at],
        ~np.stack([binary_dilation(~band, np.ones((5, 5))) for band in lost])[:, *at],
    )
    metres = np.abs(image - slope) * STEP
    assert np.isfinite(image[clear]).all()
    assert (metres[clear] < 3.0).all(), metres[clear].max()
    assert np.isnan(image[gone]).all()


def _of(corners: NDArray[np.float64]) -> Affine:
    """Transform of a grid of corners."""
    (c, f), (x1, y1), (x2, y2) = corners[0, 0], corners[0, -1], corners[-1, 0]
    rows, columns = corners.shape[0] - 1, corners.shape[1] - 1
    return Affine(
        (x1 - c) / columns, (x2 - c) / rows, c, (y1 - f) / columns, (y2 - f) / rows, f
    )


CASES = int(os.environ.get('TORCHGEO_CMR_CASES', '12'))

#: The same cases every time, so that a run of the suite can be repeated.
some = settings(
    max_examples=CASES,
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=False,
    # Cases are small enough to be read; to find a smaller one takes minutes.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:.*are smaller than a patch')
@some
@given(case=cases())
def test_embedding_and_clips(other: EmbeddingTable, case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        path = write(case, home / 'case.tif')
        table = check_embedding(case, path)
        if len(table):
            check_clips(case, path, table, other, home)


@pytest.mark.slow
@some
@given(case=cases(), first=st.booleans())
def test_training(plain: Path, case: Case, first: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(case, Path(folder) / 'case.tif')
        check_training(case, path, plain, first)
