"""A small map in SVG: hits coloured by score, queries, the area, a grid of degrees, a scale."""

from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Geometry

from torchgeo_cmr.table.footprints import WGS84

from .area import area_of_interest
from .place import middle, moved, placed
from .style import OUTLINES, VIRIDIS

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

    .. versionadded:: 0.1
    """
    lon, lat = middle(hits)
    crs = CRS.from_user_input(
        f'+proj=aeqd +lon_0={lon:.6f} +lat_0={lat:.6f} +datum=WGS84 +units=m'
    )
    outlines = _outlines(moved(hits, crs))
    asked: list[Geometry] = []
    if queries is not None and placed(queries).any():
        asked = list(_outlines(moved(queries[placed(queries)], crs)))
    where = _area(area, crs)
    west, south, east, north = shapely.total_bounds([*outlines, *asked])
    if where is not None and not where.is_empty:
        # An area far larger than the hits would make specks of them.
        limit = 4 * max(east - west, north - south, 1.0)
        box = where.bounds
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
    centre = (west + east) / 2, (south + north) / 2

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x = _WIDTH / 2 + (points[:, 0] - centre[0]) * scale
        y = high / 2 - (points[:, 1] - centre[1]) * scale
        return np.column_stack([x, y])

    svg = Element('svg', viewBox=f'0 0 {_WIDTH:g} {high:.0f}', role='img')
    SubElement(svg, 'title').text = f'Map of {len(hits)} hits'
    _graticule(svg, crs, place, scale, centre, (_WIDTH, float(high)))
    if where is not None:
        _path(
            svg,
            where,
            place,
            fill='none',
            stroke=_hex(OUTLINES['area_of_interest']),
            **{'stroke-width': '2'},
        )
    scores = hits['score'].to_numpy(np.float64)
    for i in np.argsort(scores, kind='stable'):
        hit = hits.iloc[i]
        drawn = _path(
            svg,
            outlines[i],
            place,
            id=f'hit-{i}',
            fill=score_colour(scores[i], scores.min(), scores.max()),
            stroke='#232323',
            **{'fill-opacity': '0.6', 'stroke-width': '1'},
        )
        told = [f'rank {hit["rank"]}', f'score {hit["score"]:.4f}', hit['source']]
        SubElement(drawn, 'title').text = ', '.join(
            t for t in told if isinstance(t, str)
        )
        x, y = place(shapely.get_coordinates(outlines[i].centroid))[0]
        label = SubElement(
            svg,
            'text',
            {
                'x': f'{x:.1f}',
                'y': f'{y + 4:.1f}',
                'text-anchor': 'middle',
                'font-size': '12',
                'stroke': '#ffffff',
                'stroke-width': '3',
                'paint-order': 'stroke',
                'fill': '#141414',
            },
        )
        label.text = str(hit['rank'])
    for shape in asked:
        _path(
            svg,
            shape,
            place,
            fill='none',
            stroke=_hex(OUTLINES['query']),
            **{'stroke-width': '2.5'},
        )
    _scale(svg, scale, float(high))
    return svg


def score_colour(score: float, low: float, high: float) -> str:
    """Give a colour between the dark and the bright end of viridis.

    Args:
        score: A score.
        low: Score of the dark end.
        high: Score of the bright end; equal to low: the bright end is meant.

    Returns:
        ``#rrggbb``.

    .. versionadded:: 0.1
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


def _path(svg: Element, shape: Geometry, place: Any, **attributes: str) -> Element:
    """Draw the rings of a geometry."""
    words = []
    for part in shapely.get_parts(shape):
        rings = shapely.get_rings(part) if part.geom_type == 'Polygon' else [part]
        for ring in rings:
            points = place(shapely.get_coordinates(ring))
            words.append('M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in points))
    return SubElement(
        svg,
        'path',
        {
            'd': ''.join(words),
            'fill-rule': 'evenodd',
            'vector-effect': 'non-scaling-stroke',
            **attributes,
        },
    )


def _graticule(
    svg: Element,
    crs: CRS,
    place: Any,
    scale: float,
    centre: tuple[float, float],
    size: tuple[float, float],
) -> None:
    """Draw meridians and parallels with their degrees, where the map is not half the world."""
    half = np.array(size) / 2 / scale
    if np.hypot(*half) > 9e6:
        return
    back = Transformer.from_crs(crs, WGS84, always_xy=True)
    u, v = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    lon, lat = back.transform(
        (centre[0] + u * half[0]).ravel(), (centre[1] + v * half[1]).ravel()
    )
    middle_lon, _ = back.transform(*centre)
    lon = middle_lon + (np.asarray(lon) - middle_lon + 180) % 360 - 180
    lat = np.asarray(lat)
    if np.abs(lat).max() > 88:
        return
    there = Transformer.from_crs(WGS84, crs, always_xy=True)
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
        points = place(np.column_stack(there.transform(xs, ys)))
        SubElement(
            svg,
            'path',
            {
                'd': 'M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in points),
                'fill': 'none',
                'stroke': '#dddddd',
            },
        )
        inside = points[
            (points >= 0).all(axis=1) & (points <= np.array(size)).all(axis=1)
        ]
        if len(inside):
            at = inside[0] if kind == 'meridian' else inside[0] + [2, -3]
            text = SubElement(
                svg,
                'text',
                {
                    'x': f'{at[0] + 2:.1f}',
                    'y': f'{at[1] - 3:.1f}',
                    'font-size': '11',
                    'fill': '#666666',
                },
            )
            text.text = _degrees(value, kind)


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


def _scale(svg: Element, scale: float, high: float) -> None:
    """Draw a bar of a round length in metres."""
    metres = _nice(_WIDTH / 8 / scale)
    length = metres * scale
    y = high - 14
    SubElement(
        svg,
        'path',
        {
            'd': f'M14 {y:.1f}h{length:.1f}',
            'stroke': '#141414',
            'stroke-width': '3',
            'fill': 'none',
        },
    )
    text = SubElement(
        svg, 'text', {'x': f'{18 + length:.1f}', 'y': f'{y + 4:.1f}', 'font-size': '12'}
    )
    text.text = f'{metres / 1000:g} km' if metres >= 1000 else f'{metres:g} m'
