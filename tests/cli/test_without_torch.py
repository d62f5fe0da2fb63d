"""The retrieval commands where torch, TorchGeo, rasterio, faiss and SciPy are not installed.

One child process runs all commands. A module that is None among those loaded cannot be imported, and
Python tells so as of one that is not installed.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.cli.commands import VERBS
from torchgeo_cmr.table import EmbeddingTable

ROOT = Path(__file__).parents[2]
LIGHT = ROOT / 'docs' / 'light-requirements.txt'

MISSING = (
    'affine',
    'faiss',
    'h5py',
    'huggingface_hub',
    'jsonargparse',
    'kornia',
    'lightning',
    'matplotlib',
    'mcp',
    'numkong',
    'psycopg',
    'pystac',
    'rasterio',
    'rioxarray',
    'safetensors',
    'scipy',
    'stac_geoparquet',
    'timm',
    'torch',
    'torchgeo',
    'torchmetrics',
    'torchvision',
    'xarray',
)

CHILD = f"""
import contextlib, io, json, sys
sys.modules |= dict.fromkeys({MISSING!r})
from torchgeo_cmr.main import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(json.loads(line))
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""

#: What works, in this order: some read what another has written.
WORK = {
    'info': 'info archive',
    'check': 'check archive --quiet',
    'search by archive': 'search archive --query queries -k 3 --out hits.gpkg --project --html',
    'search by place': 'search archive --query -98.595,29.595 -k 3 --during 2024 --where cloud<20 '
    '--out place.csv --out place.geojson --out place.parquet',
    'info of hits': 'info hits.gpkg',
    'check of hits': 'check hits.gpkg --quiet',
    'replay': 'replay hits.json',
    'index': 'index archive --out index',
    'info of an index': 'info index',
    'check of an index': 'check index --quiet',
    'search of an index': 'search index --query queries -k 3 --out again.gpkg',
    'index of theirs': 'index theirs.parquet --out theirs --space abc',
    'fuse': 'fuse hits.gpkg again.gpkg --out fused.gpkg',
    'export': 'export archive --out archive.fgb',
    'export of hits': 'export hits.gpkg --out page.html',
    'collection': 'export archive --out archive.stac.json',
    'card': 'export archive --out archive.md',
    'evaluate': 'evaluate queries archive --relevance place --metric map',
    'align': 'align archive queries --out centred --using means.npz --method center',
    'search of aligned': 'search centred --query centred -k 3 --out centred.gpkg',
    'hash': 'hash archive --out codes --using sign.npz --kind sign',
    'search of codes': 'search codes --query codes -k 3 --out codes.gpkg',
    'plan': 'plan --patches 1e8 --dim 256',
    'qgis-plugin': 'qgis-plugin --out plugin.zip',
    'completion': 'completion bash',
}

#: What is refused, and what the sentence tells to install.
REFUSED = {
    **{
        f'{command} --out new': 'torchgeo-cmr'
        for command in ('demo', 'fit', 'validate', 'test', 'predict')
    },
    'embed scene.tif --ckpt best.ckpt --modality s2 --out new': 'torchgeo-cmr',
    'embed scene.tif --model dofa --modality s2 --out new': 'torchgeo-cmr',
    'search archive --query scene.tif --ckpt best.ckpt --out new.gpkg': 'torchgeo-cmr',
    'info best.ckpt': 'torchgeo-cmr',
    'check best.ckpt': 'torchgeo-cmr',
    'export best.ckpt --out new.md': 'torchgeo-cmr',
    'search archive --query queries --out new.tif': 'rasterio',
    'search archive --query queries --out new.gpkg --heatmap': 'rasterio',
    'search archive --query queries --out new.gpkg --clips new': 'rasterio',
    'pixels scene.tif --size 3 --space s --out new': 'rasterio',
    'evaluate queries archive --relevance raster:scene.tif': 'rasterio',
    'index archive --approximate ivf --out new': 'faiss-cpu',
    'duplicates archive --out new.gpkg': 'scipy',
    'changes archive --out new.gpkg': 'scipy',
    'speak --out new --labels river': 'scipy',
    'search archive --query queries --out new.stac.json': 'pystac',
    'export archive --out new.stac.parquet': 'stac-geoparquet',
    'serve --mcp archive': 'mcp',
    'load archive postgresql://nobody@localhost/gis': '"psycopg[binary]"',
}

