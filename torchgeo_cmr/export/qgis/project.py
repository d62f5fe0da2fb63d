"""A QGIS project next to a GeoPackage: what to show, where, and in which time.

A ``.qgz`` is a zip with one XML document in it. QGIS does not report a wrong part of that
document, it only shows less; so everything it needs is written in full: ids longer than
ten characters, WKT with every CRS code, relative paths, and an explicit extent, because the
extent of layers cut at 180 is the whole world.
"""

import sqlite3
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import pandas as pd
import pyogrio
from pyproj import CRS
from pyproj.enums import WktVersion

from torchgeo_cmr.drafts import check_new
from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.new_file import as_written, new_file, together
from torchgeo_cmr.export.vector.geopackage import to_geopackage
from torchgeo_cmr.table import EmbeddingTable

from .backdrop import (
    ProjectLayer,
    heat_layer,
    picture_layer,
    relative_path,
    scene_files,
)
from .view import Bounds, span, view

_GEOMETRY = {'Polygon': 'Polygon', 'LineString': 'Line', 'Point': 'Point'}


@together()
def to_project(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    geopackage: str | PathLike[str] | None = None,
    similarity: str | PathLike[str] | None = None,
    rasters: Iterable[str | PathLike[str]] | None = None,
    links: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a QGIS project that opens on the results, and the GeoPackage next to it.

    The map is in the UTM zone of the query where the results are near, in a polar CRS near a
    pole, in EPSG:3832 across the antimeridian, else in EPSG:4326. It shows results and
    queries; without results, the area. The time slider spans the times of the results. All
    paths are relative, so the folder can be moved.

    Args:
        results: What a search gave.
        path: Project to write, ``NAME.qgz``.
        queries: As for :func:`~torchgeo_cmr.export.to_geopackage`.
        area: As for the GeoPackage.
        record: As for the GeoPackage.
        geopackage: An existing GeoPackage of this search; without it,
            ``NAME.gpkg`` is written next to the project.
        similarity: Similarity raster to show below the vector layers.
        rasters: Source rasters to show at the bottom, uppermost first. Without it, those
            that the record's ``scenes`` name for the hits, the best first, at most eight.
        links: As for :func:`~torchgeo_cmr.export.to_geopackage`.
        overwrite: Replace files that are there.

    Returns:
        The path.

    Raises:
        QueryError: If the GeoPackage given is not there or holds no styles of ours, or the
            search cannot be written.
        RasterError: If a raster cannot be opened or has no CRS.
        OutputExistsError: If a file is there and ``overwrite`` is False.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> import tempfile
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> folder = tempfile.TemporaryDirectory()
        >>> hits = RetrievalIndex(table).search(table.select([0]), 2)
        >>> to_project(hits, f'{folder.name}/hits.qgz').name
        'hits.qgz'
        >>> folder.cleanup()
    """
    target = Path(path)
    check_new(target, overwrite=overwrite)
    below = [] if similarity is None else [heat_layer(Path(similarity), target.parent)]
    pictures = (
        scene_files(results, record)
        if rasters is None
        else [(Path(p), []) for p in rasters]
    )
    below += [picture_layer(p, bands, target.parent) for p, bands in pictures]
    if geopackage is None:
        beside = to_geopackage(
            results,
            target.with_suffix('.gpkg'),
            queries=queries,
            area=area,
            record=record,
            links=links,
            overwrite=overwrite,
        )
    else:
        beside = Path(geopackage)
    layers = _vectors(beside, target.parent) + below
    crs, extent = view(results, queries, area)
    document = _document(target.stem, layers, crs, extent, span(results))
    with (
        new_file(target, overwrite=overwrite) as temporary,
        zipfile.ZipFile(temporary, 'w', zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr(f'{target.stem}.qgs', document)
    return target


def _vectors(path: Path, folder: Path) -> list[ProjectLayer]:
    """Read layers, CRSs and styles of a GeoPackage."""
    file = as_written(path)
    if not file.is_file():
        raise QueryError(f'{path} is not there; write the GeoPackage first')
    try:
        with closing(
            sqlite3.connect(f'{file.absolute().as_uri()}?mode=ro', uri=True)
        ) as db:
            styles = dict(
                db.execute(
                    'SELECT f_table_name, styleQML FROM layer_styles ORDER BY id'
                )
            )
    except sqlite3.DatabaseError as error:
        raise QueryError(
            f'{path} holds no styles ({error}); write it with to_geopackage'
        ) from error
    layers = []
    for name, style in styles.items():
        if '<!ENTITY' in str(style):
            raise QueryError(
                f'the style of {name} in {path} has entities, with which XML can grow '
                'without end; write it with to_geopackage'
            )
        info = pyogrio.read_info(file, layer=name)
        layers.append(
            ProjectLayer(
                name,
                info['geometry_type'].removeprefix('Multi'),
                f'{relative_path(path, folder)}|layername={name}',
                CRS.from_user_input(info['crs']),
                style,
            )
        )
    return layers


def _document(
    title: str,
    layers: Sequence[ProjectLayer],
    crs: CRS,
    extent: Bounds,
    span: tuple[pd.Timestamp, pd.Timestamp] | None,
) -> bytes:
    """Write the project's XML."""
    root = ET.Element('qgis', version='3.22.0', projectname=title)
    ET.SubElement(root, 'title').text = title
    _crs(ET.SubElement(root, 'projectCrs'), crs)
    ids = [f'torchgeo_cmr_{i:02d}_{layer.kind}' for i, layer in enumerate(layers)]
    tree = ET.SubElement(root, 'layer-tree-group')
    for name, layer in zip(ids, layers, strict=True):
        ET.SubElement(
            tree,
            'layer-tree-layer',
            id=name,
            name=layer.name,
            source=layer.source,
            providerKey='gdal' if layer.kind == 'raster' else 'ogr',
            checked='Qt::Checked',
            expanded=str(int(layer.name == 'results')),
        )
    canvas = ET.SubElement(
        root, 'mapcanvas', name='theMapCanvas', annotationsVisible='1'
    )
    ET.SubElement(canvas, 'units').text = 'degrees' if crs.is_geographic else 'meters'
    box = ET.SubElement(canvas, 'extent')
    for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), extent, strict=True):
        ET.SubElement(box, tag).text = repr(value)
    _crs(ET.SubElement(canvas, 'destinationsrs'), crs)
    parent = ET.SubElement(root, 'projectlayers')
    for name, layer in zip(ids, layers, strict=True):
        _map_layer(parent, name, layer)
    order = ET.SubElement(root, 'layerorder')
    for name in ids:
        ET.SubElement(order, 'layer', id=name)
    properties = ET.SubElement(root, 'properties')
    _property(properties, 'SpatialRefSys', 'ProjectionsEnabled', 'int', '1')
    _property(properties, 'Paths', 'Absolute', 'bool', 'false')
    times = ET.SubElement(
        root,
        'ProjectTimeSettings',
        timeStep='1',
        timeStepUnit='d',
        frameRate='1',
        cumulativeTemporalRange='0',
    )
    if span is not None:
        window = ET.SubElement(times, 'TemporalRange')
        for tag, moment in zip(('start', 'end'), span, strict=True):
            ET.SubElement(window, tag).text = moment.strftime('%Y-%m-%dT%H:%M:%SZ')
    shown = ET.SubElement(root, 'ProjectViewSettings', UseProjectScales='0')
    start = ET.SubElement(
        shown,
        'DefaultViewExtent',
        dict(zip(('xmin', 'ymin', 'xmax', 'ymax'), map(repr, extent), strict=True)),
    )
    _crs(start, crs)
    return ET.tostring(root, encoding='utf-8', xml_declaration=True)


