"""STAC: hits as items that catalogues and their clients understand."""

from collections.abc import Mapping
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS
from shapely.geometry.polygon import orient

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.extent import placed
from torchgeo_cmr.export.layers.layer_outlines import footprints
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.export.pictures.named_pixels import parse_window
from torchgeo_cmr.regular_files import under
from torchgeo_cmr.search.results import check_result
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import unwrap

if TYPE_CHECKING:
    import pystac

#: Columns of a result that become properties of our own, and their names there.
_OWN = (
    'query_id',
    'rank',
    'score',
    'patch_id',
    'modality',
    'source',
    'exact',
    'relevant',
)


#: Columns that an item holds in other places.
_ELSEWHERE = frozenset(
    (*_OWN, 'time_start', 'time_end', 'src_crs', 'native_corners', 'geometry')
)
_EO = 'https://stac-extensions.github.io/eo/v1.1.0/schema.json'


def to_stac(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write hits as a STAC item collection: one GeoJSON file of items, one a hit.

    An item's id is ``<patch_id>@<query_id>``. It has the acquisition as ``datetime`` or
    ``start_datetime`` and ``end_datetime``, the projection extension (``proj:code`` or
    ``proj:wkt2``, and with native corners ``proj:geometry``, ``proj:bbox``,
    ``proj:shape`` and ``proj:transform``), the columns of a result and the archive's own as
    ``cmr:<name>``, ``cloud`` as ``eo:cloud_cover``, columns that are named like a field of STAC
    (``eo:snow_cover``) as they are, and the rasters as assets.
    Needs pystac: ``pip install torchgeo-cmr[stac]``.

    Args:
        results: What a search gave. Every hit needs a time, which STAC requires, and a place.
        path: File to write.
        queries: Not written.
        area: Not written.
        record: How the search was made; its ``scenes`` give the paths of the rasters, else
            the asset is ``source``.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If pystac is missing, the frame is not a result, or a hit has no time or no
            place.
        OutputExistsError: If the file is there and ``overwrite`` is False.
    """
    try:
        import pystac
    except ImportError as error:
        raise QueryError(
            'STAC items are written through pystac, which is not installed; '
            'pip install pystac'
        ) from error
    check_items(results)
    scenes = (record or {}).get('scenes') or {}
    shapes = footprints(results)
    items = [
        _item(hit, shape, scenes)
        for (_, hit), shape in zip(results.iterrows(), shapes, strict=True)
    ]
    with new_file(path, overwrite=overwrite) as temporary:
        # Its own writer takes a path for an address, which ends before ? and #.
        made = pystac.ItemCollection(items, clone_items=False).to_dict()
        text = pystac.StacIO.default().json_dumps(made)
        temporary.write_text(text, encoding='utf-8')
    return Path(path)


def check_items(results: gpd.GeoDataFrame) -> None:
    """Refuse hits that cannot be STAC items.

    Args:
        results: What a search gave.

    Raises:
        QueryError: If the frame is not a result, or a hit has no time or no place.
    """
    check_result(results)
    undated = results['time_start'].isna() & results['time_end'].isna()
    for missing, what in ((undated, 'time'), (~placed(results), 'place')):
        if missing.any():
            raise QueryError(
                f'{int(missing.sum())} of {len(results)} hits have no {what}, and a STAC item of '
                'ours needs one; drop them or write another format'
            )


def _item(
    hit: pd.Series, shape: shapely.Geometry, scenes: Mapping[str, Any]
) -> 'pystac.Item':
    import pystac
    from pystac.extensions.projection import ProjectionExtension

    start, end = hit['time_start'], hit['time_end']
    start, end = (end if pd.isna(start) else start), (start if pd.isna(end) else end)
    moment = start.to_pydatetime(warn=False)
    extra = _own(hit)
    item = pystac.Item(
        id=f'{hit["patch_id"]}@{hit["query_id"]}',
        geometry=_geometry(shape),
        bbox=_bbox(shape),
        datetime=moment if start == end else None,
        properties={
            f'cmr:{name}': _plain(hit[name]) for name in _OWN if not pd.isna(hit[name])
        }
        | extra,
        start_datetime=None if start == end else moment,
        end_datetime=None if start == end else end.to_pydatetime(warn=False),
    )
    if isinstance(hit['src_crs'], str):
        projection = ProjectionExtension.ext(item, add_if_missing=True)
        _project(projection, hit)
    if 'eo:cloud_cover' in extra:
        item.stac_extensions.append(_EO)
    for name, href in _assets(hit, scenes):
        item.add_asset(name, pystac.Asset(href, roles=['data']))
    return item


def _own(hit: pd.Series) -> dict[str, Any]:
    """Give the archive's own columns as properties; what has a name in STAC gets that."""
    found: dict[str, Any] = {}
    for column, value in hit.items():
        name = str(column)
        if name in _ELSEWHERE or isinstance(value, shapely.Geometry):
            continue
        made = _json(value)
        if made is None:
            continue
        if name == 'cloud' and 'eo:cloud_cover' not in hit:
            name = 'eo:cloud_cover'
        # Names of STAC's extensions are kept; all others are ours.
        found[name if ':' in name else f'cmr:{name}'] = made
    return found


def _json(value: Any) -> Any:
    """Give a value as JSON has it; None for nulls and for what it cannot hold."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _json(item) for name, item in value.items()}
    if value is None or pd.isna(value):
        return None
    value = _plain(value)
    if isinstance(value, pd.Timestamp):
        utc = (
            value.tz_localize('UTC')
            if value.tzinfo is None
            else value.tz_convert('UTC')
        )
        return utc.isoformat().replace('+00:00', 'Z')
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, bool | int | str):
        return value
    return float(value) if isinstance(value, Decimal) else str(value)


def _project(projection: Any, hit: pd.Series) -> None:
    """Fill in the fields of the projection extension."""
    source_crs = CRS.from_user_input(hit['src_crs'])
    code = source_crs.to_authority()
    if code is not None:
        projection.apply(code=':'.join(code))
    else:
        projection.apply(code=None, wkt2=source_crs.to_wkt('WKT2_2019'))
    corners = hit.get('native_corners')
    points = None
    if isinstance(corners, np.ndarray | list) and len(corners) == 8:
        points = np.asarray(corners, dtype=np.float64).reshape(4, 2)
        ring = shapely.Polygon(points)
        projection.geometry = _geometry(ring)
        projection.bbox = list(ring.bounds)
    window = parse_window(hit['patch_id'])
    if window is None:
        return
    height, width = projection.shape = list(window[2:])
    if points is not None:
        (a, d), (b, e) = (
            (points[1] - points[0]) / width,
            (points[3] - points[0]) / height,
        )
        projection.transform = [
            float(n) for n in (a, b, points[0, 0], d, e, points[0, 1])
        ]


def _assets(hit: pd.Series, scenes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give name and path of each raster behind a hit."""
    sources = scenes.get(hit['modality'], {}).get('sources') or {}
    bands = sources.get(hit['source']) if isinstance(hit['source'], str) else None
    if not bands:
        return [('source', hit['source'])] if isinstance(hit['source'], str) else []
    root = scenes[hit['modality']].get('root')
    paths = dict.fromkeys(
        path if root is None else under(root, path) for path, *_ in bands
    )
    if len(paths) == 1:
        return [('source', next(iter(paths)))]
    return [(f'source_{i}', path) for i, path in enumerate(paths, 1)]


def _geometry(shape: shapely.Geometry) -> dict[str, Any]:
    """Give polygons as GeoJSON, outer rings counter-clockwise."""
    parts = [orient(part) for part in shapely.get_parts(shape)]
    return shapely.geometry.mapping(
        parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    )


def _bbox(shape: shapely.Geometry) -> list[float]:
    """Give west, south, east, north; west is greater than east across the antimeridian."""
    west, south, east, north = unwrap(shape).bounds
    return [west, south, east - 360 if east > 180 else east, north]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
