"""The verb export: archives and saved results become layers."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.export import read_search
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


@pytest.fixture
def saved(run: Run, archive: Path, asking: Path, tmp_path: Path) -> Path:
    """A search with scenes that are there."""
    for name, count in (('s2', 1), ('s1', 1)):
        path = tmp_path / name / 'scene.tif'
        path.parent.mkdir()
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            width=32 * 30,
            height=32,
            count=count,
            dtype='uint8',
            crs='EPSG:4326',
            transform=Affine(0.0001, 0, -98.6, 0, -0.0001, 29.6),
        ) as file:
            file.write(np.arange(32 * 960).reshape(1, 32, 960).astype('uint8'))
    for folder in (archive, asking):
        table = EmbeddingTable.load(folder)
        replace(table, record={**table.record, 'root': str(tmp_path)}).save(
            folder, overwrite=True
        )
    out = tmp_path / 'saved.gpkg'
    words = ('--query', asking, '-k', 2, '--within', '-98.6,29.5,-98.5,29.6')
    assert run('search', archive, *words, '--out', out).code == 0
    return out


@pytest.mark.slow
def test_a_saved_search_in_every_format(run: Run, saved: Path, tmp_path: Path) -> None:
    new = tmp_path / 'new'
    outs = [new / f'a{suffix}' for suffix in ('.gpkg', '.geojson', '.parquet')]
    words = [word for out in outs for word in ('--out', out)]
    more = ('--project', '--heatmap', '--html', '--clips', new / 'clips')
    ran = run('export', saved, *words, *more)
    assert ran == (
        0,
        ''.join(f'{out}: 6 rows\n' for out in outs)
        + f'{new / "a_similarity.tif"}: similarity raster\n{new / "a.qgz"}: QGIS project\n'
        + f'{new / "a.html"}: 6 rows\n{new / "clips"}: clips\n',
        '',
    )
    # The search's own words came along; a manifest belongs to the search alone.
    assert not (new / 'a.json').exists()
    first, again = read_search(saved), read_search(outs[0])
    assert again.record == first.record
    assert_geodataframe_equal(again.results, first.results)
    assert again.queries is not None
    assert 'How it was searched' in (new / 'a.html').read_text()
    assert 'data:image/png' in (new / 'a.html').read_text()
    assert (new / 'clips' / 'contact_sheet.png').exists()
    assert len(list((new / 'clips').glob('*_s2.tif'))) == 6
    # From GeoParquet, the results and the record.
    assert run('export', outs[2], '--out', new / 'b.gpkg').code == 0
    assert read_search(new / 'b.gpkg').record == first.record


def test_nothing_to_write(refused: Refused, archive: Path) -> None:
    assert 'nothing to write: name a file with --out' in refused('export', archive)


def test_an_archive_is_no_result(
    refused: Refused, archive: Path, tmp_path: Path
) -> None:
    line = refused('export', archive, '--out', tmp_path / 'a.html')
    assert 'the result lacks query_id, rank, score' in line
    line = refused('export', archive, '--out', tmp_path / 'a.tif')
    assert 'the frame has no column score; draw what a search gave' in line


def test_an_archive_for_a_catalogue(run: Run, archive: Path, tmp_path: Path) -> None:
    outs = [tmp_path / 'a.stac.json', tmp_path / 'DATA.md', tmp_path / 'a.geojson']
    words = [word for out in outs for word in ('--out', out)]
    ran = run('export', archive, *words, '--licence', 'CC-BY-4.0', '--title', 'T')
    assert (ran.code, ran.err) == (0, '')
    assert ran.out.splitlines() == [
        f'{outs[0]}: STAC collection',
        f'{outs[1]}: card',
        f'{outs[2]}: 30 rows',
    ]
    collection = json.loads(outs[0].read_text())
    assert (collection['license'], collection['title']) == ('CC-BY-4.0', 'T')
    assert len([*(tmp_path / 'a.items').iterdir()]) == 1
    assert '| licence | CC-BY-4.0 |' in outs[1].read_text()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (
            'layer.gpkg --out card.md',
            'layer.gpkg is not an archive: a card (.md) is of',
        ),
        ('archive --out a.gpkg --licence MIT', '--licence is for .stac.json, .stac.pa'),
        ('archive --out a.stac.json --time soon', "the time 'soon' is not a date"),
        ('gone.ckpt --out card.md', 'there is no checkpoint'),
        ('archive --out there.md', 'there.md is there already'),
    ],
)
def test_mistakes_of_catalogues(
    refused: Refused,
    archive: Path,
    layer: gpd.GeoDataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    layer.to_file(tmp_path / 'layer.gpkg')
    Path('there.md').write_text('mine')
    if not Path('archive').exists():
        Path('archive').symlink_to(archive)
    before = sorted(tmp_path.rglob('*'))
    assert message in refused('export', *words.split())
    assert sorted(tmp_path.rglob('*')) == before


def test_a_layer_of_several(
    run: Run, refused: Refused, layer: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    source, out = tmp_path / 'two.gpkg', tmp_path / 'a.geojson'
    layer.to_file(source, layer='first')
    layer.iloc[1:].to_file(source, layer='other', mode='a')
    (advice,) = re.findall(r'name one: (\S+)', refused('export', source, '--out', out))
    assert advice == f'{source}|layername=other'
    assert run('export', advice, '--out', out).code == 0
    assert gpd.read_file(out)['name'].tolist() == ['b']


def test_a_layer_of_a_saved_search(run: Run, archive: Path, tmp_path: Path) -> None:
    hits = tmp_path / 'hits.gpkg'
    assert run('search', archive, '--query', archive, '-k', 2, '--out', hits).code == 0
    for name, layer, columns in (('results', 'results', True), ('query', 0, False)):
        out = tmp_path / f'{name}.gpkg'
        ran = run('export', f'{hits}|layername={name}', '--out', out)
        assert (ran.code, ran.err) == (0, '')
        assert ('score' in gpd.read_file(out, layer=layer)) == columns
    assert read_search(tmp_path / 'results.gpkg').record == read_search(hits).record


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
        ('{t}/empty', 'empty is not an archive: it has no readable _archive.json'),
        ('{t}/broken', '_archive.json is broken'),
        ('{t}/text.geojson', 'text.geojson cannot be read as a vector file'),
        ('{t}/text.csv', 'text.csv has no geometry; name a file with footprints'),
        (
            '{t}/bare.shp',
            'bare.shp has no CRS; declare it in the program that wrote it',
        ),
        ('{t}/two.gpkg', 'two.gpkg has 2 layers, one, other; name one: '),
        ('{t}/two.gpkg|layername=sea', "has no layer 'sea' but one, other; name one"),
        ('{t}/gone.gpkg|layername=one', 'gone.gpkg is not there; name an archive fo'),
        ('{archive} --out {t}/text.xls', 'has the suffix .xls, which no writer knows'),
        ('{archive} --out {t}/b.json', 'name it b.geojson'),
        ('{archive} --out {t}/a.geojson', 'a.geojson is named twice as output'),
        ('{archive} --out {t}/a.fgb', 'a.geojson would share the style'),
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
    (tmp_path / 'broken' / '_archive.json').write_text('{')
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


@pytest.mark.slow
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


def test_places_that_take_no_files_and_folders_without_layers(
    refused: Callable[..., str], archive: Path, tmp_path: Path
) -> None:
    """Neither waits: for a writer that is not there, or for what a device has to say."""
    if Path('/proc/self').exists():
        line = refused('export', archive, '--out', '/proc/hits.csv')
        assert '/proc/hits could not be written' in line
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'notes.txt').write_text('mine')
    line = refused(
        'search', archive, '--query', archive, '--within', tmp_path / 'folder'
    )
    assert 'is a folder without a layer: name a file in it' in line
