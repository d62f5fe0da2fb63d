"""The command export: a saved thing in, layers out."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgeo_cmr.cli.options import ResultOptions

if TYPE_CHECKING:
    import geopandas as gpd


#: What describes an archive or a checkpoint: suffix -> what it is.
_DOCUMENTS = {
    '.stac.json': 'STAC collection',
    '.stac.parquet': 'STAC items',
    '.md': 'card',
}


@dataclass(frozen=True, kw_only=True)
class CatalogueOptions:
    """Catalogue: what only you know of an archive, for .stac.json, .stac.parquet and .md.

    Args:
        model_link: Address of the model.
        source_link: Address of the collection of scenes.
        licence: SPDX identifier of the licence, such as CC-BY-4.0.
        title: Title of the collection.
        time: When rows without a date are of: a year, month, day, or START/END.
        report: Report of an evaluation as JSON, for the card of a model.
    """

    model_link: str | None = None
    source_link: str | None = None
    licence: str | None = None
    title: str | None = None
    time: str | None = None
    report: str | None = None


def export(source: str, *, output: ResultOptions, catalogue: CatalogueOptions) -> None:
    """Turn an archive or a saved result into layers that other programs open.

    All footprints of an archive with their attributes, for QGIS or any web map:

        torchgeo-cmr export archive --out footprints.gpkg

    A saved search, as a page for the browser and a project for QGIS:

        torchgeo-cmr export hits.gpkg --out again.gpkg --project --heatmap --html

    The pixels of its hits, in every sensor:

        torchgeo-cmr export hits.gpkg --clips clips

    Any vector file that GDAL reads, in another format:

        torchgeo-cmr export area.shp --out area.geojson

    An archive for a catalogue: a STAC collection with the extension Embedding 0.0.1, its items as
    one table, and a data card; of a checkpoint, a model card:

        torchgeo-cmr export archive --out archive.stac.json --out archive.stac.parquet
        torchgeo-cmr export archive --out DATA.md
        torchgeo-cmr export best.ckpt --out MODEL.md --report report.json

    Args:
        source: Archive folder, a search saved as .gpkg, or a vector file with a CRS; for a model card,
            a checkpoint. Of a file with several layers, the one called results is used, or
            FILE|layername=NAME.
    """
    from torchgeo_cmr.errors import QueryError

    if not output.files and not output.clips:
        raise QueryError(
            'nothing to write: name a file with --out, or a folder with --clips'
        )
    files = output.files
    writers = _documents(Path(source), files, catalogue, output.overwrite)
    output = replace(output, out=[file for file in files if file not in writers])
    if output.files or not writers:
        output.check()
    for file, write in writers.items():
        sys.stdout.write(f'{file}: {write()}\n')
    if not output.files and writers and not output.clips:
        return
    from torchgeo_cmr.export import write_all

    frame, layers = _together(source)
    for path, summary in write_all(frame, output.files, **layers, **output.written()):
        sys.stdout.write(f'{path}: {summary}\n')


def _documents(
    source: Path, files: list[str], given: CatalogueOptions, overwrite: bool
) -> dict[str, Callable[[], str]]:
    """Say how each file that describes the source is written; nothing is written yet."""
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.table.archive.folder import is_archive

    of_archive = source.is_dir() and is_archive(source)
    of_model = source.suffix == '.ckpt'
    named = {
        file: suffix
        for file in files
        for suffix in _DOCUMENTS
        if file.lower().endswith(suffix) and (of_archive or of_model or suffix == '.md')
    }
    if not named:
        if used := [name for name, value in vars(given).items() if value is not None]:
            flag = used[0].replace('_', '-')
            raise QueryError(
                f'--{flag} is for {", ".join(_DOCUMENTS)} of an archive, and none is written: drop it'
            )
        return {}
    if not of_archive and not (of_model and {*named.values()} == {'.md'}):
        raise QueryError(
            f'{source} is not an archive: a card (.md) is of an archive or a checkpoint (.ckpt), '
            'a collection (.stac.json, .stac.parquet) of an archive'
        )
    from torchgeo_cmr.export.write import check_places

    check_places([Path(file) for file in named], overwrite=overwrite)
    return {
        file: _writer(source, file, suffix, given, overwrite)
        for file, suffix in named.items()
    }


def _writer(
    source: Path, file: str, suffix: str, given: CatalogueOptions, overwrite: bool
) -> Callable[[], str]:
    """Say how one file is written."""
    from torchgeo_cmr.export.record.cards import to_data_card, to_model_card
    from torchgeo_cmr.export.vector.stac_collection import (
        Catalogue,
        to_collection,
        to_stac_geoparquet,
    )

    def write() -> str:
        card: dict[str, Any] = {'licence': given.licence, 'overwrite': overwrite}
        if suffix == '.md' and source.suffix == '.ckpt':
            from torchgeo_cmr.tasks import describe_checkpoint

            model = describe_checkpoint(source)
            to_model_card(model, file, report=given.report, **card)
        elif suffix == '.md':
            to_data_card(source, file, **card)
        else:
            catalogue = Catalogue(
                model=given.model_link,
                source=given.source_link,
                licence=given.licence or Catalogue.licence,
                title=given.title,
                time=given.time,
            )
            make = to_collection if suffix == '.stac.json' else to_stac_geoparquet
            make(source, file, catalogue=catalogue, overwrite=overwrite)
        return _DOCUMENTS[suffix]

    return write


def _together(source: str) -> tuple['gpd.GeoDataFrame', dict[str, Any]]:
    """Read what is to be written, and of a saved search the queries, area and record too."""
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import read_search
    from torchgeo_cmr.table import EmbeddingTable
    from torchgeo_cmr.vectors.vector_file import locate

    if Path(source).is_dir():
        return EmbeddingTable.load(source).frame, {}
    _check_there(source)
    file, layer = locate(source, 'vector file', QueryError)
    if layer is None and Path(file).suffix.lower() == '.parquet':
        frame = read_search(file).results
    else:
        frame = _features(source)
    saved = {'query_id', 'rank', 'score', 'patch_id'} <= set(frame)
    if not saved or layer not in (None, 'results'):
        return frame, {}
    results, queries, area, record = read_search(file)
    return results, {'queries': queries, 'area': area, 'record': record or None}


def _check_there(source: str) -> None:
    """Refuse what is on the network or not there."""
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.regular_files import check_not_address

    file = source if Path(source).exists() else source.partition('|')[0]
    if not Path(file).expanduser().exists() and not file.startswith('/vsi'):
        check_not_address(file, QueryError)
        raise QueryError(
            f'{file} is not there; name an archive folder or a vector file'
        )


def _features(source: str | PathLike[str]) -> 'gpd.GeoDataFrame':
    """Read a layer of a vector file: the one that is named, else the results."""
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.vectors.vector_file import read_frame

    frame = read_frame(source, 'vector file', prefer='results', placeless=True)
    if frame.active_geometry_name is None:
        raise QueryError(f'{source} has no geometry; name a file with footprints')
    if frame.crs is None:
        raise QueryError(
            f'{source} has no CRS; declare it in the program that wrote it'
        )
    return frame
