"""All outputs of one search together: what goes where, checked first, then written."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd

from torchgeo_cmr.drafts import check_folder, sweep
from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export.layers.extent import check_drawable
from torchgeo_cmr.export.new_file import at_once, only_writer, together
from torchgeo_cmr.export.pictures.html import to_html
from torchgeo_cmr.export.qgis.project import to_project
from torchgeo_cmr.export.record.manifest import write_manifest
from torchgeo_cmr.export.vector.postgres_layer import check_table, to_postgres
from torchgeo_cmr.search.postgres.connection import Address
from torchgeo_cmr.search.store.origin import is_server
from torchgeo_cmr.table import EmbeddingTable

from .write import WRITERS, check_fits, check_places, sidecars, suffix_of

_LOG = logging.getLogger(__name__)


class Written(NamedTuple):
    """One output."""

    #: A file; of a table in a database, its name.
    path: Path
    #: What it holds, such as ``'20 rows'``.
    summary: str


class _Plan(NamedTuple):
    outs: list[Path]
    suffixes: list[str]
    #: The GeoPackage that the project shows.
    package: Path | None
    project: Path | None
    heatmap: Path | None
    html: Path | None
    clips: Path | None
    manifest: Path | None
    #: Addresses of tables in databases.
    tables: list[str]

    @property
    def layers(self) -> list[Path]:
        """What may have a style next to it."""
        return self.outs + ([] if self.heatmap is None else [self.heatmap])


def check_all(
    outs: Iterable[str | PathLike[str]],
    *,
    project: bool = False,
    heatmap: bool = False,
    html: bool = False,
    clips: str | PathLike[str] | None = None,
    links: bool = False,
    manifest: bool = False,
    overwrite: bool = False,
) -> None:
    """Refuse outputs that could not be written, before any work is done for them.

    Nothing is created.

    Args:
        outs: As for :func:`write_all`.
        project: As for :func:`write_all`.
        heatmap: As for :func:`write_all`.
        html: As for :func:`write_all`.
        clips: As for :func:`write_all`.
        links: As for :func:`write_all`.
        manifest: As for :func:`write_all`.
        overwrite: Whether files that are there may be replaced.

    Raises:
        QueryError: If a suffix is not known, a file is named twice, its folder cannot be
            written to, or an option needs another output.
        OutputExistsError: If a file exists and may not be replaced, or is a folder.

    Examples:
        >>> check_all(['hits.gpkg', 'hits.gpkg'])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        torchgeo_cmr.errors.QueryError: hits.gpkg ...
    """
    plan = _plan(outs, project, heatmap, html, clips, links, manifest)
    if plan.heatmap or plan.clips or '.tif' in plan.suffixes:
        # A light installation has none: better said now than after the search.
        import rasterio  # noqa: F401
    files = [target for path in plan.outs for target in (path, *sidecars(path))]
    if plan.heatmap is not None:
        files += [plan.heatmap, *sidecars(plan.heatmap)]
    files += [p for p in (plan.project, plan.html, plan.manifest) if p is not None]
    check_places(files, overwrite=overwrite)
    if plan.clips is not None:
        check_folder(plan.clips)
        if plan.clips.exists() and not plan.clips.is_dir():
            raise OutputExistsError(
                f'{plan.clips} is a file; name a folder for the clips'
            )


def write_all(
    results: gpd.GeoDataFrame,
    outs: Iterable[str | PathLike[str]],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    project: bool = False,
    heatmap: bool = False,
    html: bool = False,
    clips: str | PathLike[str] | None = None,
    links: bool = False,
    manifest: bool = False,
    overwrite: bool = False,
) -> list[Written]:
    """Write a search in every requested format.

    What has no name of its own is named after the first of the files: ``NAME_similarity.tif``,
    ``NAME.html``, ``NAME.json``; the project has the name of the GeoPackage that it shows.

    Args:
        results: What a search gave.
        outs: Files to write, format by suffix as for :func:`write`; and addresses of tables to
            write, ``postgresql://user@host/database?table=NAME``.
        queries: The queries of the search.
        area: The area that was searched.
        record: How the search was made.
        project: Write a QGIS project next to the first GeoPackage.
        heatmap: Write the similarity raster; where there is a GeoPackage, a project shows
            it. Without a hit there is nothing to draw, and none is written.
        html: Write a page for the browser.
        clips: Folder to cut the pixels of the hits into.
        links: Draw lines from each query to its hits as a layer of the GeoPackages.
        manifest: Write the record as ``NAME.json``.
        overwrite: Replace files that are there.

    One process at a time writes the files of a name; another one waits, and then finds them
    there. All files get their names at the end, the manifest last: what fails or is stopped before
    leaves nothing under these names, or what was there, but for clips, with which the same call goes on.

    Returns:
        What was written, in that order; without the manifest, which belongs to the first.

    Raises:
        QueryError: As :func:`check_all`, or if the result does not fit a format or the
            record knows no scenes to cut clips from: then nothing is written.
        OutputExistsError: If a file is there and ``overwrite`` is False, or another process is
            still writing one after a minute.

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
        >>> written = write_all(hits, [f'{folder.name}/hits.gpkg'], project=True)
        >>> [output.path.name for output in written]
        ['hits.gpkg', 'hits.qgz']
        >>> folder.cleanup()
    """
    plan = _plan(outs, project, heatmap, html, clips, links, manifest)
    if set(plan.suffixes) == {'.parquet'} and not html:
        _LOG.warning(
            '%s: many builds of QGIS cannot read GeoParquet; name a .gpkg as well',
            plan.outs[0],
        )
    # Nothing is written if something cannot be.
    if links and queries is None:
        raise QueryError('links join queries to hits; give the queries of the search')
    for path in plan.outs:
        check_fits(results, path)
    if plan.heatmap is not None and len(results):
        check_drawable(results)
    if plan.clips is not None:
        from torchgeo_cmr.export.pictures.clips import check_clips

        check_clips(results, record)
    files = _files(plan)
    if not len(results):
        files = [file for file in files if file != plan.heatmap]
    if record is None:
        files = [file for file in files if file != plan.manifest]
    styles = [p for path in files if path in plan.layers for p in sidecars(path)]
    with only_writer(_names(plan), [*files, *styles]):
        check_places(files, overwrite=overwrite)
        if plan.clips is not None:
            sweep(plan.clips)
        with together():
            return _write(
                plan,
                results,
                links=links,
                queries=queries,
                area=area,
                record=record,
                overwrite=overwrite,
            )


def _write(
    plan: _Plan,
    results: gpd.GeoDataFrame,
    *,
    links: bool,
    record: Mapping[str, Any] | None,
    overwrite: bool,
    **layers: Any,
) -> list[Written]:
    """Write the files of a plan, those that name others after them."""
    common: dict[str, Any] = {**layers, 'record': record, 'overwrite': overwrite}
    rows = f'{len(results)} rows'
    written = []
    for path, suffix in zip(plan.outs, plan.suffixes, strict=True):
        extra = {'links': True} if links and suffix == '.gpkg' else {}
        WRITERS[suffix](results, path, **common, **extra)
        written.append(Written(path, rows))
    raster = plan.heatmap if len(results) else None
    if raster is not None:
        WRITERS['.tif'](results, raster, **common)
        written.append(Written(raster, 'similarity raster'))
    if plan.project is not None:
        to_project(
            results, plan.project, geopackage=plan.package, similarity=raster, **common
        )
        written.append(Written(plan.project, 'QGIS project'))
    if plan.html is not None:
        to_html(results, plan.html, **common)
        written.append(Written(plan.html, rows))
    if plan.clips is not None:
        from torchgeo_cmr.export.pictures.clips import clip_hits

        with at_once():
            clip_hits(results, plan.clips, **common)
        written.append(Written(plan.clips, 'clips'))
    for address in plan.tables:
        table = to_postgres(results, address, **common)
        written.append(Written(Path(table), f'{rows} in the database'))
    if plan.manifest is not None and record is not None:
        write_manifest(record, plan.manifest, overwrite=overwrite)
    return written


def _files(plan: _Plan) -> list[Path]:
    """List the files of a plan, without clips and styles."""
    optional = plan.heatmap, plan.project, plan.html, plan.manifest
    return [*plan.outs, *(path for path in optional if path is not None)]


def _names(plan: _Plan) -> list[Path]:
    """List what one process at a time may write: outputs without suffix, and the clips."""
    names = [
        _named(path, suffix, '')
        for path, suffix in zip(plan.outs, plan.suffixes, strict=True)
    ]
    return names + ([] if plan.clips is None else [plan.clips])


def _plan(
    outs: Iterable[str | PathLike[str]],
    project: bool,
    heatmap: bool,
    html: bool,
    clips: str | PathLike[str] | None,
    links: bool,
    manifest: bool,
) -> _Plan:
    """Name every output, or refuse what cannot be named."""
    outs = list(outs)
    tables = [out for out in outs if is_server(out)]
    for table in tables:
        check_table(Address.read(table))
    paths = [Path(out) for out in outs if out not in tables]
    suffixes = [suffix_of(path) for path in paths]
    outputs = {'project': project, 'heatmap': heatmap, 'html': html}
    if not paths:
        for name in (name for name, wanted in outputs.items() if wanted):
            raise QueryError(
                f'the {name} is named after an output, and there is none; '
                'name one, such as --out hits.gpkg'
            )
        if links:
            raise QueryError(
                'links are a layer of a GeoPackage, and none is written; add --out hits.gpkg'
            )
        folder = Path(clips) if clips else None
        return _Plan([], [], None, None, None, None, folder, None, tables)
    packages = _of(paths, suffixes, '.gpkg')
    first = paths[0], suffixes[0]
    for wanted, why in (
        (project, 'a project shows a GeoPackage'),
        (links, 'links are a layer of a GeoPackage'),
    ):
        if wanted and not packages:
            raise QueryError(
                f'{why}, and none is written; add --out {_named(*first, ".gpkg").name}'
            )
    return _Plan(
        paths,
        suffixes,
        packages[0] if packages else None,
        _named(packages[0], '.gpkg', '.qgz')
        if packages and (project or heatmap)
        else None,
        _named(*first, '_similarity.tif') if heatmap else None,
        _named(*first, '.html') if html else None,
        Path(clips) if clips else None,
        _named(*first, '.json') if manifest else None,
        tables,
    )


def _of(paths: Sequence[Path], suffixes: Sequence[str], wanted: str) -> list[Path]:
    return [p for p, s in zip(paths, suffixes, strict=True) if s == wanted]


def _named(path: Path, suffix: str, ending: str) -> Path:
    """Replace the suffix of a file, which may have two parts."""
    return path.with_name(path.name[: -len(suffix)] + ending)
