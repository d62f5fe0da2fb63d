"""A small map in SVG: hits coloured by score, queries, the area, a grid of degrees, a scale."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from xml.etree.ElementTree import Element, SubElement

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Geometry

from torchgeo_cmr.export.layers.extent import middle, moved, placed
from torchgeo_cmr.export.layers.search_area import area_of_interest
from torchgeo_cmr.export.styles.style import OUTLINES, VIRIDIS
from torchgeo_cmr.table.footprints import WGS84

_WIDTH = 960.0
#: Metres, or degrees, between lines of a grid and on a scale.
_NICE = np.array([1.0, 2.0, 5.0])


def draw_map(
    hits: gpd.GeoDataFrame, queries: gpd.GeoDataFrame | None = None, area: Any = None
) -> Element:
    """Draw hits on an azimuthal equidistant map about their middle.

    Args:
        hits: At least one footprint with ``score``, ``rank`` and a CRS. The best lies on top.
        queries: Footprints outlined in red.
        area: Area outlined in black, as :func:`to_geopackage` takes it.

    Returns:
        An ``svg`` element, 960 units wide, north up in the middle.

    Raises:
        QueryError: If the area cannot be understood.
    """
    lon, lat = middle(hits)
    crs = CRS.from_user_input(
        f'+proj=aeqd +lon_0={lon:.6f} +lat_0={lat:.6f} +datum=WGS84 +units=m'
    )
    outlines = _outlines(moved(hits, crs))
    examples: list[Geometry] = []
    if queries is not None and placed(queries).any():
        examples = list(_outlines(moved(queries[placed(queries)], crs)))
    border = _area(area, crs)
    page = _Page.around([*outlines, *examples], border)
    svg = Element('svg', viewBox=f'0 0 {_WIDTH:g} {page.high:.0f}', role='img')
    SubElement(svg, 'title').text = f'Map of {len(hits)} hits'
    _graticule(svg, crs, page)
    if border is not None:
        _outline(svg, border, page, 'area_of_interest', '2')
    scores = hits['score'].to_numpy(np.float64)
    for i in np.argsort(scores, kind='stable'):
        colour = score_colour(scores[i], scores.min(), scores.max())
        _hit(svg, f'hit-{i}', hits.iloc[i], outlines[i], page, colour)
    for shape in examples:
        _outline(svg, shape, page, 'query', '2.5')
    _scale(svg, page)
    return svg


@dataclass(frozen=True)
class _Page:
    """Where metres of the map lie on the page."""

    centre: tuple[float, float]
    scale: float
    high: float

    @classmethod
    def around(cls, shapes: Sequence[Geometry], area: Geometry | None) -> Self:
        """Show all shapes, and the area unless it would make specks of them."""
        west, south, east, north = shapely.total_bounds(shapes)
        if area is not None and not area.is_empty:
            limit = 4 * max(east - west, north - south, 1.0)
            box = area.bounds
            if max(box[2] - box[0], box[3] - box[1]) <= limit:
                west, south = min(west, box[0]), min(south, box[1])
                east, north = max(east, box[2]), max(north, box[3])
        margin = 0.06 * max(east - west, north - south, 1.0)
        west, south, east, north = (
            west - margin,
            south - margin,
            east + margin,
            north + margin,
        )
        # Neither a ribbon nor a tower.
        high = np.clip((north - south) / (east - west), 0.35, 1.0) * _WIDTH
        scale = min(_WIDTH / (east - west), high / (north - south))
        return cls(((west + east) / 2, (south + north) / 2), scale, float(high))

    @property
    def size(self) -> NDArray[np.float64]:
        return np.array((_WIDTH, self.high))

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        x = _WIDTH / 2 + (points[:, 0] - self.centre[0]) * self.scale
        y = self.high / 2 - (points[:, 1] - self.centre[1]) * self.scale
        return np.column_stack([x, y])


def score_colour(score: float, low: float, high: float) -> str:
    """Give a colour between the dark and the bright end of viridis.

    Args:
        score: A score.
        low: Score of the dark end.
        high: Score of the bright end; equal to low: the bright end is meant.

    Returns:
        ``#rrggbb``.
    """
    stops = np.array(VIRIDIS)
    share = (score - low) / (high - low) if high > low else 1.0
    at = np.clip(share, 0, 1) * (len(stops) - 1)
    rgb = [np.interp(at, np.arange(len(stops)), stops[:, band]) for band in range(3)]
    return _hex(rgb)


def _hex(colour: Iterable[float]) -> str:
    return '#' + ''.join(f'{round(float(v)):02x}' for v in colour)


def _outlines(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Join the parts of what was cut at 180."""
    return np.array(
        [
            shapely.union_all(shapely.get_parts(shape), grid_size=1e-3)
            if shape.geom_type == 'MultiPolygon'
            else shape
            for shape in shapes
        ],
        dtype=object,
    )


def _area(area: Any, crs: CRS) -> Geometry | None:
    shape = area_of_interest(area)
    if shape is None:
        return None
    frame = gpd.GeoDataFrame(geometry=[shapely.segmentize(shape, 1.0)], crs=WGS84)
    return _outlines(moved(frame, crs))[0]


