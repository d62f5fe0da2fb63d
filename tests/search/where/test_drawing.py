"""What an area may be given as, and which layers of which files."""

import json
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely import box
from shapely.geometry import mapping

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import Where
from torchgeo_cmr.search.where.area import read_area
from torchgeo_cmr.search.where.drawing import is_written
from torchgeo_cmr.vectors.vector_file import read_frame

NORTH, SOUTH = box(10, 10, 14, 14), box(30, 10, 34, 14)
BOTH = shapely.union_all([NORTH, SOUTH])


def frame(*shapes: shapely.Geometry, crs: Any = 4326) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({'n': range(len(shapes))}, geometry=list(shapes), crs=crs)


class Place:
    """Something of another library."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.__geo_interface__ = told


FEATURE = {'type': 'Feature', 'properties': {}, 'geometry': mapping(NORTH)}


@pytest.mark.parametrize(
    ('given', 'crs'),
    [
        (NORTH.wkt, 4326),
        (f'SRID=4326;{NORTH.wkt}', None),
        (f' polygon{NORTH.wkt[7:]}', 'EPSG:4326'),
        (mapping(NORTH), None),
        (FEATURE, None),
        ({'type': 'FeatureCollection', 'features': [FEATURE, FEATURE]}, None),
        (json.dumps(FEATURE), None),
        (Place(mapping(NORTH)), None),
        (Place(FEATURE), None),
        ([NORTH, NORTH], 4326),
        (np.array([NORTH], dtype=object), 4326),
        (NORTH.bounds, None),
        (gpd.GeoSeries([NORTH]), 4326),
    ],
)
def test_all_are_the_same_area(given: Any, crs: Any) -> None:
    assert read_area(given, crs).equals(NORTH)


def test_the_crs_of_old_geojson_is_heard() -> None:
    series = gpd.GeoSeries([NORTH], crs=4326).to_crs(3857)
    told = dict(mapping(series.iloc[0]))
    told['crs'] = {'type': 'name', 'properties': {'name': 'urn:ogc:def:crs:EPSG::3857'}}
    assert read_area(told).symmetric_difference(NORTH).area < 1e-4


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (NORTH.wkt, r"has no CRS; say which one it is in, for example crs='EPSG:4326'"),
        ('POLYGON ((1 2', 'begins like WKT and cannot be read'),
        ('{"type": ', 'begins like GeoJSON and is not JSON'),
        ({'type': 'Polygon'}, 'is not GeoJSON; give a geometry, a Feature'),
        ({'type': 'Nothing'}, 'is not GeoJSON'),
        ('https://example.org/aoi.geojson', 'is on the network; download it'),
        ('~/not/there.geojson', 'is not there; check its name'),
        ([], 'is not an area; give a shapely geometry'),
    ],
)
def test_what_is_not_one_is_told(given: Any, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Where(given)


@pytest.mark.parametrize('kind', ['CURVEPOLYGON', 'curvepolygon Z', 'CurvePolygonZM'])
@pytest.mark.parametrize('stated', ['', 'SRID=4326; '])
def test_arcs_are_named(kind: str, stated: str) -> None:
    """They were treated as names of files, and as conditions."""
    written = f'{stated}{kind} (CIRCULARSTRING(9 45, 11 45, 9 45))'
    assert is_written(written)
    with pytest.raises(
        QueryError, match=r'is a CURVEPOLYGON, which has arcs; .*CurveToLi'
    ):
        read_area(written, 4326)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('CIRCULARSTRING(9 45, 10 46, 11 45)', 'a CIRCULARSTRING, which has arcs'),
        (
            'COMPOUNDCURVE((9 45, 10 46), (10 46, 9 45))',
            'COMPOUNDCURVE, which has arcs',
        ),
        ('MULTISURFACE EMPTY', 'a MULTISURFACE, which has arcs'),
        ('MULTICURVE((9 45, 10 46))', 'a MULTICURVE, which has arcs'),
        (
            'GEOMETRYCOLLECTION(GEOMETRYCOLLECTION(CIRCULARSTRING(9 45, 10 46, 11 45)))',
            'the area holds arcs in a collection; make its arcs lines',
        ),
        ('TIN (((9 45, 10 45, 9 46, 9 45)))', 'a TIN, a surface of faces; write these'),
        ('TRIANGLE Z ((9 45 0, 10 45 0, 9 46 0, 9 45 0))', 'a TRIANGLE, a surface'),
    ],
)
def test_what_has_no_straight_edges(given: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        read_area(given, 4326)


def test_near_a_point_says_what_is_missing() -> None:
    with pytest.raises(QueryError, match="crs='EPSG:4326'"):
        Where(near=(shapely.Point(9, 45), 500))


class TestRepair:
    def test_every_feature_before_all_are_united(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(40):
            shapes = [
                shapely.Polygon(rng.uniform(0, 1, (int(rng.integers(4, 10)), 2)) + at)
                for at in rng.uniform(8, 9, (int(rng.integers(2, 7)), 2))
            ]
            area = Where(gpd.GeoSeries(shapes, crs=4326)).area
            assert area is not None
            right = shapely.union_all(shapely.make_valid(np.array(shapes)))
            assert area.symmetric_difference(right).area < 1e-9

    def test_overlapping_parts_are_one_ground(self) -> None:
        parts = shapely.MultiPolygon([box(0, 0, 2, 2), box(1, 1, 3, 3)])
        assert read_area(parts, 4326).area == pytest.approx(7)

    @pytest.mark.parametrize('noise', [1e-14, 6e-14, 1e-9])
    def test_rounding_beyond_the_edge_of_the_world_is_taken(self, noise: float) -> None:
        area = read_area(box(-180, -90 - noise, 180 + noise, -60), 4326)
        assert area.equals(box(-180, -90, 180, -60))
        with pytest.raises(QueryError, match='not longitudes and latitudes'):
            read_area(box(-180, -91, 180, -60), 4326)


class TestAntimeridian:
    FIJI = shapely.MultiPolygon([box(175, -20, 180, -15), box(-180, -20, -175, -15)])

    @pytest.mark.parametrize(
        'other', [shapely.Point(160, -31), shapely.LineString([(150, 0), (151, 1)])]
    )
    def test_a_collection_over_it(self, other: shapely.Geometry) -> None:
        area = read_area(
            shapely.GeometryCollection([box(175, -20, 185, -15), other]), 4326
        )
        assert area.symmetric_difference(self.FIJI.union(other)).area < 1e-9
        assert area.intersects(other)
        assert not area.intersects(shapely.Point(0, -17))

    def test_a_long_edge_is_plain_and_told_once(self) -> None:
        unsplit = shapely.Polygon([(175, -20), (-175, -20), (-175, -15), (175, -15)])
        with pytest.warns(UserWarning, match='split the area there') as told:
            area = read_area(gpd.GeoSeries([unsplit, unsplit], crs=4326))
        assert len(told) == 1
        assert area.equals(unsplit)

    @pytest.mark.parametrize(
        'shape',
        [
            box(-180, -60, 180, 60),
            box(-180, 80, 180, 90),
            shapely.segmentize(box(-170, -10, 170, 10), 90),
            FIJI,
        ],
    )
    def test_what_is_plain_needs_no_word(self, shape: shapely.Geometry) -> None:
        assert read_area(shape, 4326).equals(shape)

    def test_a_box_of_numbers_is_never_in_doubt(self) -> None:
        assert read_area((-170, -10, 170, 10)).area == pytest.approx(340 * 20)
        assert read_area((175, -20, -175, -15)).equals(self.FIJI)


class TestFiles:
    def test_layers_are_named(self, tmp_path: Path) -> None:
        path = tmp_path / 'aoi.gpkg'
        frame(shapely.Point(1, 1)).to_file(path, layer='wells')
        frame(BOTH).to_file(path, layer='study area')
        with pytest.raises(
            QueryError,
            match=r'has 2 layers, wells, study area; name one: .*\|layername=',
        ):
            Where(path)
        named = f'{path}|layername=study area'
        assert read_area(named).equals(BOTH)
        assert read_area(path, layer='study area').equals(BOTH)
        assert Where(named).area == Where(path, layer='study area').area
        assert "layer='study area'" in repr(Where(path, layer='study area'))
        with pytest.raises(QueryError, match="has no layer 'x' but wells, study area"):
            Where(path, layer='x')
        with pytest.raises(QueryError, match='names another; give one'):
            Where(named, layer='wells')
        with pytest.raises(QueryError, match=r'is not understood; write .*layername='):
            Where(f'{path}|subset=n=1')
        with pytest.raises(QueryError, match="layer='a' was given without a file"):
            Where(NORTH, 4326, layer='a')
        with pytest.raises(QueryError, match="layer='a' was given without an area"):
            Where(layer='a')

    def test_tables_without_a_place_are_no_layers(self, tmp_path: Path) -> None:
        path = tmp_path / 'aoi.gpkg'
        frame(NORTH).to_file(path, layer='aoi')
        import pyogrio

        pyogrio.write_dataframe(frame(NORTH)[['n']], path, layer='layer_styles')
        assert read_area(path).equals(NORTH)

    def test_folders_of_kml_are_one_drawing(self, tmp_path: Path) -> None:
        def folder(name: str, shape: shapely.Geometry) -> str:
            ring = ' '.join(f'{x},{y},0' for x, y in shape.exterior.coords)
            return (
                f'<Folder><name>{name}</name><Placemark><Polygon><outerBoundaryIs><LinearRing>'
                f'<coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon>'
                '</Placemark></Folder>'
            )

        text = (
            '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
            f'{folder("north", NORTH)}{folder("south", SOUTH)}</Document></kml>'
        )
        path = tmp_path / 'aoi.kml'
        path.write_text(text)
        assert read_area(path).equals(BOTH)
        assert read_area(f'{path}|layername=south').equals(SOUTH)
        with zipfile.ZipFile(tmp_path / 'aoi.kmz', 'w') as archive:
            archive.writestr('doc.kml', text)
        assert read_area(tmp_path / 'aoi.kmz').equals(BOTH)

    def test_tracks_and_routes_of_gpx(self, tmp_path: Path) -> None:
        head = (
            '<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1">'
        )
        point = '<wpt lat="5" lon="5"/>'
        route = '<rte><rtept lat="1" lon="1"/><rtept lat="2" lon="1"/></rte>'
        track = '<trk><trkseg><trkpt lat="11" lon="10"/><trkpt lat="11" lon="20"/></trkseg></trk>'
        path = tmp_path / 'way.gpx'
        path.write_text(f'{head}{point}{route}{track}</gpx>')
        assert read_area(path).length == pytest.approx(11)
        assert read_area(f'{path}|layername=tracks').length == pytest.approx(10)
        path.write_text(f'{head}{point}</gpx>')
        assert read_area(path).equals(shapely.Point(5, 5))

    def test_zipped_shapefiles(self, tmp_path: Path) -> None:
        folder = tmp_path / 'shp'
        folder.mkdir()
        frame(NORTH).to_file(folder / 'north.shp')
        flat, deep = tmp_path / 'flat.zip', tmp_path / 'deep.zip'
        for path, inside in ((flat, ''), (deep, 'data/aoi/')):
            with zipfile.ZipFile(path, 'w') as archive:
                for file in folder.iterdir():
                    archive.write(file, inside + file.name)
        for given in (
            flat,
            deep,
            f'/vsizip/{flat}/north.shp',
            f'/vsizip/{deep}/data/aoi/north.shp',
            f'zip://{flat}',
        ):
            assert read_area(given).equals(NORTH)
        frame(SOUTH).to_file(folder / 'south.shp')
        with zipfile.ZipFile(flat, 'w') as archive:
            for file in folder.iterdir():
                archive.write(file, file.name)
        with pytest.raises(QueryError, match='has 2 layers'):
            read_area(flat)
        assert read_area(f'{flat}|layername=south').equals(SOUTH)

    def test_home_and_missing_crs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv('HOME', str(tmp_path))
        frame(NORTH).to_file(tmp_path / 'aoi.geojson')
        assert read_area('~/aoi.geojson').equals(NORTH)
        with pytest.warns(UserWarning, match='crs'):
            frame(NORTH, crs=None).to_file(tmp_path / 'bare.shp')
        with pytest.raises(QueryError, match='--crs EPSG:4326'):
            read_area(tmp_path / 'bare.shp')
        assert read_area(tmp_path / 'bare.shp', 'EPSG:4326').equals(NORTH)

    def test_of_a_saved_search_what_is_meant(self, tmp_path: Path) -> None:
        path = tmp_path / 'hits.gpkg'
        for name, shape in (('query', SOUTH), ('area_of_interest', NORTH)):
            frame(shape).to_file(path, layer=name)
        assert read_area(path).equals(NORTH)
        assert read_frame(path, prefer='query').geometry.iloc[0].equals(SOUTH)
