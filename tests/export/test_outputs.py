"""All outputs of a search at once: their names, and what is refused before the work."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import check_all, scenes_of, to_geopackage, write, write_all
from torchgeo_cmr.export.write import WRITERS
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.vectors.vector_file import read_frame

Make = Callable[..., EmbeddingTable]


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()}


@pytest.fixture
def everything(make: Make, scenes: Path) -> dict[str, Any]:
    told = scenes_of([make('s1'), make('s2')])
    for modality in told.values():
        modality['root'] = str(scenes)
    return {
        'queries': make('s1', 2),
        'area': None,
        'record': {'k': 3, 'scenes': told},
        'project': True,
        'heatmap': True,
        'html': True,
        'manifest': True,
    }


@pytest.mark.slow
def test_names(
    hits: gpd.GeoDataFrame, everything: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / 'new'
    outs = [out / 'a.stac.json', out / 'b.c.gpkg', out / 'd.parquet']
    written = write_all(hits, outs, clips=out / 'clips', **everything)
    assert [(w.path.name, w.summary) for w in written] == [
        ('a.stac.json', '6 rows'),
        ('b.c.gpkg', '6 rows'),
        ('d.parquet', '6 rows'),
        ('a_similarity.tif', 'similarity raster'),
        ('b.c.qgz', 'QGIS project'),
        ('a.html', '6 rows'),
        ('clips', 'clips'),
    ]
    assert all(w.path.exists() for w in written)
    assert json.loads((out / 'a.json').read_text()) == {'k': 3}
    assert (out / 'a_similarity.qml').exists()
    assert (out / 'clips' / '001_001_s2.tif').exists()
    known = {'a.json', 'a_similarity.qml', *(w.path.name for w in written[:-1])}
    assert {name for name in files(out) if '/' not in name} == known


def test_a_heat_map_brings_a_project_where_there_is_a_geopackage(
    hits: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    write_all(hits, [tmp_path / 'a.gpkg'], heatmap=True)
    assert files(tmp_path) == {
        'a.gpkg',
        'a.qgz',
        'a_similarity.tif',
        'a_similarity.qml',
    }
    write_all(hits, [tmp_path / 'b.parquet'], heatmap=True)
    assert not (tmp_path / 'b.qgz').exists()
    assert (tmp_path / 'b_similarity.tif').exists()


def test_no_hit(
    hits: gpd.GeoDataFrame, everything: dict[str, Any], tmp_path: Path
) -> None:
    outs = [tmp_path / 'a.gpkg', tmp_path / 'a.geojson', tmp_path / 'a.parquet']
    written = write_all(hits.head(0), outs, **everything)
    assert [w.path.name for w in written] == [
        'a.gpkg',
        'a.geojson',
        'a.parquet',
        'a.qgz',
        'a.html',
    ]
    assert {w.summary for w in written} == {'0 rows', 'QGIS project'}


def test_nothing_asked(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    assert write_all(hits, [], manifest=True) == []
    check_all([], manifest=True)


@pytest.mark.parametrize(
    'name', ['a.qgz', 'a.json', 'a.html', 'a_similarity.tif', 'a.qml']
)
def test_each_file_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    options: dict[str, Any] = {
        'project': True,
        'heatmap': True,
        'html': True,
        'manifest': True,
    }
    outs = [tmp_path / 'a.gpkg', tmp_path / 'a.geojson']
    with pytest.raises(OutputExistsError, match=f'{name} is there already'):
        check_all(outs, **options)
    check_all(outs, overwrite=True, **options)
    assert files(tmp_path) == {name}


@pytest.mark.parametrize('name', ['a?b', 'a#b', 'a|b', "a'b", 'é' * 120, 'x' * 243])
def test_names_that_libraries_cut_are_written_in_full(
    hits: gpd.GeoDataFrame, tmp_path: Path, name: str
) -> None:
    for suffix in WRITERS:
        folder = tmp_path / suffix[1:]
        path = folder / f'{name}{suffix}'
        write_all(hits, [path])
        assert {p.name for p in folder.iterdir()} - {f'{name}.qml'} == {path.name}
        if suffix in ('.gpkg', '.geojson', '.fgb'):
            assert len(read_frame(path, prefer='results')) == len(hits)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('a\nb.csv', r"holds '\\n', which .* leave it out"),
        ('a\0b.csv', r"holds '\\x00'"),
        ('a\udcffb.csv', 'is not UTF-8: rename'),
        ('x' * 252 + '.csv', 'is too long, with .* 255 .* choose a shorter one'),
        ('x/' * 4000 + 'a.csv', 'is too long'),
        ('a;b.gpkg', "holds ';', .* choose a name without"),
        ('a!b/c.geojson', "holds '!', .* choose a name without"),
        ('round/a.csv', 'leads through a link that leads to itself'),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_the_work(
    hits: gpd.GeoDataFrame, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / 'round').symlink_to('round')
    for write_it in (check_all, lambda outs: write(hits, outs[0])):
        with pytest.raises(QueryError, match=message):
            write_it([tmp_path / name])
    assert not files(tmp_path)


@pytest.mark.parametrize('suffix', WRITERS)
def test_a_link_to_itself_is_replaced(
    hits: gpd.GeoDataFrame, tmp_path: Path, suffix: str
) -> None:
    if suffix in ('.tif', '.stac.json'):
        # What writes these is left out where torch is.
        pytest.importorskip('rasterio')
        pytest.importorskip('pystac')
    path = tmp_path / f'a{suffix}'
    path.symlink_to(path.name)
    with pytest.raises(OutputExistsError, match='is there already'):
        write_all(hits, [path])
    write_all(hits, [path], overwrite=True)
    assert path.is_file()
    assert not path.is_symlink()


@pytest.mark.parametrize(
    ('outs', 'options', 'message'),
    [
        (
            [],
            {'project': True},
            'the project is named after an output, and there is none',
        ),
        ([], {'heatmap': True}, 'the heatmap is named after an output'),
        ([], {'html': True}, 'the html is named after an output'),
        (['a.parquet'], {'project': True}, r'a project shows .*add --out a\.gpkg'),
        (['a.html'], {'html': True}, r'a\.html is named twice'),
        (['a.shp'], {}, 'no writer knows'),
    ],
)
def test_what_needs_another_output(
    tmp_path: Path, outs: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        check_all([tmp_path / out for out in outs], **options)


def test_clips_need_a_folder(tmp_path: Path) -> None:
    check_all([], clips=tmp_path / 'new')
    check_all([], clips=tmp_path)
    with pytest.raises(QueryError, match='is a whole disk: name a folder in it'):
        check_all([], clips=Path(tmp_path.anchor))
    (tmp_path / 'file').touch()
    with pytest.raises(OutputExistsError, match='file is a file; name a folder'):
        check_all([], clips=tmp_path / 'file')


def test_nothing_is_written_if_something_cannot_be(
    hits: gpd.GeoDataFrame, everything: dict[str, Any], tmp_path: Path
) -> None:
    outs = [tmp_path / 'new' / 'a.gpkg', tmp_path / 'new' / 'a.stac.json']
    undated = hits.copy()
    undated['time_start'] = undated['time_end'] = None
    with pytest.raises(QueryError, match='6 of 6 hits have no time'):
        write_all(undated, outs, **everything)
    with pytest.raises(QueryError, match='does not say where the scenes are'):
        write_all(hits, outs, clips=tmp_path / 'new' / 'clips', record={'k': 3})
    with pytest.raises(QueryError, match='links join queries to hits'):
        write_all(hits, outs, links=True)
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('overwrite', [False, True])
def test_two_writers_of_one_name_are_never_mixed(
    hits: gpd.GeoDataFrame,
    record_of: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overwrite: bool,
) -> None:
    out = tmp_path / 'h.gpkg'
    few = hits[hits['rank'] == 1]

    def write_few() -> None:
        record = record_of(k=1, results=few)
        write_all(few, [out], record=record, manifest=True, overwrite=overwrite)

    def interrupted(*args: Any, **kwargs: Any) -> Path:
        path = to_geopackage(*args, **kwargs)
        monkeypatch.setitem(WRITERS, '.gpkg', to_geopackage)
        # Another process comes between the layer and the manifest.
        with pytest.raises(OutputExistsError, match='another process is writing'):
            write_few()
        return path

    monkeypatch.setattr('torchgeo_cmr.export.new_file._PATIENCE', 0)
    monkeypatch.setitem(WRITERS, '.gpkg', interrupted)
    record = record_of(results=hits)
    write_all(hits, [out], record=record, manifest=True, overwrite=overwrite)
    assert len(gpd.read_file(out, layer='results')) == len(hits)
    rows = json.loads((tmp_path / 'h.json').read_text())['rows']['count']
    assert rows == len(hits)
    assert files(tmp_path) == {'h.gpkg', 'h.json'}