def _path(svg: Element, shape: Geometry, page: _Page, **attributes: str) -> Element:
    """Draw the rings of a geometry."""
    words = []
    for part in shapely.get_parts(shape):
        rings = shapely.get_rings(part) if part.geom_type == 'Polygon' else [part]
        words += [_line(page.place(shapely.get_coordinates(ring))) for ring in rings]
    fixed = {
        'd': ''.join(words),
        'fill-rule': 'evenodd',
        'vector-effect': 'non-scaling-stroke',
    }
    return SubElement(svg, 'path', fixed | attributes)


def _line(points: NDArray[np.float64]) -> str:
    return 'M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in points)


def _text(svg: Element, x: float, y: float, words: str, **attributes: str) -> None:
    at = {'x': f'{x:.1f}', 'y': f'{y:.1f}'}
    SubElement(svg, 'text', at | attributes).text = words


def _outline(
    svg: Element, shape: Geometry, page: _Page, layer: str, width: str
) -> None:
    """Draw the border of a geometry in the colour of a layer."""
    style = {'stroke': _hex(OUTLINES[layer]), 'stroke-width': width}
    _path(svg, shape, page, fill='none', **style)


def _hit(
    svg: Element, name: str, hit: pd.Series, shape: Geometry, page: _Page, colour: str
) -> None:
    """Draw a hit with its rank, and what it is for the pointer that rests on it."""
    style = {'fill-opacity': '0.6', 'stroke-width': '1'}
    path = _path(svg, shape, page, id=name, fill=colour, stroke='#232323', **style)
    facts = [f'rank {hit["rank"]}', f'score {hit["score"]:.4f}', hit['source']]
    SubElement(path, 'title').text = ', '.join(f for f in facts if isinstance(f, str))
    x, y = page.place(shapely.get_coordinates(shape.centroid))[0]
    halo = {'stroke': '#ffffff', 'stroke-width': '3', 'paint-order': 'stroke'}
    style = {'text-anchor': 'middle', 'font-size': '12', **halo, 'fill': '#141414'}
    _text(svg, x, y + 4, str(hit['rank']), **style)


def _graticule(svg: Element, crs: CRS, page: _Page) -> None:
    """Draw meridians and parallels with their degrees, where the map is not half the world."""
    half = page.size / 2 / page.scale
    if np.hypot(*half) > 9e6:
        return
    back = Transformer.from_crs(crs, WGS84, always_xy=True)
    u, v = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    lon, lat = back.transform(
        (page.centre[0] + u * half[0]).ravel(), (page.centre[1] + v * half[1]).ravel()
    )
    middle_lon, _ = back.transform(*page.centre)
    lon = middle_lon + (np.asarray(lon) - middle_lon + 180) % 360 - 180
    lat = np.asarray(lat)
    if np.abs(lat).max() > 88:
        return
    to_map = Transformer.from_crs(WGS84, crs, always_xy=True)
    step = _nice(max(np.ptp(lat), 1e-4) / 3)
    step_lon = _nice(max(np.ptp(lon), 1e-4) / 5)
    ticks = [('meridian', x) for x in _ticks(lon.min(), lon.max(), step_lon)]
    ticks += [('parallel', y) for y in _ticks(lat.min(), lat.max(), step)]
    for kind, value in ticks:
        along = np.linspace(0, 1, 33)
        if kind == 'meridian':
            xs = np.full(33, value)
            ys = np.clip(lat.min() + along * np.ptp(lat), -90, 90)
        else:
            xs, ys = lon.min() + along * np.ptp(lon), np.full(33, value)
        points = page.place(np.column_stack(to_map.transform(xs, ys)))
        style = {'d': _line(points), 'fill': 'none', 'stroke': '#dddddd'}
        SubElement(svg, 'path', style)
        inside = points[(points >= 0).all(axis=1) & (points <= page.size).all(axis=1)]
        if len(inside):
            at = inside[0] if kind == 'meridian' else inside[0] + [2, -3]
            style = {'font-size': '11', 'fill': '#666666'}
            _text(svg, at[0] + 2, at[1] - 3, _degrees(value, kind), **style)


def _ticks(low: float, high: float, step: float) -> NDArray[np.float64]:
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _nice(value: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    fits = _NICE * power
    return float(fits[fits >= value][0]) if (fits >= value).any() else float(10 * power)


def _degrees(value: float, kind: str) -> str:
    value = (value + 180) % 360 - 180 if kind == 'meridian' else value
    side = ('W', 'E') if kind == 'meridian' else ('S', 'N')
    number = f'{abs(value):.5f}'.rstrip('0').rstrip('.')
    return f'{number}° {side[int(value > 0)]}' if value else f'{number}°'


def _scale(svg: Element, page: _Page) -> None:
    """Draw a bar of a round length in metres."""
    metres = _nice(_WIDTH / 8 / page.scale)
    length = metres * page.scale
    y = page.high - 14
    bar = {'stroke': '#141414', 'stroke-width': '3', 'fill': 'none'}
    SubElement(svg, 'path', {'d': f'M14 {y:.1f}h{length:.1f}', **bar})
    words = f'{metres / 1000:g} km' if metres >= 1000 else f'{metres:g} m'
    _text(svg, 18 + length, y + 4, words, **{'font-size': '12'})
