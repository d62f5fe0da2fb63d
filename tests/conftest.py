"""Shared fixtures: small real GeoTIFFs whose every pixel is known, and a real database."""

import gc
import os
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import own_postgres
import pytest

if TYPE_CHECKING:
    from affine import Affine

type Writer = Callable[..., Path]


#: The Python that QGIS of Debian brings.
QGIS_PYTHON = '/usr/bin/python3'


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while modules are imported and tests are found, for there is hardly any.

    To look for it took a fifth of that time. What was made by then is not looked through again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: no process is left alone with one of them at the end."""
    files = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in files)


@pytest.fixture(scope='session')
def qgis_python() -> str:
    """Give the Python that QGIS brings; skip where there is none."""
    probe = subprocess.run(
        [QGIS_PYTHON, '-c', 'import qgis.core'],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        told = f'{QGIS_PYTHON} cannot import qgis.core: install python3-qgis'
        if os.environ.get('TORCHGEO_CMR_REQUIRE_QGIS') == '1':
            pytest.fail(told)
        pytest.skip(told)
    return QGIS_PYTHON


@pytest.fixture(autouse=True, scope='session')
def _quiet() -> None:
    """No windows, and no more threads than the tests need."""
    # The tests of the retrieval half also run where these are not installed.
    if find_spec('matplotlib'):
        import matplotlib as mpl

        mpl.use('Agg')
    if find_spec('torch'):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope='session')
def _unflushed() -> Iterator[None]:
    """What tests write need not outlive a power failure: nobody waits for the disk.

    Tests of what is flushed, and when, stand in front of this. Processes that tests start do flush.
    """
    with pytest.MonkeyPatch.context() as patch:
        # A descriptor that is closed stays an error.
        patch.setattr(os, 'fsync', lambda descriptor: os.fstat(descriptor) and None)
        yield


@pytest.fixture(scope='session')
def raster_writer() -> Callable[[Path], Writer]:
    """Give what writes GeoTIFFs into a folder; by default pixels count upwards, band by band."""
    import rasterio
    from affine import Affine

    def write(
        folder: Path,
        name: str,
        *,
        shape: tuple[int, int] = (64, 64),
        bands: Sequence[str] = ('B1',),
        crs: str | None = 'EPSG:32632',
        origin: tuple[float, float] = (500_000.0, 5_000_000.0),
        res: float = 10.0,
        dtype: str = 'float32',
        nodata: float | None = None,
        data: np.ndarray | None = None,
        transform: 'Affine | None' = None,
        **profile: object,
    ) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            data = np.arange(len(bands) * shape[0] * shape[1]).reshape(
                len(bands), *shape
            )
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            height=data.shape[1],
            width=data.shape[2],
            count=len(data),
            dtype=dtype,
            crs=crs,
            transform=transform or Affine(res, 0, origin[0], 0, -res, origin[1]),
            nodata=nodata,
            **profile,
        ) as file:
            file.write(data.astype(dtype))
            file.descriptions = tuple(bands)
        return path

    return lambda folder: partial(write, folder)


@pytest.fixture
def write_raster(raster_writer: Callable[[Path], Writer], tmp_path: Path) -> Writer:
    """Write a GeoTIFF into the folder of the test."""
    return raster_writer(tmp_path)


@pytest.fixture(scope='session')
def database() -> Iterator[str]:
    """The address of a server; in CI it must be there."""
    if address := os.environ.get('TORCHGEO_CMR_TEST_DSN'):
        yield address
        return
    server = own_postgres.start_or_skip()
    yield server.address
    server.remove()


@pytest.fixture
def own() -> Iterator[own_postgres.Database]:
    """A server that a test may kill."""
    server = own_postgres.start_or_skip()
    yield server
    server.remove()
