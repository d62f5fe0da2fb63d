"""Command lines as people of GIS and scripts type them, without a look at the help."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.table import EmbeddingTable

AREA = shapely.box(9.021, 45.021, 9.049, 45.049)


@pytest.fixture(scope='module')
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sensors over a grid of a hundred patches, one of each day, and areas as files."""
    folder = tmp_path_factory.mktemp('natural')
    i = np.arange(100)
    tables = []
    for modality, day in (('s2', 0), ('s1', 1)):
        time = pd.Timestamp('2024-05-20', tz='UTC') + pd.to_timedelta(
            day + i % 30, unit='D'
        )
        x, y = 9 + (i % 10) * 0.01, 45 + (i // 10) * 0.01
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [f'{modality}:{k}' for k in i],
                'time_start': time,
                'time_end': time,
                'cloud': (i % 20).astype(float),
            },
            geometry=shapely.box(x, y, x + 0.01, y + 0.01),
            crs=4326,
        )
        vectors = np.random.default_rng(day).normal(size=(100, 8))
        tables.append(
            EmbeddingTable.from_frame(frame, vectors, space='w', modality=modality)
        )
    EmbeddingTable.concat(tables).save(folder / 'archive')
    area = gpd.GeoDataFrame({'name': ['x']}, geometry=[AREA], crs=4326)
    other = gpd.GeoDataFrame(geometry=[shapely.box(9, 45, 9.001, 45.001)], crs=4326)
    area.to_file(folder / 'aoi.gpkg', layer='x')
    other.to_file(folder / 'aoi.gpkg', layer='y')
    area.to_file(folder / 'aoi.geojson')
    area.to_crs(32632).to_file(folder / 'aoi.shp')
    return folder


