"""Vector files: which file, which layer of it, and its features.

A path may be written as QGIS and GDAL write them: ``aoi.gpkg|layername=study_area``, a zipped
shapefile, ``/vsizip/areas.zip/aoi.shp``, ``~/aoi.geojson``. A file with several layers needs one
named, since the first is the right one by chance only; the folders of a KML and the tracks and
routes of a GPX are one drawing, and are taken together.
"""

import os
import zipfile
from collections.abc import Sequence
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from torchgeo_cmr.errors import CMRError, QueryError
from torchgeo_cmr.regular_files import check_regular
from torchgeo_cmr.vectors.arcs import CURE, has_arcs
from torchgeo_cmr.vectors.vector_contents import check_vector

_PARQUET = ('.parquet', '.geoparquet')
_KML = ('.kml', '.kmz')
#: What an archive may hold that is an area.
_DRAWN = ('.shp', '.gpkg', '.geojson', '.json', '.fgb', '.kml', '.gpx', '.gml')
#: Whole numbers as columns of files hold them.
_WHOLE = (pd.Int8Dtype(), pd.Int16Dtype(), pd.Int32Dtype(), pd.Int64Dtype())
#: What files of areas end in.
DRAWN = (*_DRAWN, *_PARQUET, '.kmz', '.zip', '.shz')


def read_frame(
    path: str | PathLike[str],
    what: str = 'area file',
    *,
    layer: str | None = None,
    prefer: str | None = None,
    placeless: bool = False,
    typed: bool = False,
    kind: type[CMRError] = QueryError,
) -> gpd.GeoDataFrame:
    """Read the features of a vector file: GeoParquet, or anything GDAL reads.

    Args:
        path: The file, ``FILE|layername=NAME``, a zip archive or one of GDAL's ``/vsi`` paths.
        what: What it is called if something is wrong with it.
        layer: Layer to read; needed where there are several.
        prefer: Layer to read if it is there and no other is named.
        placeless: Whether all rows may be without a geometry, as hits among sound are.
        typed: Whether whole numbers and truth values among nulls stay what they are, which are
            floating-point numbers without it.
        kind: What to raise.

    Returns:
        The features; at least one geometry among them unless *placeless*.

    Raises:
        CMRError: Of the kind *kind*, if it is not there, no vector file, has several layers and
            none is named, or holds no geometry.
    """
    source, named = locate(path, what, kind)
    if layer is not None and named not in (None, layer):
        raise kind(
            f'the {what} {path} names its layer, and layer={layer!r} names another; give one'
        )
    try:
        if Path(source).suffix.lower() in _PARQUET:
            check_regular(source, kind)
            if wanted := layer or named:
                raise kind(
                    f'the {what} {path} is GeoParquet, which has no layers, so there is no '
                    f'{wanted!r} in it; leave the layer out'
                )
            frame = gpd.read_parquet(source)
        else:
            checked = check_vector(source, kind)
            source = _opened(checked, kind)
            names = _chosen(source, what, layer or named, prefer, kind)
            frame = _features(source, names, typed)
    except kind:
        raise
    except NotImplementedError as error:
        raise kind(f'the {what} {path} holds arcs; {CURE}') from error
    except Exception as error:  # pyogrio, pyarrow and GDAL raise kinds of their own
        raise kind(
            f'the {what} {path} cannot be read as a vector file ({error})'
        ) from error
    if frame.active_geometry_name is not None and has_arcs(frame.geometry.to_numpy()):
        raise kind(f'the {what} {path} holds arcs in a collection; {CURE}')
    named_geometry = frame.active_geometry_name is not None
    if not placeless and not (
        named_geometry and not shapely.is_missing(frame.geometry.to_numpy()).all()
    ):
        raise kind(
            f'the {what} {path} has no features with a geometry; draw an area first'
        )
    return frame


