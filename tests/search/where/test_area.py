"""An area's edges in degrees against the same edges in very short pieces."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.where.area import read_area
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import to_lonlat

_ANGLE = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_WAY = np.column_stack([np.cos(_ANGLE), np.sin(_ANGLE)])


@pytest.mark.parametrize('crs', ['EPSG:32632', 'EPSG:3035', 'EPSG:3857'])
@pytest.mark.parametrize('radius', [1_000, 20_000, 80_000])
def test_edges_stay_within_a_centimetre(crs: str, radius: float) -> None:
    middle = {
        'EPSG:32632': (600_000, 5_300_000),
        'EPSG:3035': (4_500_000, 3_000_000),
        'EPSG:3857': (1_000_000, 6_000_000),
    }[crs]
    given = shapely.Polygon(middle + radius * _WAY)
    area = read_area(given, crs)
    fine = shapely.get_coordinates(shapely.segmentize(given, radius / 5_000))
    points = shapely.points(to_lonlat(fine, CRS(crs)))
    assert shapely.distance(shapely.boundary(area), points).max() < 1.2e-7


def test_a_small_area_needs_few_points() -> None:
    given = shapely.Polygon([600_000, 5_300_000] + 1_000 * _WAY)
    assert shapely.get_num_coordinates(read_area(given, 'EPSG:32632')) < 40


def test_a_wave_that_crosses_its_chord_in_the_middle_is_seen() -> None:
    # Through the centre of a zone: halfway along, the line lies on its chord.
    given = shapely.LineString([(300_000, -300_000), (700_000, 300_000)])
    area = read_area(given, 'EPSG:32632')
    fine = shapely.get_coordinates(shapely.segmentize(given, 50))
    points = shapely.points(to_lonlat(fine, CRS('EPSG:32632')))
    assert shapely.distance(area, points).max() < 2e-6


def test_degrees_of_another_size_lead_off_the_globe(tmp_path: Path) -> None:
    """A flipped bit in a .prj once divided an edge without end."""
    file = tmp_path / 'a.shp'
    shapes = gpd.GeoDataFrame(geometry=[shapely.box(9.2, 45.2, 9.7, 45.8)], crs=4326)
    shapes.to_file(file)
    prj = file.with_suffix('.prj')
    prj.write_text(prj.read_text().replace('0.0174532925199433', '0.1174532925199433'))
    with pytest.raises(QueryError, match=r'a\.shp'):
        Where(str(file))


@pytest.mark.parametrize('crs', ['EPSG:4326', 'EPSG:4258', 'EPSG:3857', 'EPSG:32632'])
def test_a_box_without_width_or_height(crs: str) -> None:
    """It is a point or a line, which lies in some footprints and touches others, in any CRS."""
    x, y = gpd.GeoSeries([shapely.Point(9, 47)], crs=4326).to_crs(crs)[0].coords[0]
    wide = 1e-4 if CRS(crs).is_geographic else 10
    frame = gpd.GeoDataFrame(
        {'patch_id': ['around', 'north', 'far']},
        geometry=[
            shapely.box(8.9, 46.9, 9.1, 47.1),
            shapely.box(8.9, 47.05, 9.1, 47.1),
            shapely.box(11, 47, 12, 48),
        ],
        crs=4326,
    )
    index = RetrievalIndex(EmbeddingTable.from_frame(frame, np.eye(3)))
    north = y + (0.06 if CRS(crs).is_geographic else 9_800)
    for box, hit in (
        ((x, y, x, y), [0]),
        ((x - wide, y, x + wide, y), [0]),
        ((x, y, x, north), [0, 1]),
    ):
        assert index.rows(Where(box, crs=crs)).tolist() == hit
        assert index.rows(~Where(box, crs=crs)).tolist() == [
            row for row in range(3) if row not in hit
        ]


def test_a_box_without_width_at_the_antimeridian() -> None:
    area = read_area((180, -5, -180, 5))
    assert area.bounds == (-180, -5, 180, 5)
    assert area.geom_type == 'MultiLineString'
    flat = read_area((170, 3, -170, 3))
    assert flat.length == 20
    # A half without width is left out where the other has one.
    assert read_area((170, -5, -180, 5)).equals(shapely.box(170, -5, 180, 5))


@pytest.mark.parametrize('crs', ['EPSG:3857', 'EPSG:32632', 'ESRI:54009', 'EPSG:3031'])
@pytest.mark.parametrize('size', [1e200, 1e308])
def test_an_area_beyond_all_numbers_is_named(crs: str, size: float) -> None:
    for given in ((0, 0, size, size), shapely.Polygon([(0, 0), (size, 0), (0, size)])):
        with pytest.raises(QueryError, match='cannot be expressed in EPSG:4326'):
            read_area(given, crs)


def test_an_area_that_degrees_cannot_tell_from_nothing() -> None:
    with pytest.raises(QueryError, match='the box is empty; give an area that covers'):
        read_area((0, 0, 1e-9, 1e-9), 'EPSG:3031')


@pytest.mark.parametrize('heights', ['EPSG:7415', 'EPSG:28992+5709'])
def test_heights_along_with_a_crs_are_left_out(tmp_path: Path, heights: str) -> None:
    flat = gpd.GeoSeries([shapely.box(120_000, 480_000, 121_000, 482_000)], crs=28992)
    tall = gpd.GeoSeries(shapely.force_3d(flat.to_numpy(), 12.0), crs=heights)
    wanted = read_area(flat)
    assert shapely.equals(read_area(tall), wanted)
    tall.to_frame('geometry').to_file(tmp_path / 'tall.gpkg')
    assert shapely.equals(read_area(tmp_path / 'tall.gpkg'), wanted)
    # The CRS of the place alone is no other one.
    assert shapely.equals(read_area(tmp_path / 'tall.gpkg', 28992), wanted)
    with pytest.raises(QueryError, match='which has no place on a map'):
        read_area(flat.set_crs('EPSG:5709', allow_override=True))


def metres_without_crs(folder: Path) -> tuple[Path, gpd.GeoDataFrame]:
    """GeoJSON in metres that does not say so, as it was written before 2016 and still is."""
    shapes = gpd.GeoDataFrame(
        geometry=[shapely.box(600_000, 5e6, 600_900, 5_001_000)], crs=32632
    )
    file = folder / 'metres.geojson'
    file.write_text(shapes.to_json(drop_id=True).replace(', "crs": ', ', "was": '))
    return file, shapes


def test_geojson_in_metres_is_in_the_crs_that_is_stated(tmp_path: Path) -> None:
    file, shapes = metres_without_crs(tmp_path)
    area = read_area(file, 'EPSG:32632')
    assert area.equals(read_area(shapes))
    assert read_area(shapes.to_crs(4326).geometry[0], 4326).within(area.buffer(1e-6))


@pytest.mark.filterwarnings('error')
def test_geojson_in_metres_without_a_crs_is_refused_alone(tmp_path: Path) -> None:
    file, _ = metres_without_crs(tmp_path)
    with pytest.raises(
        QueryError, match=r'not longitudes and latitudes; .*--crs EPSG:'
    ):
        read_area(file)


def test_degrees_are_not_in_another_crs(tmp_path: Path) -> None:
    file = tmp_path / 'degrees.geojson'
    gpd.GeoDataFrame(geometry=[shapely.box(9, 45, 10, 46)], crs=4326).to_file(file)
    with pytest.raises(
        QueryError, match=r'is in EPSG:4326 but crs=EPSG:32632 was given'
    ):
        read_area(file, 'EPSG:32632')
