"""Labels for patches, from a map of classes: a raster, or polygons."""

import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import geopandas as gpd
import numpy as np
import shapely
import torch
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.errors import RasterioIOError
from rasterio.features import rasterize
from rasterio.windows import Window
from torch import Tensor

from torchgeo_cmr.class_names import bare_names, class_names
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.rasters.class_maps import read_classes
from torchgeo_cmr.reading.cache import Cache
from torchgeo_cmr.scenes.header import Header, open_raster, read_header
from torchgeo_cmr.scenes.scene import apply
from torchgeo_cmr.vectors.class_polygons import only_polygons
from torchgeo_cmr.vectors.vector_file import read_frame

Rule = Literal['majority', 'share']

Bounds = tuple[float, float, float, float]

#: Cells across a patch into which polygons are burned.
_CELLS = 64

#: Cells of a raster without a class.
_NOTHING = -1

#: Farther than any coordinate.
_ANYWHERE = 1e12

#: Codes without names above which a raster is treated as a picture, not as a map.
_MOST_CODES = 256
#: Pixels of a map whose codes are looked for, and of one patch.
_LONGEST, _LARGEST = 1 << 33, 1 << 28


class LabelFromMask:
    """The label of a patch, by what a map of classes shows on its ground.

    The map is one or more rasters of class codes, or a file of polygons with a column of
    classes. It may be in any CRS and orientation: rasters are looked up at the centres of
    as many cells as they have pixels, polygons are brought to the CRS of the patch vertex by
    vertex. Where several rasters show one ground, the first that knows it decides, whatever
    the CRS and the resolution of each. Ground that the map does not cover, its nodata and
    codes that are not a class count for nothing.

    Relations: give it to :class:`~torchgeo_cmr.datamodules.PairedDataModule` as ``labels``;
    patches without a label are then skipped.
    """

    def __init__(
        self,
        path: str | Sequence[str | os.PathLike[str]] | os.PathLike[str],
        classes: Mapping[int, str] | Sequence[str] | None = None,
        *,
        rule: Rule = 'majority',
        share: float = 0.1,
        column: str | None = None,
        layer: str | None = None,
        min_known: float = 0.5,
    ) -> None:
        """Initialize a new LabelFromMask instance.

        Args:
            path: A raster of class codes, several, or a vector file of polygons, of which
                ``FILE|layername=NAME`` is a layer. Its lines and points are no ground.
            classes: Code -> name for rasters; names, for polygons (default: the tags
                ``CLASS_<code>`` of the raster, or else its codes; the values of the column).
                Their order numbers the labels. Codes of one name are one class, and spaces
                around a name are no part of it.
            rule: 'majority': the class that covers most of what is known, int64; 'share':
                every class that covers at least *share* of it, multi-hot float32.
            share: Share of the known ground that makes a label, for 'share'.
            column: Column of the vector file that holds the class; null, empty and blank text is no class.
            layer: Layer of a vector file that has several.
            min_known: Share of a patch that must be known, above 0, or it has no label.

        Raises:
            RasterError: If the map cannot be read, has no CRS, no class or too many, several layers
                of which none is named, or a number or word is out of range.
        """
        if rule not in get_args(Rule) or not 0 < share <= 1 or not 0 < min_known <= 1:
            raise RasterError(
                f'rule {rule!r}, share {share} and min_known {min_known} do not fit: the rule '
                'is majority or share, and shares lie above 0 and up to 1'
            )
        single = isinstance(path, str | os.PathLike)
        self.paths = [Path(path)] if single else [Path(p) for p in path]
        # A vector file may name a layer, be a folder or lie in an archive.
        missing = [str(p) for p in self.paths if column is None and not p.is_file()]
        if missing or not self.paths:
            raise RasterError(
                f'there is no map of classes {", ".join(missing) or "given"}: check the path'
            )
        if layer is not None and column is None:
            raise RasterError(
                f'layer={layer!r} is of a vector file, whose classes are in a `column`: name it too'
            )
        self.rule: Rule = rule
        self.share = share
        self.min_known = min_known
        self.polygons: gpd.GeoDataFrame | None = None
        self._moved: dict[str, tuple[shapely.STRtree, NDArray[Any], NDArray[Any]]] = {}
        self._outlines: dict[str, shapely.STRtree] = {}
        self._ways: dict[tuple[str, str], tuple[Affine, Transformer | None]] = {}
        self._cache = Cache()
        if column is None:
            named = self._codes(classes)
        else:
            # As it was written: of /vsizip//data/x.zip a Path drops a slash that counts.
            file = path if single else self.paths[0]
            named = self._features(file, column, classes, layer)
        #: Code in the map -> name.
        self.codes: dict[int, str] = named
        #: Names of the classes, in the order of the labels.
        self.classes = tuple(dict.fromkeys(named.values()))

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what a worker process finds out again for itself."""
        return {**self.__dict__, '_moved': {}, '_outlines': {}, '_ways': {}}

    def __call__(self, bounds: Bounds, crs: CRS) -> Tensor | None:
        """Say what a patch shows.

        Args:
            bounds: ``(xmin, ymin, xmax, ymax)`` of the patch.
            crs: CRS of these.

        Returns:
            Class number, int64 without dimensions; or multi-hot float32 of shape
            (classes,). None where less than *min_known* is known, or no class has its share.

        Raises:
            RasterError: If the map is damaged.
        """
        shares, known = self.shares(bounds, crs)
        if known < self.min_known:
            return None
        if self.rule == 'majority':
            return torch.tensor(int(np.argmax(shares)))
        # A share that was meant to be met exactly is not lost to rounding.
        label = torch.from_numpy((shares >= self.share - 1e-9).astype(np.float32))
        return label if label.any() else None

    def shares(self, bounds: Bounds, crs: CRS) -> tuple[NDArray[np.float64], float]:
        """Measure the classes of a patch.

        Args:
            bounds: ``(xmin, ymin, xmax, ymax)`` of the patch.
            crs: CRS of these.

        Returns:
            Share of each class in the known ground (classes,), zeros if nothing is known; and
            the share of the patch that is known.
        """
        cells = (
            self._read(bounds, crs)
            if self.polygons is None
            else self._burn(bounds, crs)
        )
        counts = np.zeros(len(self.classes))
        for code, name in self.codes.items():
            counts[self.classes.index(name)] += np.sum(cells == code)
        known = float(counts.sum())
        return counts / max(known, 1.0), known / max(cells.size, 1)

    def _codes(
        self, classes: Mapping[int, str] | Sequence[str] | None
    ) -> dict[int, str]:
        """Classes of rasters: as given, as tagged, or as they occur."""
        found: dict[int, str] = {}
        for path in self.paths:
            header = _header(path)
            if np.dtype(header.dtypes[0]).kind not in 'iu':
                raise RasterError(
                    f'{path} holds {header.dtypes[0]} and no class codes: give a raster of '
                    'whole numbers, or a vector file and its `column`'
                )
            if sum(colour != 'alpha' for colour in header.colours) != 1:
                raise RasterError(
                    f'{path} has {len(header.dtypes)} bands: a map of classes has one'
                )
        if classes is None:
            found = _named_codes(self.paths)
        if isinstance(classes, Mapping):
            found = {int(code): str(name) for code, name in classes.items()}
        elif classes is not None:
            raise RasterError(
                'classes of a raster are code -> name, such as {1: "water"}: found a list'
            )
        found = dict(sorted(found.items())) if classes is None else found
        if not found:
            raise RasterError(f'{self.paths[0]} holds no class: it is all nodata')
        bare = bare_names(found.values(), f'the map of classes {self.paths[0]}')
        return {code: bare[name] or str(code) for code, name in found.items()}

    def _features(
        self,
        path: Any,
        column: str,
        classes: Mapping[int, str] | Sequence[str] | None,
        layer: str | None,
    ) -> dict[int, str]:
        """Classes of polygons, and the polygons."""
        if len(self.paths) > 1 or isinstance(classes, Mapping):
            raise RasterError(
                'polygons come from one file, and their classes are names'
            )
        what = 'map of classes'
        frame = read_frame(
            path, what, layer=layer, placeless=True, typed=True, kind=RasterError
        )
        if column not in frame:
            raise RasterError(
                f'{path} has no column {column!r}; its columns are '
                f'{", ".join(map(str, frame.columns))}: name the column of the classes'
            )
        whole = f'the {what} {path}'
        coded = gpd.GeoDataFrame(frame.assign(code=class_names(frame[column], whole)))
        frame = only_polygons(coded, whole, RasterError)
        frame = frame[frame['code'].notna().to_numpy()]
        found = sorted(frame['code'].unique())
        names = found if classes is None else _in_order(classes, whole)
        frame = frame[frame['code'].isin(names)]
        if frame.empty:
            raise RasterError(
                f'{path} has no polygon of {", ".join(names) or "any class"} in {column!r}: it '
                f'has {", ".join(found) or "nothing"}'
            )
        self.polygons = frame.assign(code=[names.index(v) for v in frame['code']])
        return dict(enumerate(names))

    def _read(self, bounds: Bounds, crs: CRS) -> NDArray[np.int64]:
        """Codes on the ground of a patch, at the resolution of the finest map there."""
        maps = [self._codes_in(path, bounds, crs) for path in self._near(bounds, crs)]
        if len(maps) == 1:
            return maps[0]
        maps = [codes for codes in maps if np.isin(codes, list(self.codes)).any()]
        rows = max((len(codes) for codes in maps), default=1)
        columns = max((codes.shape[1] for codes in maps), default=1)
        cells = np.full((rows, columns), _NOTHING, np.int64)
        for codes in maps:
            # The first map that knows a cell decides. Maps of two zones, or of two
            # resolutions, have other numbers of cells on the same ground.
            row = (np.arange(rows) + 0.5) * len(codes) // rows
            column = (np.arange(columns) + 0.5) * codes.shape[1] // columns
            values = codes[np.ix_(row.astype(int), column.astype(int))]
            cells = np.where(np.isin(cells, list(self.codes)), cells, values)
        return cells

    def _near(self, bounds: Bounds, crs: CRS) -> list[Path]:
        """Maps that may show some ground, in the order given."""
        key = crs.to_wkt()
        if key not in self._outlines:
            self._outlines[key] = shapely.STRtree(
                [_outline(p, crs) for p in self.paths]
            )
        hits = self._outlines[key].query(shapely.box(*bounds))
        return [self.paths[i] for i in np.sort(hits)]

    def _codes_in(self, path: Path, bounds: Bounds, crs: CRS) -> NDArray[np.int64]:
        """Codes of one raster, nothing beyond its edge.

        The cells are as many as the raster has pixels across, each with the code of the
        pixel in which its centre lies.
        """
        transform, move = self._way(path, crs)
        xmin, ymin, xmax, ymax = bounds
        corners = np.array([[xmin, ymax], [xmax, ymax], [xmin, ymin]]).T
        places = np.array(_pixels_at(*corners, transform, move))
        if not np.isfinite(places).all():
            return np.full((1, 1), _NOTHING, np.int64)
        origin, right, bottom = places.T
        columns, rows = (
            max(1, round(float(np.hypot(*(end - origin))))) for end in (right, bottom)
        )
        _check_size(path, rows, columns)
        x = xmin + (xmax - xmin) * (np.arange(columns) + 0.5) / columns
        y = ymax - (ymax - ymin) * (np.arange(rows) + 0.5) / rows
        # A centre on an edge between two pixels lies in the second, despite rounding.
        column, row = (
            np.floor(np.nan_to_num(axis, nan=-1, posinf=-1, neginf=-1) + 1e-6).astype(
                np.int64
            )
            for axis in _pixels_at(x[None], y[:, None], transform, move)
        )
        with self._cache.handles.borrow(
            str(path), lambda: open_raster(str(path))
        ) as file:
            inside = (row >= 0) & (row < file.height)
            inside = inside & (column >= 0) & (column < file.width)
            row, column = row.clip(0, file.height - 1), column.clip(0, file.width - 1)
            top, left = int(row.min()), int(column.min())
            _check_size(path, int(row.max()) + 1 - top, int(column.max()) + 1 - left)
            window = Window.from_slices(
                (top, int(row.max()) + 1), (left, int(column.max()) + 1)
            )
            try:
                codes = file.read(1, window=window, masked=True)
            except RasterioIOError as error:
                raise RasterError(f'{path} is damaged: fetch it again') from error
        known = np.ma.filled(codes.astype(np.int64), _NOTHING)
        return np.where(inside, known[row - top, column - left], _NOTHING)

    def _way(self, path: Path, crs: CRS) -> tuple[Affine, Transformer | None]:
        """Coordinates to pixels of a map, after a change of CRS if there is one."""
        key = str(path), crs.to_wkt()
        if key not in self._ways:
            header = _header(path)
            same = header.crs.equals(crs, ignore_axis_order=True)
            self._ways[key] = (
                ~header.transform,
                None if same else _between(crs, header.crs, path),
            )
        return self._ways[key]

    def _burn(self, bounds: Bounds, crs: CRS) -> NDArray[np.int64]:
        """Polygons as cells; where some overlap, the last of the file lies on top."""
        key = crs.to_wkt()
        if key not in self._moved:
            assert self.polygons is not None
            _between(self.polygons.crs, crs, self.paths[0])
            moved = self.polygons.to_crs(crs)
            shapes = moved.geometry.to_numpy()
            tree = shapely.STRtree(shapes)
            self._moved[key] = tree, shapes, moved['code'].to_numpy()
        tree, shapes, codes = self._moved[key]
        xmin, ymin, xmax, ymax = bounds
        hits = np.sort(tree.query(shapely.box(*bounds), predicate='intersects'))
        cells = np.full((_CELLS, _CELLS), _NOTHING, np.int32)
        if len(hits):
            grid = Affine(
                (xmax - xmin) / _CELLS, 0, xmin, 0, (ymin - ymax) / _CELLS, ymax
            )
            pieces = [(shapes[i], int(codes[i])) for i in hits]
            rasterize(pieces, out=cells, transform=grid)
        return cells.astype(np.int64)


def _header(path: Path) -> Header:
    """What a map states, once it is sure that it is a raster with a CRS."""
    try:
        header = read_header(str(path))
    except RasterError as error:
        raise RasterError(
            f'{error}; polygons need the `column` that holds their class'
        ) from error
    assert header.crs
    return header


def _check_size(path: Path, rows: int, columns: int) -> None:
    """Refuse a patch on which a map has more pixels than memory is for."""
    if rows * columns > _LARGEST:
        raise RasterError(
            f'one patch covers {rows} x {columns} pixels of {path}, too many to be read for one '
            'label: give a coarser map of classes, or smaller patches'
        )


def _in_order(classes: Sequence[str], what: str) -> list[str]:
    """Names of wanted classes, each once."""
    names = [str(name) for name in classes]
    bare = bare_names(names, f'classes of {what}')
    return list(dict.fromkeys(bare[name] for name in names))


def _named_codes(paths: Sequence[Path]) -> dict[int, str]:
    """Names by the tags of maps, of which all that have tags agree; else the codes that occur."""
    found: dict[int, str] = {}
    named: dict[int, Path] = {}
    bare: list[Path] = []
    for path in paths:
        tags = {
            int(key.removeprefix('CLASS_')): name
            for key, name in _header(path).tags.items()
            if key.removeprefix('CLASS_').isdigit() and key.startswith('CLASS_')
        }
        if not tags:
            bare.append(path)
        for code, name in tags.items():
            if name.strip() != found.setdefault(code, name).strip():
                raise RasterError(
                    f'code {code} is {found[code]!r} by the tags of {named[code]} and {name!r} by '
                    f'those of {path}: change the codes of one of them, or state `classes`, code -> '
                    'name, that hold for all'
                )
            named.setdefault(code, path)
    for path in bare:
        found = _occurring(path) | found
    return found


def _occurring(path: Path) -> dict[int, str]:
    """Codes that a map holds, for want of names."""
    found: set[int] = set()
    with open_raster(str(path)) as file:
        if file.height * file.width > _LONGEST:
            raise RasterError(
                f'{path} has {file.height} x {file.width} pixels, too many to look for the classes '
                'that occur: name its `classes`'
            )
        for _, window in file.block_windows(1):
            codes = np.unique(read_classes(file, window).compressed()).tolist()
            found |= {code for code in codes if code != file.nodata}
            if len(found) > _MOST_CODES:
                raise RasterError(
                    f'{path} holds more than {_MOST_CODES} different numbers, as a '
                    'picture does: give a map of classes, or name its `classes`'
                )
    return {code: str(code) for code in found}


def _between(first: CRS, second: CRS, path: Path) -> Transformer:
    """Give the way between two CRS, one of them that of a map."""
    try:
        return Transformer.from_crs(first, second, always_xy=True)
    except ProjError as error:  # of one that lies nowhere on Earth
        raise RasterError(
            f'{path} cannot be placed on patches: nothing leads from {first.name} to {second.name}; '
            'declare the CRS its classes are in'
        ) from error


def _outline(path: Path, crs: CRS) -> shapely.Polygon:
    """Box in some CRS beyond which a map shows nothing."""
    header = _header(path)
    height, width = header.shape
    x, y = zip(
        *(
            apply(header.transform, column, row)
            for column, row in product((0, width), (0, height))
        ),
        strict=True,
    )
    bounds = min(x), min(y), max(x), max(y)
    if not header.crs.equals(crs, ignore_axis_order=True):
        move = _between(header.crs, crs, path)
        try:
            bounds = move.transform_bounds(*bounds, densify_pts=21)
        except ProjError:
            bounds = (np.inf,) * 4
    if not np.isfinite(bounds).all():
        # A map of half the world: it may show anything.
        bounds = (-_ANYWHERE, -_ANYWHERE, _ANYWHERE, _ANYWHERE)
    # Curved edges reach a little beyond the points between which they were followed.
    spare = 0.01 * max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    return shapely.box(*bounds).buffer(spare, join_style='mitre')


def _pixels_at(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    transform: Affine,
    move: Transformer | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows of points; not finite where the map has no place for them."""
    if move is not None:
        x, y = np.broadcast_arrays(x, y)
        x, y = move.transform(x, y)
    elif transform.b == transform.d == 0:
        # Nearly always: the one depends on x alone, the other on y.
        return transform.a * x + transform.c, transform.e * y + transform.f
    return apply(transform, x, y)


__all__ = ('LabelFromMask',)