def locate(
    path: str | PathLike[str],
    what: str = 'area file',
    kind: type[CMRError] = QueryError,
) -> tuple[str, str | None]:
    """Give the file that a path means, and the layer that it names.

    Args:
        path: As :func:`read_frame` takes it.
        what: What it is called if something is wrong with it.
        kind: What to raise.

    Returns:
        A path that exists or leads into an archive, and the name of the layer.

    Raises:
        CMRError: Of the kind *kind*, if it is not there, is on the network, or is written in another way.
    """
    text = fspath(path)
    layer = None
    if '|' in text and not os.path.exists(text):
        text, *options = text.split('|')
        for option in options:
            name, _, value = option.partition('=')
            if name.strip().lower() != 'layername' or not value:
                raise kind(
                    f'{option!r} behind the {what} {text} is not understood; write '
                    f'{text}|layername=NAME'
                )
            layer = value
    if text.lower().startswith(('http://', 'https://', 'ftp://', 's3://', 'gs://')):
        raise kind(
            f'the {what} {text} is on the network; download it and give the path of the file'
        )
    if text.startswith(('/vsi', 'zip://')):
        return text, layer
    found = os.path.expanduser(text)
    if not os.path.exists(found):
        raise kind(f'the {what} {text:.200} is not there; check its name')
    return found, layer


def _opened(source: str, kind: type[CMRError]) -> str:
    """Give what GDAL opens: of an archive without layers of its own, the one file in it."""
    if Path(source).suffix.lower() != '.zip' or source.startswith(('/vsi', 'zip://')):
        return source
    inside = f'/vsizip/{Path(source).absolute()}'
    with zipfile.ZipFile(source) as archive:
        names = [n for n in archive.namelist() if Path(n).suffix.lower() in _DRAWN]
    if len(names) > 1 and not all(n.lower().endswith('.shp') for n in names):
        raise kind(
            f'{source} holds {_listed(names)}; name one, as /vsizip/{source}/{names[0]}'
        )
    if len(names) == 1:
        return f'{inside}/{names[0]}'
    folder = {str(Path(name).parent) for name in names}
    return inside if folder <= {'.'} else f'{inside}/{min(folder)}'


def _chosen(
    source: str, what: str, layer: str | None, prefer: str | None, kind: type[CMRError]
) -> list[str]:
    """Choose layers: those that are one drawing, or the one that is named."""
    import pyogrio  # late, because most searches read no file

    listed = [(str(name), shapes) for name, shapes in pyogrio.list_layers(source)]
    names = [name for name, _ in listed]
    if layer is not None and layer not in names:
        raise kind(
            f'the {what} {source} has no layer {layer!r} but {_listed(names)}; name one of these'
        )
    # Tables without a geometry, such as the styles QGIS saves, are not areas.
    drawn = [name for name, shapes in listed if shapes is not None] or names
    suffix = Path(source).suffix.lower()
    if layer is not None:
        return [layer]
    if prefer in names:
        return [prefer]
    if suffix in (*_KML, '.gpx') or len(drawn) == 1:
        return drawn
    raise kind(
        f'the {what} {source} has {len(drawn)} layers, {_listed(drawn)}; name one: '
        f'{source}|layername={drawn[-1]}'
    )


def _features(source: str, layers: Sequence[str], typed: bool) -> gpd.GeoDataFrame:
    """Read layers; of a GPX with several its tracks and routes, or its waypoints."""
    import pyogrio

    options: dict[str, Any] = {}
    if typed:
        import pyarrow as pa

        kinds = {
            **{pa.from_numpy_dtype(t.numpy_dtype): t for t in _WHOLE},
            pa.bool_(): pd.BooleanDtype(),
        }
        options = {
            'use_arrow': True,
            'arrow_to_pandas_kwargs': {'types_mapper': kinds.get},
        }
    read = partial(pyogrio.read_dataframe, source, **options)
    if len(layers) > 1 and Path(source).suffix.lower() == '.gpx':
        ways = [read(layer=name) for name in ('tracks', 'routes')]
        if not any(map(len, ways)):
            ways = [read(layer='waypoints')]
        return _together(ways)
    return _together([read(layer=name) for name in layers])


def _together(frames: list[pd.DataFrame]) -> gpd.GeoDataFrame:
    """Put the features of several layers into one frame; a table has no geometry to give."""
    full = [frame for frame in frames if len(frame)] or frames[:1]
    whole = full[0] if len(full) == 1 else pd.concat(full, ignore_index=True)
    return whole if isinstance(whole, gpd.GeoDataFrame) else gpd.GeoDataFrame(whole)


def _listed(names: Sequence[str]) -> str:
    few = ', '.join(names[:8])
    return f'{few} and {len(names) - 8} more' if len(names) > 8 else few
