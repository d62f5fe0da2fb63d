"""Rules of relevance: labels, metres, maps of classes, and rules as words."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.transform import from_origin
from shapely import MultiPolygon, box

from torchgeo_cmr.errors import ArchiveError, QueryError, RasterError
from torchgeo_cmr.evaluate import (
    Rule,
    label_sets,
    labels_from_raster,
    metres_between,
    near_area,
    same_label,
    same_place,
    shares_label,
    within_distance,
)
from torchgeo_cmr.evaluate import place_rule as place_module
from torchgeo_cmr.table import EmbeddingTable

X0, Y0 = 500_000, 5_000_000


def table(
    shapes: list[Any], epsg: int = 32632, name: str = 's2', **columns: Any
) -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{name}:{i}' for i in range(len(shapes))], **columns},
        geometry=shapes,
        crs=epsg,
    )
    return EmbeddingTable.from_frame(
        frame, np.eye(len(shapes), 8) + 1e-3, space='one', modality=name
    )


def squares(corners: list[tuple[float, float]], width: float = 320) -> list[Any]:
    return [box(X0 + x, Y0 + y, X0 + x + width, Y0 + y + width) for x, y in corners]


class TestMetres:
    def test_like_the_plane_nearby(self) -> None:
        generator = np.random.default_rng(0)
        corners = [tuple(xy) for xy in generator.uniform(0, 20_000, (30, 2))]
        plane = gpd.GeoSeries(squares(corners), crs=32632)
        one, other = plane[:15], plane[15:]
        expected = one.distance(other, align=False).to_numpy()
        found = metres_between(
            one.to_crs(4326).to_numpy(), other.to_crs(4326).to_numpy()
        )
        # the scale of a UTM zone is off by 0.04 % at its centre
        assert found == pytest.approx(expected, rel=2e-3, abs=0.5)

    def test_over_the_antimeridian(self) -> None:
        cut = MultiPolygon([box(179.9, 0, 180, 0.1), box(-180, 0, -179.9, 0.1)])
        far = np.array([cut, box(179.5, 0, 179.6, 0.1)], dtype=object)
        near = np.array([box(-179.8, 0, -179.7, 0.1), cut], dtype=object)
        degree = 111_319.49
        assert metres_between(far, near) == pytest.approx(
            [0.1 * degree, 0.3 * degree], rel=1e-3
        )

    def test_touching_is_0_and_none_is_empty(self) -> None:
        one, other = box(0, 60, 1, 61), box(1, 60, 2, 61)
        pair = np.array([one], dtype=object), np.array([other], dtype=object)
        assert metres_between(*pair) == pytest.approx([0])
        assert metres_between(pair[0][:0], pair[1][:0]).shape == (0,)


class TestWithinDistance:
    @pytest.mark.parametrize('metres', [0, 500, 1500, 30_000])
    def test_loop_twin(self, monkeypatch: pytest.MonkeyPatch, metres: float) -> None:
        generator = np.random.default_rng(1)
        tables = [
            table(
                squares([tuple(xy) for xy in generator.uniform(0, 4_000, (20, 2))]),
                name=name,
            )
            for name in ('s1', 's2')
        ]
        here, there = (t.frame.geometry.to_numpy() for t in tables)
        expected = [
            metres_between(np.full(20, shape, dtype=object), there) <= metres
            for shape in here
        ]
        whole = within_distance(*tables, metres)
        assert (whole == np.array(expected)).all()
        assert metres in (0, 30_000) or 0 < whole.mean() < 1
        monkeypatch.setattr(place_module, '_PAIRS', 50)
        assert (within_distance(*tables, metres) == whole).all()

    @pytest.mark.parametrize('metres', [-1, float('nan')])
    def test_refuses(self, metres: float) -> None:
        one = table(squares([(0, 0)]))
        with pytest.raises(QueryError, match='must be 0 m or more'):
            within_distance(one, one, metres)


class TestPlaceWithoutScene:
    def test_same_place_far_apart_and_without_crs(self) -> None:
        shapes = [box(x, y, x + 0.01, y + 0.01) for x, y in [(9, 45), (-170, -60)]]
        one, other = (table(shapes, 4326, name) for name in ('s1', 's2'))
        assert one.frame['src_crs'].isna().all()
        assert (same_place(one, other) == np.eye(2, dtype=bool)).all()

    def test_same_place_over_the_antimeridian(self) -> None:
        cut = MultiPolygon([box(179.99, 0, 180, 0.02), box(-180, 0, -179.99, 0.02)])
        far = box(0, 0, 0.02, 0.02)
        one, other = table([cut], 4326, 's1'), table([cut, far], 4326)
        assert same_place(one, other).tolist() == [[True, False]]


LISTS = [['a'], ['a', 'b'], ['b', 'c', 'd'], [], None, ['d', 'a', 'b']]


class TestLabels:
    @pytest.fixture
    def pair(self) -> tuple[EmbeddingTable, EmbeddingTable]:
        places = squares([(0, 0)] * len(LISTS))
        return (table(places, name='s1', kinds=LISTS), table(places, kinds=LISTS[::-1]))

    @pytest.mark.parametrize(
        ('match', 'threshold'),
        [('any', 0.5), ('exact', 0.5), ('jaccard', 1 / 3), ('jaccard', 0.5)],
    )
    def test_loop_twin(
        self, pair: tuple[EmbeddingTable, EmbeddingTable], match: Any, threshold: float
    ) -> None:
        def alike(q: set[str], r: set[str]) -> bool:
            if not q & r:
                return False
            return {
                'any': True,
                'exact': q == r,
                'jaccard': len(q & r) / len(q | r) >= threshold,
            }[match]

        found = shares_label(*pair, 'kinds', match=match, threshold=threshold)
        expected = [
            [alike({*(q or ())}, {*(r or ())}) for r in LISTS[::-1]] for q in LISTS
        ]
        assert found.tolist() == expected
        assert found.any()

    def test_spaces_are_no_part_of_a_label(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level('INFO')
        places = squares([(0, 0)] * 4)
        cells = [['wood ', 'lake'], [' wood'], [' '], ['', None]]
        one, other = table(places, name='s1', kinds=cells), table(places, kinds=cells)
        sets = label_sets((one, other), 'kinds')
        assert sets.classes == ('lake', 'wood')
        assert sets.members[1].tolist() == [[1, 1], [0, 1], [0, 0], [0, 0]]
        found = shares_label(one, other, 'kinds')
        assert found.tolist() == [[True, True, False, False]] * 2 + [[False] * 4] * 2
        (note, _) = caplog.messages
        assert note.startswith("column 'kinds': ' wood' and 'wood ' are one name")

    def test_multi_hot_is_the_same_as_lists(
        self, pair: tuple[EmbeddingTable, EmbeddingTable]
    ) -> None:
        hot = [[int(c in (cell or ())) for c in 'abcd'] for cell in LISTS]
        places = squares([(0, 0)] * len(LISTS))
        one = table(places, name='s1', kinds=hot)
        other = table(places, kinds=hot[::-1])
        sets = label_sets((one, other), 'kinds')
        assert sets.classes == ('class 0', 'class 1', 'class 2', 'class 3')
        assert (sets.members[0] == hot).all()
        for match in ('any', 'exact', 'jaccard'):
            assert (
                shares_label(one, other, 'kinds', match=match)
                == shares_label(*pair, 'kinds', match=match)
            ).all()

    def test_no_class_is_an_empty_vector_or_list(self) -> None:
        places = squares([(0, 0)] * 3)
        sets = label_sets([table(places, kinds=[[0, 1, 1], [], None])], 'kinds')
        assert sets.classes == ('class 0', 'class 1', 'class 2')
        assert sets.members[0].tolist() == [[0, 1, 1], [0] * 3, [0] * 3]

    @pytest.mark.parametrize(
        ('cells', 'others', 'message'),
        [
            ([[1, 0, 1]], [[1, 0, 1, 0]], 'but in rows of 3 and 4: give each row'),
            ([[1, 0, 1], [1, 0]], None, 'but in rows of 2 and 3: give each row'),
            ([[1, None, 1], [None, 0, 1]], None, 'but with nulls among them: give'),
            ([[1, None, 1], [0, 0, 1]], None, 'but in rows of 2 and 3: give'),
            ([[['a', 'b'], ['c']], [['a']]], None, 'lists of lists: give each row'),
        ],
    )
    def test_what_is_no_vector_of_known_classes_is_refused(
        self, cells: list[Any], others: list[Any] | None, message: str
    ) -> None:
        one = table(squares([(0, 0)] * len(cells)), name='s1', kinds=cells)
        other = one
        if others is not None:
            other = table(squares([(0, 0)] * len(others)), kinds=others)
        with pytest.raises(ArchiveError, match=f"column 'kinds' holds .*{message}"):
            same_label(one, other, 'kinds')

    def test_labels_that_are_called_0_and_1_are_labels(self) -> None:
        cells = [[0, 1], [1], [0]]
        sets = label_sets([table(squares([(0, 0)] * 3), kinds=cells)], 'kinds')
        assert sets.classes == ('0', '1')
        assert sets.members[0].tolist() == [[1, 1], [0, 1], [1, 0]]

    def test_a_number_is_the_same_label_in_any_type(self) -> None:
        places = squares([(0, 0), (0, 0)])
        one = table(places, name='s1', kind=[1.0, np.nan])
        other = table(places, kind=[1, 2])
        assert same_label(one, other, 'kind').tolist() == [[True, False], [False] * 2]

    def test_refuses(self, pair: tuple[EmbeddingTable, EmbeddingTable]) -> None:
        with pytest.raises(ArchiveError, match="archive have no column 'kinds'"):
            shares_label(pair[0], table(squares([(0, 0)])), 'kinds')
        with pytest.raises(QueryError, match="match is 'any', 'exact' or 'jaccard'"):
            shares_label(*pair, 'kinds', match='most')  # ty: ignore[invalid-argument-type]
        with pytest.raises(QueryError, match='lies above 0, up to 1, found 0'):
            shares_label(*pair, 'kinds', threshold=0)


class TestRaster:
    @pytest.fixture
    def world(self, tmp_path: Path) -> Path:
        """32 x 32 pixels of 10 m: class 1 west, 2 east, three columns of fill (0)."""
        classes = np.ones((32, 32), np.uint8)
        classes[:, 16:] = 2
        classes[:, 29:] = 0
        return write(tmp_path / 'world.tif', classes)

    def test_majority_of_the_footprint(self, world: Path) -> None:
        edge = [box(X0 + 280, Y0, X0 + 320, Y0 + 40), box(X0 - 50, Y0, X0, Y0 + 50)]
        whole = squares([(0, 0), (80, 0), (90, 0), (160, 0)], width=160)
        patches = table([*whole, *edge])
        # half of each is no majority; three of four columns are fill; the last is outside
        found = labels_from_raster(patches, [world])
        assert found.dtype == 'Int64'
        assert found.isna().tolist() == [False, True, False, False, True, True]
        assert found.dropna().tolist() == [1, 2, 2]
        assert labels_from_raster(patches, [world], ignore=None)[4] == 0
        strict = labels_from_raster(patches, [world], share=0.9)
        assert strict.isna().tolist() == [False, True, True, True, True, True]

    @pytest.mark.parametrize('internal', [True, False])
    def test_what_a_mask_hides_is_no_label(self, world: Path, internal: bool) -> None:
        shown = np.full((32, 32), 255, np.uint8)
        shown[:, :10] = 0
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
            rasterio.open(world, 'r+') as file,
        ):
            file.write_mask(shown)
        # of the sixteen columns of class 1, six are shown; of the right ten of them, six
        patches = table([*squares([(0, 0)], width=160), *squares([(60, 0)], width=100)])
        found = labels_from_raster(patches, [world])
        assert found.fillna(0).tolist() == [0, 1]
        assert labels_from_raster(patches, [world], share=0.3).tolist() == [1, 1]

    @pytest.mark.parametrize(
        'transform',
        [
            Affine(10, 0, X0, 0, 10, Y0),
            Affine(-10, 0, X0 + 500, 0, -10, Y0 + 320),
            Affine(0, 10, X0, -10, 0, Y0 + 320),
            Affine.translation(X0 - 150, Y0 + 450)
            @ Affine.rotation(-20)
            @ Affine.scale(10, -12),
        ],
        ids=['south-up', 'east-left', 'transposed', 'rotated'],
    )
    def test_a_map_of_any_orientation(self, tmp_path: Path, transform: Affine) -> None:
        """Every pixel counts whose centre lies in the footprint."""
        row, column = np.mgrid[:70, :70] + 0.5
        x, y = (
            t[0] * column + t[1] * row + t[2]
            for t in (tuple(transform)[:3], tuple(transform)[3:6])
        )
        classes = np.where(x < X0 + 120, 1, np.where(y < Y0 + 160, 2, 3)).astype(
            'uint8'
        )
        path = tmp_path / 'any.tif'
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            height=70,
            width=70,
            count=1,
            dtype='uint8',
            crs='EPSG:32632',
            transform=transform,
        ) as file:
            file.write(classes, 1)
        boxes = squares([(0, 0), (150, 30), (150, 170), (60, 100)], width=100)
        patches = table(boxes)
        found = labels_from_raster(patches, [path])
        for shape, label in zip(
            patches.frame.geometry.to_crs(32632), found, strict=True
        ):
            inside = shapely.contains_xy(shape, x, y)
            assert label == np.bincount(classes[inside]).argmax()
        assert found.nunique() == 3

    def test_native_corners_and_other_crs(self, world: Path) -> None:
        corners = np.array([0, 160, 160, 160, 160, 0, 0, 0], float)
        corners += np.tile([X0, Y0], 4)
        patches = table(
            squares([(0, 0)], width=160), src_crs='EPSG:32632', native_corners=[corners]
        )
        assert labels_from_raster(patches, [world]).tolist() == [1]
        moved = patches.frame.to_crs(32633)[['patch_id', 'geometry']]
        assert labels_from_raster(moved, [world]).tolist() == [1]

    def test_own_crs_wins(self, world: Path, tmp_path: Path) -> None:
        with rasterio.open(world) as file:
            bounds = gpd.GeoSeries([box(*file.bounds)], crs=file.crs).to_crs(32633)
        west, _, _, north = bounds.total_bounds
        other = write(
            tmp_path / 'other.tif',
            np.full((60, 60), 7, np.uint8),
            epsg=32633,
            corner=(west - 100, north + 100),
        )
        corners = np.array([0, 160, 160, 160, 160, 0, 0, 0], float)
        corners += np.tile([X0, Y0], 4)
        patches = table(
            squares([(0, 0)], width=160), src_crs='EPSG:32632', native_corners=[corners]
        )
        for paths in ([world, other], [other, world]):
            assert labels_from_raster(patches, paths).tolist() == [1]
        assert labels_from_raster(patches, [other]).tolist() == [7]

    def test_refuses(self, world: Path, tmp_path: Path) -> None:
        patches = table(squares([(0, 0)]))
        with pytest.raises(QueryError, match='share lies between 0 and 1, found 1'):
            labels_from_raster(patches, [world], share=1)
        with pytest.raises(RasterError, match=r'gone\.tif cannot be read'):
            labels_from_raster(patches, [tmp_path / 'gone.tif'])
        bare = write(tmp_path / 'bare.tif', np.ones((2, 2), np.uint8), epsg=None)
        with pytest.raises(RasterError, match='has no CRS'):
            labels_from_raster(patches, [bare])
        real = write(tmp_path / 'real.tif', np.ones((2, 2), np.float32))
        with pytest.raises(RasterError, match='holds float32: a map of classes'):
            labels_from_raster(patches, [real])


def write(
    path: Path,
    classes: np.ndarray,
    epsg: int | None = 32632,
    corner: tuple[float, float] = (X0, Y0 + 320),
) -> Path:
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=classes.shape[1],
        height=classes.shape[0],
        count=1,
        dtype=classes.dtype,
        crs=None if epsg is None else f'EPSG:{epsg}',
        transform=from_origin(*corner, 10, 10),
    ) as file:
        file.write(classes, 1)
    return path


class TestRule:
    @pytest.mark.parametrize(
        ('word', 'rule'),
        [
            ('place', Rule('place', 0.5)),
            ('place>=.3', Rule('place', 0.3)),
            ('near', Rule('near', 1)),
            ('near:2.5', Rule('near', 2.5)),
            ('label:a b', Rule('any', column='a b')),
            ('exact:c', Rule('exact', column='c')),
            ('jaccard:c>=0.5', Rule('jaccard', 0.5, 'c')),
            ('distance:1e3', Rule('distance', 1000)),
            ('raster:C:/map.tif', Rule('any', 0, 'raster_class', 'C:/map.tif')),
        ],
    )
    def test_words(self, word: str, rule: Rule) -> None:
        assert Rule.parse(word) == rule
        assert (rule.file or rule.column or f'{rule.value:g}') in str(rule)

    @pytest.mark.parametrize(
        'word',
        [
            '',
            'same',
            'label',
            'label:',
            'jaccard:c',
            'distance',
            'distance:x',
            'place:1',
        ],
    )
    def test_no_word(self, word: str) -> None:
        with pytest.raises(QueryError, match='is not a rule of relevance: write place'):
            Rule.parse(word)

    @pytest.mark.parametrize('word', ['place>=0', 'jaccard:c>=1.5'])
    def test_share_out_of_range(self, word: str) -> None:
        with pytest.raises(QueryError, match='give one above 0, up to 1'):
            Rule.parse(word)

    def test_rules_are_the_functions(self) -> None:
        kinds = [['a'], ['a', 'b'], ['b']]
        places = squares([(0, 0), (400, 0), (5000, 0)])
        one, other = (table(places, name=n, kinds=kinds) for n in ('s1', 's2'))
        for word, expected in (
            ('place', same_place(one, other)),
            ('distance:100', within_distance(one, other, 100)),
            ('exact:kinds', shares_label(one, other, 'kinds', match='exact')),
            ('label:kinds', same_label(one, other, 'kinds')),
        ):
            assert (Rule.parse(word)(one, other) == expected).all()
            assert expected.any()
        with pytest.raises(QueryError, match="'best' is not a kind of rule"):
            Rule('best')(one, other)


class TestNearArea:
    def test_metres_decide(self) -> None:
        patches = table(squares([(0, 0), (320, 0), (1000, 0), (9000, 0)]))
        area = gpd.GeoDataFrame(geometry=squares([(0, 0)]), crs=32632)
        assert near_area(patches, area).tolist() == [True, True, False, False]
        assert near_area(patches, area, 670).tolist() == [True, True, False, False]
        assert near_area(patches, area, 690).tolist() == [True, True, True, False]

    def test_over_the_antimeridian(self) -> None:
        patches = table([box(-179.99, 0, -179.9, 0.1), box(0, 0, 1, 1)], 4326)
        area = gpd.GeoDataFrame(geometry=[box(179.9, 0, 179.99, 0.1)], crs=4326)
        assert near_area(patches, area, 3000).tolist() == [True, False]
        assert near_area(patches, area, 2000).tolist() == [False, False]

    def test_refuses(self) -> None:
        patches = table(squares([(0, 0)]))
        with pytest.raises(QueryError, match='must be 0 m or more'):
            near_area(patches, (0, 0, 1, 1), -1)
        with pytest.raises(QueryError, match='has no CRS'):
            near_area(patches, gpd.GeoDataFrame(geometry=squares([(0, 0)])))