@pytest.fixture(autouse=True)
def _folder(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the folder, in which the program runs."""
    shutil.copytree(_made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def found(run: Callable[..., Any], *words: object) -> set[str]:
    ran = run(
        'search',
        'archive',
        '--query',
        's2:5',
        *words,
        '-k',
        300,
        '-o',
        'all.geojson',
        '--force',
    )
    assert ran.code == 0, ran
    return set(gpd.read_file('all.geojson')['patch_id'])


BOX = '9.021,45.021,9.049,45.049'


@pytest.mark.parametrize(
    'words',
    [
        ('--bbox', BOX),
        (f'--bbox={BOX}',),
        ('--bbox', BOX.replace(',', ' ')),
        ('--bbox', BOX.replace(',', ', ')),
        ('--bbox', f'[{BOX}]'),
        ('--area', 'aoi.gpkg|layername=x'),
        ('--aoi', 'aoi.geojson'),
        ('--within', 'aoi.shp'),
        ('--area', AREA.wkt, '--crs', 'EPSG:4326'),
        ('--within', AREA.wkt, '--crs', 4326),
        ('--within', f'SRID=4326;{AREA.wkt}'),
        ('--area', shapely.to_geojson(AREA)),
    ],
    ids=str,
)
def test_areas(run: Callable[..., Any], words: tuple[object, ...]) -> None:
    inside = {2, 3, 4}
    rows = {f'{m}:{10 * y + x}' for m in ('s1', 's2') for x in inside for y in inside}
    assert found(run, *words) == rows


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (('--near', '9.025,45.025,2km'), ('--near', '9.025,45.025,2000')),
        (('--near', '9.025,45.025,2000m'), ('--near', '9.025,45.025,2000')),
        (('--near', '9.025 45.025 2000'), ('--near', '9.025,45.025,2000')),
        (('--modality', 's1,s2'), ('--modality', 's1', '--modality', 's2')),
        (('--datetime', '2024-06'), ('--during', '2024-06-01/2024-07-01')),
        (('--date', '2024-06-03'), ('--during', '2024-06-03/2024-06-04')),
        (('--filter', 'cloud = 10'), ('--where', 'cloud == 10')),
        (('--where', 'cloud=10'), ('--where', 'cloud == 10')),
    ],
    ids=str,
)
def test_same(
    run: Callable[..., Any], one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    rows = found(run, *one)
    assert rows == found(run, *other)
    assert rows


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (
            'search archive --query s2:5 --bbox 9 45 9.1 45.1',
            'join numbers with commas',
        ),
        ('search archive --query s2:5 --near 9 45 500', 'join numbers with commas'),
        ('search archive --query s2:5 --near 9.02,45.02', 'like 9.19,45.46,5000'),
        ('search archive --query s2:5 --modality s1 s2', 'repeat an option'),
        ('search archive --query s2:5 --modality s3', 'the archive has s1, s2'),
        ('search archive --query s2:5 --where cloud = 10', 'quote what holds spaces'),
        ('search archive --query s2:5 --within aoi.gpkg', 'aoi.gpkg|layername=y'),
        (
            'search archive --query s2:5 --within aoi.gpkg --layer x',
            'FILE|layername=NAME',
        ),
        ('search archive --query s2:5 --polygon aoi.shp', 'perhaps --within'),
        ('search archive --query s2:5 --start 2024-06-01', 'write --during START/END'),
        (
            'search archive --query s2:5 --during 2024-06-01..2024-06-30',
            "write '2024-06-01/2024-06-30'",
        ),
        ('search archive --query s2:5 --during june', 'is not a date in ISO 8601'),
        ('search archive --query s2:5 -n 2', 'perhaps -k'),
        ('search archive --query s2:5 --top-k 2', 'perhaps -k'),
        ('search archive --query s2:5 --limit 2', 'perhaps -k'),
        ('embed scenes --out x --patch_size 32', 'perhaps --size)'),
        ('embed scenes --out x --weights w', 'write --model MODEL:WEIGHTS'),
        ('embed scenes --out x --gpu', 'write --device cuda'),
        ('search archive --query s2:5 --threshold 0.5', 'perhaps --min-score'),
        ('search archive --query s2:5 -o hits.shp', '.gpkg'),
        ('search archive --query s2:5 -o hits.gpkg -f', 'perhaps --overwrite'),
        ('search archive --query 5', 'similar ones are s2:5'),
        ('search archive --query 45.025,9.025', 'longitude comes first: 9.025,45.025'),
        ('search archive s2:5', 'say what to look for with --query'),
        ('search --archive archive --query s2:5', 'without an option'),
        ('serach archive', 'perhaps search is meant'),
        ('export archive out.gpkg', '--out out.gpkg'),
        ('changes archive --near 9.02,45.02,500', 'this command has --within'),
        ('evaluate archive archive --relevance place -k 1 5', 'repeat an option'),
    ],
    ids=str,
)
def test_told_what_to_type(
    refused: Callable[..., str], line: str, message: str
) -> None:
    assert message in refused(*line.split())


def test_wkt_needs_a_crs(refused: Callable[..., str]) -> None:
    line = refused('search', 'archive', '--query', 's2:5', '--area', AREA.wkt)
    assert '--crs EPSG:4326' in line


@pytest.mark.parametrize(
    'line',
    [
        'search archive -q s2:5 --k 2',
        'search archive -q s2:5 -k 2 --output hits.gpkg',
        'search archive/ --query 9.025,45.025 -k2',
        'changes archive --modality s2 --aoi aoi.geojson',
        'evaluate archive archive --relevance place -k 1,5 --metrics map --direction s1->s2',
        'help',
        'help search',
    ],
)
def test_works(run: Callable[..., Any], line: str) -> None:
    ran = run(*line.split())
    assert ran.code == 0, ran


def test_cut_offs_with_commas(run: Callable[..., Any]) -> None:
    words = [
        'evaluate',
        'archive',
        'archive',
        '--relevance',
        'place',
        '--metric',
        'recall@k',
    ]
    one = run(*words, '-k', '1,5')
    assert one.code == 0
    assert one.out == run(*words, '-k', 1, '-k', 5).out
    assert 'recall@5' in one.out
