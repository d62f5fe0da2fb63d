"""Clips: bit for bit the pixels of the source, on its grid, and nothing done twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import clip_hits, scenes_of
from torchgeo_cmr.export.pictures import clips as module
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., EmbeddingTable]


@pytest.fixture
def record(make: Make, scenes: Path) -> dict[str, Any]:
    """Where the scenes of both sensors are."""
    told = scenes_of([make('s1'), make('s2')])
    for modality in told.values():
        modality['root'] = str(scenes)
    return {'scenes': told}


def pixels(path: Path, window: Window) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(window=window)


def test_bit_for_bit(
    hits: gpd.GeoDataFrame, record: dict[str, Any], scenes: Path, tmp_path: Path
) -> None:
    folder = clip_hits(hits, tmp_path / 'clips', record=record)
    told = json.loads((folder / 'clips.json').read_text())
    assert len(told) == 2 * len(hits)
    for clip in told:
        column = int(clip['patch_id'].split('_')[-2])
        with rasterio.open(folder / clip['name']) as file:
            source = scenes / f'{clip["modality"]}.tif'
            expected = pixels(source, Window(column, 0, 32, 32))  # ty: ignore[too-many-positional-arguments]
            found = file.read()
            assert found.dtype == expected.dtype
            assert found.tobytes() == expected.tobytes()
            assert file.crs.to_epsg() == 32632
            assert file.transform == Affine(10, 0, 5e5 + 10 * column, 0, -10, 5e6)
            names = {'s1': ('VV', 'VH'), 's2': ('B02', 'B03', 'B04')}[clip['modality']]
            assert file.descriptions == names
            assert file.tags()['PATCH_ID'] == clip['patch_id']
            assert file.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
    first = hits.iloc[0]
    assert (told[0]['query_id'], told[0]['rank']) == (first['query_id'], 1)
    assert told[0]['name'] == '001_001_s2.tif'


def test_special_values_survive(
    hits: gpd.GeoDataFrame, record: dict[str, Any], scenes: Path, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).normal(size=(2, 64, 192)).astype(np.float32)
    data[0, :4, :4], data[1, 5, 5], data[1, 6, 6] = np.nan, np.inf, -0.0
    with rasterio.open(scenes / 's1.tif', 'r+') as file:
        file.write(data)
        file.nodata = -9999
    folder = clip_hits(hits, tmp_path / 'clips', record=record)
    for clip in json.loads((folder / 'clips.json').read_text()):
        if clip['modality'] == 's1':
            row, col, height, width = clip['window']
            with rasterio.open(folder / clip['name']) as file:
                expected = data[:, row : row + height, col : col + width]
                assert file.read().tobytes() == expected.tobytes()
                assert file.nodata == -9999


def test_bands_of_two_sizes(
    hits: gpd.GeoDataFrame, record: dict[str, Any], scenes: Path, tmp_path: Path
) -> None:
    coarse = np.arange(32 * 96, dtype=np.int16).reshape(1, 32, 96)
    profile = {
        'driver': 'GTiff',
        'width': 96,
        'height': 32,
        'count': 1,
        'dtype': 'int16',
    }
    transform = Affine(20, 0, 5e5, 0, -20, 5e6)
    with rasterio.open(
        scenes / 'B11.tif', 'w', crs='EPSG:32632', transform=transform, **profile
    ) as file:
        file.write(coarse)
    sources = record['scenes']['s2']['sources']
    sources['s2.tif'] = [*sources['s2.tif'], ['B11.tif', 1, 'B11', 20.0]]
    one = hits.head(1)
    column = int(one['patch_id'].iloc[0].split('_')[-2])
    folder = clip_hits(one, tmp_path / 'clips', record=record)
    names = sorted(p.name for p in folder.glob('*.tif'))
    assert names == ['001_001_s1.tif', '001_001_s2_10m.tif', '001_001_s2_20m.tif']
    with rasterio.open(folder / '001_001_s2_20m.tif') as file:
        half = column // 2
        assert np.array_equal(file.read(), coarse[:, :16, half : half + 16])
        assert file.descriptions == ('B11',)


@pytest.mark.parametrize(
    'transform',
    [
        Affine(10, 0, 5e5, 0, 10, 4_998_080),
        Affine(-10, 0, 501_920, 0, -10, 5e6),
        Affine(0, 10, 5e5, -10, 0, 5e6),
        Affine.translation(5e5, 5e6) @ Affine.rotation(20) @ Affine.scale(10, -10),
    ],
    ids=['south-up', 'east-left', 'transposed', 'rotated'],
)
def test_scenes_of_any_orientation(
    hits: gpd.GeoDataFrame,
    record: dict[str, Any],
    scenes: Path,
    tmp_path: Path,
    transform: Affine,
) -> None:
    """Whole pixels of the source, on its own grid, that hold the ground of the hit."""
    data = np.random.default_rng(0).normal(size=(2, 192, 192)).astype(np.float32)
    with rasterio.open(
        scenes / 's1.tif',
        'w',
        driver='GTiff',
        width=192,
        height=192,
        count=2,
        crs='EPSG:32632',
        transform=transform,
        dtype='float32',
    ) as file:
        file.write(data)
        outline = shapely.Polygon(
            [file.xy(*c, offset='ul') for c in ((0, 0), (0, 192), (192, 192), (192, 0))]
        )
    folder = clip_hits(hits, tmp_path / 'clips', record=record)
    told = json.loads((folder / 'clips.json').read_text())
    found = {clip['patch_id']: clip for clip in told if clip['modality'] == 's1'}
    for _, hit in hits.iterrows():
        ground = shapely.Polygon(hit['native_corners'].reshape(4, 2))
        assert (hit['patch_id'] in found) == (ground.intersection(outline).area > 0)
        if hit['patch_id'] not in found:
            continue
        clip = found[hit['patch_id']]
        row, col, height, width = clip['window']
        with rasterio.open(folder / clip['name']) as file:
            expected = data[:, row : row + height, col : col + width]
            assert file.read().tobytes() == expected.tobytes()
            assert file.transform.almost_equals(
                transform @ Affine.translation(col, row)
            )
            ends = ((0, 0), (0, width), (height, width), (height, 0))
            clipped = shapely.Polygon([file.xy(*end, offset='ul') for end in ends])
        there = ground.intersection(outline)
        assert there.difference(clipped.buffer(1e-3)).is_empty
    assert found


def test_another_zone_on_its_own_grid(
    hits: gpd.GeoDataFrame, record: dict[str, Any], scenes: Path, tmp_path: Path
) -> None:
    """The s1 scene lies in the next zone: whole pixels under the hit, unresampled."""
    box = transform_bounds('EPSG:32632', 'EPSG:32633', 5e5, 5e6 - 640, 5e5 + 1920, 5e6)
    data = np.random.default_rng(0).normal(size=(2, 200, 260)).astype(np.float32)
    transform = Affine(10, 0, np.floor(box[0]) - 100, 0, -10, np.ceil(box[3]) + 100)
    profile = {'driver': 'GTiff', 'width': 260, 'height': 200, 'count': 2}
    with rasterio.open(
        scenes / 's1.tif',
        'w',
        crs='EPSG:32633',
        transform=transform,
        dtype='float32',
        **profile,
    ) as file:
        file.write(data)
    folder = clip_hits(hits, tmp_path / 'clips', record=record)
    told = [
        clip
        for clip in json.loads((folder / 'clips.json').read_text())
        if clip['modality'] == 's1'
    ]
    assert len(told) == len(hits)
    for clip in told:
        row, col, height, width = clip['window']
        with rasterio.open(folder / clip['name']) as file:
            assert file.crs.to_epsg() == 32633
            expected = data[:, row : row + height, col : col + width]
            assert file.read().tobytes() == expected.tobytes()
            assert file.transform == transform @ Affine.translation(col, row)
            column = int(clip['patch_id'].split('_')[-2])
            west = 5e5 + 10 * column
            ground = transform_bounds(
                'EPSG:32632', 'EPSG:32633', west, 5e6 - 320, west + 320, 5e6
            )
            # All of the ground, and less than a pixel more on each side.
            assert file.bounds.left <= ground[0] < file.bounds.left + 10
            assert file.bounds.top >= ground[3] > file.bounds.top - 10
            assert file.bounds.right >= ground[2] > file.bounds.right - 10
            assert file.bounds.bottom <= ground[1] < file.bounds.bottom + 10


def test_a_modality_that_does_not_cover_the_place(
    hits: gpd.GeoDataFrame, record: dict[str, Any], scenes: Path, tmp_path: Path
) -> None:
    with rasterio.open(scenes / 's1.tif', 'r+') as file:
        file.transform = Affine(10, 0, 9e5, 0, -10, 5e6)
    folder = clip_hits(hits, tmp_path / 'clips', record=record)
    assert {p.stem[-2:] for p in folder.glob('*.tif')} == {'s2'}


@pytest.mark.slow
def test_a_hostile_modality_stays_in_the_folder(
    hits: gpd.GeoDataFrame, record: dict[str, Any], tmp_path: Path
) -> None:
    for evil in ('x/../../../../ESCAPED', f'{tmp_path}/ESCAPED', 'x/../../../../s2'):
        scenes = {**record['scenes'], evil: record['scenes']['s2']}
        renamed: Any = hits.assign(modality=evil)
        folder = tmp_path / 'a' / 'b' / 'clips'
        before = {p for p in tmp_path.rglob('*') if folder not in p.parents}
        clip_hits(renamed, folder, record={'scenes': scenes}, overwrite=True)
        after = {p for p in tmp_path.rglob('*') if folder not in p.parents}
        assert after - before <= {tmp_path / 'a', tmp_path / 'a' / 'b', folder}
        listed = json.loads((folder / 'clips.json').read_text())
        names = {clip['name'] for clip in listed}
        assert len(names) == len(listed)
        assert names == {p.name for p in folder.glob('*.tif')}


def test_a_link_in_the_folder_is_not_followed(
    hits: gpd.GeoDataFrame, record: dict[str, Any], tmp_path: Path
) -> None:
    folder, outside = tmp_path / 'clips', tmp_path / 'outside.tif'
    outside.write_text('mine')
    folder.mkdir()
    for name in ('001_001_s2.tif', 'clips.json', 'contact_sheet.png'):
        (folder / name).symlink_to(outside)
    clip_hits(hits, folder, record=record, overwrite=True)
    assert outside.read_text() == 'mine'
    assert not (folder / '001_001_s2.tif').is_symlink()


@pytest.mark.slow
def test_goes_on_where_it_stopped(
    hits: gpd.GeoDataFrame,
    record: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut, seen = module._cut, []

    def stop_at_four(clip: module.Clip, target: Path) -> None:
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(clip.name)
        cut(clip, target)

    monkeypatch.setattr(module, '_cut', stop_at_four)
    with pytest.raises(KeyboardInterrupt):
        clip_hits(hits, tmp_path / 'clips', record=record)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / 'clips').glob('*.tif')}
    assert len(before) == 4
    seen.clear()
    monkeypatch.setattr(
        module, '_cut', lambda clip, target: (seen.append(clip.name), cut(clip, target))
    )
    folder = clip_hits(hits, tmp_path / 'clips', record=record)
    assert len(seen) == 2 * len(hits) - 4
    assert not set(seen) & {p.name for p in before}
    assert all(p.stat().st_mtime_ns == when for p, when in before.items())
    seen.clear()
    clip_hits(hits, folder, record=record)
    assert seen == []
    clip_hits(hits, folder, record=record, overwrite=True)
    assert len(seen) == 2 * len(hits)


def test_another_search_is_not_mixed_in(
    hits: gpd.GeoDataFrame, record: dict[str, Any], tmp_path: Path
) -> None:
    folder = clip_hits(hits, tmp_path / 'clips', record=record)
    fewer = hits.head(2)
    with pytest.raises(
        OutputExistsError, match='holds clips of another search; choose'
    ):
        clip_hits(fewer, folder, record=record)
    (folder / 'mine.tif').touch()
    clip_hits(fewer, folder, record=record, overwrite=True)
    # What nobody asked for any more is gone; what was never ours stays.
    assert {p.name for p in folder.glob('*.tif')} == {
        'mine.tif',
        *(f'001_00{rank}_{m}.tif' for rank in (1, 2) for m in ('s1', 's2')),
    }


def test_refuses(
    hits: gpd.GeoDataFrame, record: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(
        QueryError, match='the record does not say where the scenes are'
    ):
        clip_hits(hits, tmp_path / 'clips')
    stranger = gpd.GeoDataFrame(hits.assign(source='other.tif'))
    with pytest.raises(
        QueryError, match=r"scene 'other\.tif' of .* is not among those"
    ):
        clip_hits(stranger, tmp_path / 'clips', record=record)
    lost = {m: {**told, 'root': '/nowhere'} for m, told in record['scenes'].items()}
    with pytest.raises(QueryError, match='cannot be opened; say where the scenes are'):
        clip_hits(hits, tmp_path / 'clips', record={'scenes': lost})
    assert not (tmp_path / 'clips').exists()
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'letter').touch()
    with pytest.raises(OutputExistsError, match='full holds other files; choose'):
        clip_hits(hits, tmp_path / 'full', record=record)
    (tmp_path / 'file').touch()
    with pytest.raises(OutputExistsError, match='file is a file; name a folder'):
        clip_hits(hits, tmp_path / 'file', record=record)


@pytest.mark.slow
def test_contact_sheet(
    make: Make, hits: gpd.GeoDataFrame, record: dict[str, Any], tmp_path: Path
) -> None:
    queries = make('s1', 2)
    folder = clip_hits(hits, tmp_path / 'clips', queries=queries, record=record)
    assert (folder / 'contact_sheet.png').read_bytes().startswith(b'\x89PNG')
    # As a saved search names them.
    saved = gpd.GeoDataFrame(queries.frame.rename(columns={'patch_id': 'query_id'}))
    again = clip_hits(hits, tmp_path / 'again', queries=saved, record=record)
    assert (again / 'contact_sheet.png').exists()


def test_no_hit(hits: gpd.GeoDataFrame, record: dict[str, Any], tmp_path: Path) -> None:
    folder = clip_hits(hits.head(0), tmp_path / 'clips', record=record)
    assert json.loads((folder / 'clips.json').read_text()) == []


def test_scenes_of_two_tables_with_one_name(make: Make) -> None:
    one, two = make('s2'), make('s2')
    one.record['root'], two.record['root'] = '/a', '/b'
    assert scenes_of([one])['s2']['sources']['s2.tif'][0][0] == '/a/s2.tif'
    # Nobody could say whose pixels were meant.
    assert scenes_of([one, two])['s2']['sources'] == {}


def test_hits_without_a_place_are_passed_over(
    hits: gpd.GeoDataFrame, record: dict[str, Any], tmp_path: Path
) -> None:
    some = hits.copy()
    some.loc[hits['rank'] > 1, 'geometry'] = None
    folder = clip_hits(some, tmp_path / 'clips', record=record)
    told = json.loads((folder / 'clips.json').read_text())
    assert {clip['rank'] for clip in told} == {1}
    with pytest.raises(QueryError, match='none of the 4 hits has a place'):
        clip_hits(some[hits['rank'] > 1], tmp_path / 'none', record=record)