def _map_layer(parent: ET.Element, name: str, layer: ProjectLayer) -> None:
    """Describe one layer, with the content of its style."""
    element = ET.SubElement(parent, 'maplayer')
    if layer.kind == 'raster':
        element.set('type', 'raster')
    else:
        element.set('type', 'vector')
        element.set('geometry', _GEOMETRY[layer.kind])
    for tag, text in (
        ('id', name),
        ('datasource', layer.source),
        ('layername', layer.name),
    ):
        ET.SubElement(element, tag).text = text
    _crs(ET.SubElement(element, 'srs'), layer.crs)
    ET.SubElement(element, 'provider').text = (
        'gdal' if layer.kind == 'raster' else 'ogr'
    )
    style = ET.fromstring(layer.style)
    for key in ('labelsEnabled', 'styleCategories'):
        if key in style.attrib:
            element.set(key, style.attrib[key])
    element.extend(style)


def _crs(parent: ET.Element, crs: CRS) -> None:
    """Name a CRS as QGIS needs it: WKT, and the code where there is one."""
    system = ET.SubElement(parent, 'spatialrefsys')
    ET.SubElement(system, 'wkt').text = crs.to_wkt(WktVersion.WKT2_2019)
    code = crs.to_authority()
    if code is not None:
        ET.SubElement(system, 'authid').text = ':'.join(code)
    ET.SubElement(system, 'geographicflag').text = str(crs.is_geographic).lower()


def _property(parent: ET.Element, group: str, name: str, kind: str, value: str) -> None:
    ET.SubElement(ET.SubElement(parent, group), name, type=kind).text = value
