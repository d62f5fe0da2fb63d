"""A scene counts as changed if anything changes from which its pixels or masks come."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from torchgeo_cmr.embed import embed, read_report

Writer = Callable[..., Path]

SIZE = 32
VRT = """<VRTDataset rasterXSize="32" rasterYSize="32"><SRS>EPSG:32632</SRS>
<GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>
<VRTRasterBand dataType="Float32" band="1"><SimpleSource>
<SourceFilename relativeToVRT="1">{}</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((1, SIZE, SIZE))


def hide(path: Path, rows: int) -> None:
    valid = np.full((SIZE, SIZE), 255, np.uint8)
    valid[:rows] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, 'r+') as file:
        file.write_mask(valid)


@pytest.fixture
def update(tmp_path: Path, fake: Callable[..., Any]) -> Callable[[Path], Any]:
    """Embed a scene into one archive; give its table, and whether it counted as changed."""
    out = tmp_path / 'out'

    def run(path: Path) -> Any:
        options: dict[str, Any] = {'progress': False, 'update': out.exists()}
        table = embed(fake(channels=1), [path], 's2', 16, out=out, **options)
        return table, bool(read_report(out)['changed'])

    return run


@pytest.mark.parametrize('depth', [1, 2])
def test_the_sources_of_a_vrt(
    write_raster: Writer, tmp_path: Path, update: Callable[[Path], Any], depth: int
) -> None:
    source = write_raster('source.tif', data=pixels(0))
    path = source
    for level in range(depth):
        path, inner = tmp_path / f'{level}.vrt', path
        path.write_text(VRT.format(inner.name))
    before, _ = update(path)
    assert not update(path)[1]
    write_raster('source.tif', data=pixels(1))
    after, changed = update(path)
    assert changed
    assert not np.allclose(before.vectors, after.vectors)
    hide(source, 1)
    assert update(path)[1]


def test_a_mask_next_to_a_file(
    write_raster: Writer, update: Callable[[Path], Any]
) -> None:
    path = write_raster('a.tif', data=pixels(0))
    hide(path, 4)
    assert update(path)[0].frame['valid_fraction'].min() == 0.75
    assert not update(path)[1]
    hide(path, 8)
    table, changed = update(path)
    assert changed
    assert table.frame['valid_fraction'].min() == 0.5


def test_nodata_next_to_a_file(
    write_raster: Writer, update: Callable[[Path], Any]
) -> None:
    data = np.round(pixels(0) * 3)
    path = write_raster('a.tif', data=data)
    text = '<PAMDataset><PAMRasterBand band="1">{}</PAMRasterBand></PAMDataset>'.format
    notes = Path(f'{path}.aux.xml')
    notes.write_text(text('<NoDataValue>0</NoDataValue>'))
    table, _ = update(path)
    assert table.frame['valid_fraction'].mean() == (data != 0).mean()
    statistics = '<Metadata><MDI key="STATISTICS_MEAN">1</MDI></Metadata>'
    notes.write_text(text(f'<NoDataValue>0</NoDataValue>{statistics}'))
    assert not update(path)[1]
    notes.write_text(text('<NoDataValue>1</NoDataValue>'))
    table, changed = update(path)
    assert changed
    assert table.frame['valid_fraction'].mean() == (data != 1).mean()
