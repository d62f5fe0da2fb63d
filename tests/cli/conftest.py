"""An archive round San Antonio that a loop can check, and ways to run the program."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.main import main
from torchgeo_cmr.table import EmbeddingTable

#: Upper left corner of the archive, in degrees: negative, as west of Greenwich it is.
WEST, NORTH = -98.6, 29.6
STEP = 0.01


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _fresh_logger() -> Generator[None]:
    """Give the next test no handler that writes to this one's stderr."""
    logger = logging.getLogger('torchgeo_cmr')
    kept = logger.handlers, logger.level
    yield
    logger.handlers, logger.level = kept


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the program here and give what it printed."""

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(run: Callable[..., Ran]) -> Callable[..., str]:
    """Run a mistake: code 2, one line on stderr, nothing on stdout; give the line."""

    def call(*words: object) -> str:
        ran = run(*words)
        assert ran.code == 2, ran
        assert ran.out == ''
        assert 'Traceback' not in ran.err
        (line,) = ran.err.splitlines()
        assert line.startswith('torchgeo-cmr')
        return line

    return call


@pytest.fixture(scope='session')
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python as a process of its own, where imports can be counted."""

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return call


def make_table(
    prefix: str = 's2', *, n: int = 30, seed: int = 0, space: str = 'abc', dim: int = 8
) -> EmbeddingTable:
    """Squares side by side, six in a row, a date every tenth day, the last two undated."""
    made = _made(prefix, n, seed, space, dim)
    return replace(made, frame=made.frame.copy(), record=deepcopy(made.record))


@cache
def _made(prefix: str, n: int, seed: int, space: str, dim: int) -> EmbeddingTable:
    boxes = []
    for i in range(n):
        row, column = divmod(i, 6)
        x, y = WEST + STEP * column, NORTH - STEP * (row + 1)
        boxes.append(shapely.box(x, y, x + STEP, y + STEP))
    start = pd.Timestamp('2024-01-01', tz='UTC') + pd.to_timedelta(
        10.0 * np.arange(n), unit='D'
    )
    times = start.to_series(index=range(n))
    times[max(n - 2, 0) :] = pd.NaT
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{prefix}:scene.tif:0_{32 * i}_32x32' for i in range(n)],
            'source': 'scene.tif',
            'time_start': times,
            'time_end': times,
            'cloud': np.arange(n, dtype=float),
        },
        geometry=boxes,
        crs=4326,
    )
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    # Two archives may each have a scene of this name, from other files.
    record = {'sources': {'scene.tif': [[f'{prefix}/scene.tif', 1, 'B', 10.0]]}}
    return EmbeddingTable.from_frame(
        frame, vectors, space=space, modality=prefix, record=record
    )


@pytest.fixture(scope='session')
def make() -> Callable[..., EmbeddingTable]:
    return make_table


@pytest.fixture(scope='session')
def _archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('archives')
    make_table('s2').save(folder / 'archive')
    make_table('s1', n=3, seed=1).save(folder / 'queries')
    return folder


@pytest.fixture
def archive(_archives: Path, tmp_path: Path) -> Path:
    """Thirty s2 patches."""
    return Path(shutil.copytree(_archives / 'archive', tmp_path / 'archive'))


@pytest.fixture
def asking(_archives: Path, tmp_path: Path) -> Path:
    """Three s1 patches in the same space."""
    return Path(shutil.copytree(_archives / 'queries', tmp_path / 'queries'))
