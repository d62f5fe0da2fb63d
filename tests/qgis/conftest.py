"""The plugin as QGIS gets it, unzipped, and a way to run it in the real QGIS."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.main import main
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., dict[str, Any]]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='session')
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the zip file of the plugin."""
    path = tmp_path_factory.mktemp('package') / 'plugin.zip'
    assert main(['qgis-plugin', '--out', str(path)]) == 0
    return path


@pytest.fixture(scope='session')
def plugins(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unzip the plugin into a folder of plugins, as QGIS does."""
    folder = tmp_path_factory.mktemp('plugins')
    with zipfile.ZipFile(package) as file:
        file.extractall(folder)
    return folder


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(scope='session')
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a program torchgeo-cmr that runs these sources, however it is started."""
    folder = tmp_path_factory.mktemp('program with a space')
    text = (
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m torchgeo_cmr "$@"\n'
    )
    return script(folder / 'torchgeo-cmr', text)


@pytest.fixture
def run(qgis_python: str, plugins: Path, program: Path, tmp_path: Path) -> Run:
    """Run a function of ``in_qgis.py`` in the Python of QGIS."""

    def call(name: str, **job: object) -> dict[str, Any]:
        words = {'plugins': plugins, 'program': program, 'folder': tmp_path, **job}
        done = subprocess.run(
            [
                qgis_python,
                str(Path(__file__).with_name('in_qgis.py')),
                name,
                json.dumps(words, default=str),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            # QGIS leaves temporary folders behind.
            env={**os.environ, 'TMPDIR': str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return call


def make_table(prefix: str, seed: int) -> EmbeddingTable:
    """Thirty-six patches of 320 m side by side in UTM, each ten days after the last."""
    n = 36
    places = [(5e5 + 320 * (i % 6), 5e6 - 320 * (i // 6)) for i in range(n)]
    time = pd.Timestamp('2024-01-01', tz='UTC') + pd.to_timedelta(
        10.0 * np.arange(n), unit='D'
    )
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{prefix}:scene.tif:0_{32 * i}_32x32' for i in range(n)],
            'source': 'scene.tif',
            'time_start': time,
            'time_end': time,
            'cloud': np.arange(n, dtype=float),
        },
        geometry=[shapely.box(x, y - 320, x + 320, y) for x, y in places],
        crs=32632,
    )
    vectors = np.random.default_rng(seed).normal(size=(n, 8))
    return EmbeddingTable.from_frame(frame, vectors, space='abc', modality=prefix)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Thirty-six optical patches."""
    make_table('s2', 0).save(tmp_path / 'archive')
    return tmp_path / 'archive'


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """Thirty-six radar patches of the same places."""
    make_table('s1', 1).save(tmp_path / 'queries')
    return tmp_path / 'queries'