#: Mistakes that are seen before anything is loaded, and words of the sentence.
MISTAKES = {
    'embed scene.tif --ckpt gone.ckpt --modality s2 --out new': 'there is no checkpoint gone.ckpt',
    'embed scene.tif --modality s2 --out new': 'give an encoder: --ckpt',
    'embed gone.tif --ckpt best.ckpt --modality s2 --out new': 'no raster matches gone.tif',
    'embed gs://box/a.tif --ckpt best.ckpt --modality s2 --out new': 'only http(s):// and s3://',
    'embed /vsicurl/https://example.com/a.tif --ckpt best.ckpt --out new': 'with --remote',
    'fit --config gone.yaml': 'there is no gone.yaml',
    'test scene.yaml': 'write --config scene.yaml',
    'search archive --query scene.tif --ckpt gone.ckpt --out new.gpkg': 'there is no checkpoint',
    'search archive --query https://example.com/a.tif --out new.gpkg': 'a.tif is on a server',
    'evaluate postgresql://me:secret@server/gis archive --relevance place': 'is a database, which',
    'export postgresql://me:secret@server/gis --out new.gpkg': 'name the archive folder',
    'load postgresql://me:secret@server/gis archive': 'name the archive folder',
    'index archive --out postgresql://me:secret@server/new': 'with torchgeo-cmr load',
}


def _table(modality: str, n: int) -> EmbeddingTable:
    """Squares in a row, a day apart."""
    x = -98.6 + 0.01 * np.arange(n)
    days = pd.to_timedelta(np.arange(n), unit='D')
    times = pd.Series(pd.Timestamp('2024-01-01', tz='UTC') + days)
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [
                f'{modality}:{modality}.tif:0_{32 * i}_32x32' for i in range(n)
            ],
            'source': f'{modality}.tif',
            'time_start': times,
            'time_end': times,
            'cloud': np.arange(n, dtype=float),
        },
        geometry=shapely.box(x, 29.59, x + 0.01, 29.6),
        crs=4326,
    )
    vectors = np.random.default_rng(n).normal(size=(n, 8))
    return EmbeddingTable.from_frame(frame, vectors, space='abc', modality=modality)


@pytest.fixture(scope='module')
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all commands in one process without the packages."""
    archive = _table('s2', 30)
    folder = tmp_path_factory.mktemp('light')
    archive.save(folder / 'archive')
    _table('s1', 3).save(folder / 'queries')
    archive.frame.assign(embedding=[*archive.vectors]).to_parquet(
        folder / 'theirs.parquet'
    )
    for name in ('scene.tif', 'best.ckpt'):
        (folder / name).write_bytes(b'none')
    lines = [*WORK.values(), *REFUSED, *MISTAKES]
    done = subprocess.run(
        [sys.executable, '-c', CHILD],
        input=''.join(json.dumps(line.split()) + '\n' for line in lines),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {'left': {p.name for p in folder.iterdir()}} | dict(
        zip(lines, answers, strict=True)
    )


@pytest.mark.parametrize('what', WORK)
def test_works(told: dict[str, Any], what: str) -> None:
    code, out, err = told[WORK[what]]
    assert code == 0, err
    assert out


@pytest.mark.parametrize('line', REFUSED)
def test_what_is_missing_is_one_sentence_with_its_cure(
    told: dict[str, Any], line: str
) -> None:
    code, out, err = told[line]
    assert (code, out) == (2, ''), err
    assert err.startswith('torchgeo-cmr: ')
    assert err.count('\n') == 1
    assert re.search(rf'pip install {re.escape(REFUSED[line])}(?![\w-])', err), err


@pytest.mark.parametrize('line', MISTAKES)
def test_mistakes_are_seen_before_anything_is_loaded(
    told: dict[str, Any], line: str
) -> None:
    code, out, err = told[line]
    assert (code, out) == (2, ''), err
    assert MISTAKES[line] in err
    assert 'secret' not in err


def test_a_refusal_leaves_nothing(told: dict[str, Any]) -> None:
    assert not {name for name in told['left'] if name.startswith('new')}


def test_every_command_is_tried() -> None:
    tried = {line.split()[0] for line in (*WORK.values(), *REFUSED)}
    # What doctor says without packages is tested with it, and takes its time.
    assert tried | {'doctor'} == {*VERBS}


def test_bounds_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    light = [x for x in LIGHT.read_text().splitlines() if not x.startswith('#')]
    assert light == sorted(light)
    assert {*light} <= {*project['dependencies']}


def test_tests_that_need_more_are_there() -> None:
    """The list of ``.ci/run`` leaves out no test that is gone."""
    for line in (ROOT / 'tests' / 'light.txt').read_text().splitlines():
        path, *names = line.partition('=')[2].split('::') if '=' in line else [line]
        assert (ROOT / path).exists(), line
        text = (ROOT / path).read_text() if names else ''
        assert all(re.search(rf'(def|class) {name}\b', text) for name in names), line
