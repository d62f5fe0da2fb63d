"""The verb export: archives and saved results become layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]


@pytest.fixture
def layer() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {'name': ['a', 'b'], 'rank': [1, 2]},
        geometry=[
            shapely.box(5e5, 3e6, 6e5, 3.1e6),
            shapely.box(5e5, 3e6, 5.1e5, 3.01e6),
        ],
        crs=32614,
    )


def test_footprints_of_an_archive(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'footprints.geojson'
    assert run('export', archive, '--out', out) == (0, f'{out}: 30 rows\n', '')
    read, frame = gpd.read_file(out), EmbeddingTable.load(archive).frame
    for column in ('patch_id', 'modality', 'space', 'source', 'cloud'):
        assert read[column].tolist() == frame[column].tolist()
    assert read['time_start'].equals(frame['time_start'].astype('datetime64[ms, UTC]'))
    same = shapely.equals_exact(
        read.geometry.normalize(), frame.geometry.normalize(), 1e-7
    )
    assert same.all()


def test_a_layer_in_another_crs_and_format(
    run: Run, layer: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    layer.to_file(tmp_path / 'in.gpkg')
    outs = [tmp_path / 'a.geojson', tmp_path / 'b.geojson']
    ran = run('export', tmp_path / 'in.gpkg', '--out', outs[0], '--out', outs[1])
    assert ran == (0, f'{outs[0]}: 2 rows\n{outs[1]}: 2 rows\n', '')
    read = gpd.read_file(outs[0])
    assert read.crs == 'EPSG:4326'
    assert read['name'].tolist() == ['a', 'b']
    overlap = read.to_crs(32614).intersection(layer).area / layer.area
    assert (overlap > 0.999).all()


def test_results_among_several_layers(
    run: Run, layer: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = tmp_path / 'saved.gpkg'
    layer.head(1).to_file(path, layer='query')
    layer.to_file(path, layer='results', mode='a')
    out = tmp_path / 'a.geojson'
    assert run('export', path, '--out', out) == (0, f'{out}: 2 rows\n', '')


def test_in_place_with_overwrite(
    run: Run, refused: Refused, layer: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = tmp_path / 'a.geojson'
    layer.to_crs(4326).to_file(path)
    assert 'is there already' in refused('export', path, '--out', path)
    assert run('export', path, '--out', path, '--overwrite').code == 0
    assert gpd.read_file(path)['name'].tolist() == ['a', 'b']


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('{t}/gone', 'gone is not there; name an archive folder or a vector file'),
        ('{t}/empty', 'empty is not an archive: it has no readable archive.json'),
        ('{t}/broken', 'archive.json is broken'),
        ('{t}/text.geojson', 'text.geojson cannot be read as a vector file'),
        ('{t}/text.csv', 'text.csv has no geometry; name a file with footprints'),
        (
            '{t}/bare.shp',
            'bare.shp has no CRS; declare it in the program that wrote it',
        ),
        ('{t}/two.gpkg', 'has the layers one, other and none is called results'),
        ('{archive} --out {t}/text.csv', 'has the suffix .csv, which no writer knows'),
        ('{archive} --out {t}/b.json', 'name it b.geojson'),
        ('{archive} --out {t}/a.geojson', 'a.geojson is named twice as output'),
        ('{archive} --out {t}/text.geojson', 'text.geojson is there already'),
        ('{archive} {archive}', 'unrecognized arguments'),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    refused: Refused,
    archive: Path,
    layer: gpd.GeoDataFrame,
    tmp_path: Path,
    words: str,
    message: str,
) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'archive.json').write_text('{')
    (tmp_path / 'text.geojson').write_text('no vector file')
    (tmp_path / 'text.csv').write_text('a,b\n1,2\n')
    layer.to_file(tmp_path / 'bare.shp')
    (tmp_path / 'bare.prj').unlink()
    layer.to_file(tmp_path / 'two.gpkg', layer='one')
    layer.to_file(tmp_path / 'two.gpkg', layer='other', mode='a')
    before = sorted(tmp_path.rglob('*'))
    given = words.format(t=tmp_path, archive=archive).split()
    line = refused('export', *given, '--out', tmp_path / 'a.geojson')
    assert message in line
    assert sorted(tmp_path.rglob('*')) == before


def test_never_loads_torch(program: Run, archive: Path, tmp_path: Path) -> None:
    code = (
        'import sys\n'
        'from torchgeo_cmr.main import main\n'
        'assert main(sys.argv[1:]) == 0\n'
        "bad = {'torch', 'torchgeo', 'matplotlib'} & set(sys.modules)\n"
        'assert not bad, bad\n'
    )
    done = program('-c', code, 'export', archive, '--out', tmp_path / 'a.geojson')
    assert done.returncode == 0, done.stderr
