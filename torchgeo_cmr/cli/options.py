"""Groups of options that several commands share."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from torchgeo_cmr.cli import values

if TYPE_CHECKING:
    from torchgeo_cmr.search import RetrievalIndex, Where
    from torchgeo_cmr.table import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """Filter: which patches are used at all.

    Args:
        within: Area: a vector file, of several layers FILE|layername=NAME, or a box
            W,S,E,N in EPSG:4326, where W > E crosses the antimeridian, or WKT with --crs.
        crs: CRS of --within, such as EPSG:32632, for a file that does not state its own or a box
            in other coordinates.
        predicate: How a footprint must relate to the area, one of intersects, within, contains
            (the footprint holds the area), centroid.
        during: Time window START/END, such as 2024-06-01/2024-07-01 for June; END itself is
            outside, times are UTC, and either may be empty or two dots, or a duration: 2024-06-01/P7D.
            Or one year, month or day, such as 2024-06, for the whole of it. Dates are ISO 8601.
        months: Months of any year, such as 6,7,8 or 6-8, or 11-2 over the new year.
        where: Condition on columns of the archive, as SQL, QGIS and CQL2 write it, such as
            "cloud < 10 and source = 'x'", or 'cloud < 10 and source == "x"'.
        modality: Only patches of this sensor, such as s2, or of several, such as s1,s2; may be
            repeated.
    """

    within: str | None = None
    crs: str | None = None
    predicate: str = 'intersects'
    during: str | None = None
    months: str | None = None
    where: str | None = None
    modality: list[str] | None = None

    @property
    def modalities(self) -> list[str] | None:
        """The sensors that may be found, if they are limited."""
        return values.several(self.modality)

    def read(self) -> 'Where':
        """Understand the filter, before any archive is opened.

        Raises:
            QueryError: If an option cannot be understood or needs another.
        """
        from torchgeo_cmr.errors import QueryError
        from torchgeo_cmr.search import Where

        if self.within is None and self.crs is not None:
            raise QueryError(
                f'--crs {self.crs} is the CRS of --within, which is missing'
            )
        if self.within is None and self.predicate != 'intersects':
            raise QueryError(f'--predicate {self.predicate} needs --within')
        return Where(
            None if self.within is None else values.area(self.within),
            self.crs,
            predicate=self.predicate,
            during=None if self.during is None else values.window(self.during),
            months=None if self.months is None else values.months(self.months),
            where=values.condition(self.where, self.modalities),
            **self._more(),
        )

    def _more(self) -> dict[str, Any]:
        """Give the arguments of the filter that a subclass adds."""
        return {}


@dataclass(frozen=True, kw_only=True)
class QueryFilterOptions(FilterOptions):
    """Filter: which patches may be found; the rest is ranked.

    Args:
        min_overlap: Least share of a footprint's ground that the area covers, such as 0.5.
        near: Only footprints at most so many metres from a place; 5km is 5000.
        exclude_own: Only footprints farther than this from the query's own; 0 excludes those
            that touch it. A query without a place excludes only itself.
        exclude_days: Exclude patches taken at most this many days before or after the query.
        days: Only patches taken at most so many days before or after the query's own date.
        undated: Let patches without a date pass --during, --days and --months.
        include_self: Also find query patches of the archive, and patches given as examples;
            they are excluded otherwise.
    """

    min_overlap: float | None = None
    near: str | None = None
    exclude_own: float | None = None
    exclude_days: float | None = None
    days: float | None = None
    undated: bool = False
    include_self: bool = False

    def _more(self) -> dict[str, Any]:
        return {
            'min_overlap': self.min_overlap,
            'near': None if self.near is None else values.place(self.near),
            'beyond': self.exclude_own,
            'days': self.days,
            'undated': self.undated,
        }

    def check(self, index: 'RetrievalIndex', where: 'Where') -> None:
        """Refuse what the archive lacks, before queries are embedded."""
        from torchgeo_cmr.search import Where

        where.check(index.columns)
        # A condition on a missing column should not wait for embedding.
        Where(where=where.where).rows(index.columns)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Output: where the answer goes.

    Args:
        out: File to write; may be repeated. The suffix names the format: .gpkg (for QGIS),
            .geojson, .fgb, .csv or .parquet. Without it search prints a table.
        overwrite: Replace existing files.
    """

    out: list[str] | None = None
    overwrite: bool = False

    @property
    def files(self) -> list[str]:
        """Files to write."""
        return self.out or []

    def written(self) -> dict[str, Any]:
        """Give the arguments of :func:`~torchgeo_cmr.export.write_all`."""
        return {name: value for name, value in vars(self).items() if name != 'out'}

    def check(self, **outputs: Any) -> None:
        """Refuse what could not be written, before any work is done for it.

        Args:
            outputs: What else is written, as for :func:`~torchgeo_cmr.export.check_all`.

        Raises:
            QueryError: If a format is unknown or an option needs another.
            OutputExistsError: If a file exists and may not be replaced.
        """
        # Writing takes half a second to be loaded.
        if self.files or any(self.written().values()):
            from torchgeo_cmr.export import check_all

            check_all(self.files, **self.written(), **outputs)


@dataclass(frozen=True, kw_only=True)
class OutputOptions(FileOptions):
    """Output: where the answer goes.

    Args:
        out: File to write; may be repeated. The suffix names the format: .gpkg (for QGIS),
            .geojson, .fgb, .csv, .parquet, .html, .tif (similarity raster) or .stac.json. A
            table that QGIS shows live is postgresql://USER@HOST/DATABASE?table=NAME. Without
            it search prints a table.
        project: Write a QGIS project NAME.qgz next to the GeoPackage.
        heatmap: Write the best score of each place as NAME_similarity.tif; the project
            shows it.
        html: Write NAME.html, a page with map, table and thumbnails for any browser.
    """

    project: bool = False
    heatmap: bool = False
    html: bool = False


@dataclass(frozen=True, kw_only=True)
class ResultOptions(OutputOptions):
    """Output: where the answer goes.

    Args:
        clips: Folder to cut the pixels of the hits into, in every sensor whose scenes the
            archives name.
        links: Draw lines from each query to its hits, as a layer of the GeoPackage.
    """

    clips: str | None = None
    links: bool = False


@dataclass(frozen=True, kw_only=True)
class ParquetOptions:
    """Embeddings of others: how Parquet files are read.

    Args:
        vector_column: Column of the vectors, or how columns of single numbers begin: emb_ for
            emb_0, emb_1, ...
        geometry_column: Column of the places: WKB, WKT, a box or a point; or two, lon,lat.
        time_column: Column of the times, or two, start,end; an empty word for none.
        id_column: Column that becomes patch_id; an empty word to number rows.
        scale: What stored numbers are multiplied by: a number, one per component with commas
            between, or a column with one per row.
        offset: What is added to that, one number or one per component.
        metres: Width of the square that a point becomes; without it points stay points.
        crs: CRS of the places, if the file does not state it.
        within: Box W,S,E,N in EPSG:4326: only rows that it touches are read.
        space: What the vectors may be compared with: one name for all vectors of a model.
        modality: Name of the modality.
        drop_missing: Leave out rows whose vector is null, NaN or only zeros, or that have no
            place.
        placeless: Rows may have no place.
    """

    vector_column: str | None = None
    geometry_column: str | None = None
    time_column: str | None = None
    id_column: str | None = None
    scale: str | None = None
    offset: str | None = None
    metres: float | None = None
    crs: str | None = None
    within: str | None = None
    space: str | None = None
    modality: str | None = None
    drop_missing: bool = False
    placeless: bool = False

    @property
    def names(self) -> list[str]:
        """The options that were given."""
        default = type(self)()
        return [n for n, v in vars(self).items() if v != getattr(default, n)]

    def read(self, paths: list[str]) -> 'EmbeddingTable':
        """Read Parquet files as a table.

        Raises:
            ArchiveError: As :meth:`EmbeddingTable.from_parquet`, its arguments named as options.
            QueryError: If an option is not what it should be.
        """
        from torchgeo_cmr.errors import ArchiveError, QueryError
        from torchgeo_cmr.table import EmbeddingTable

        given = dict(vars(self))
        columns = {
            name: given.pop(f'{name}_column')
            for name in ('vector', 'geometry', 'time', 'id')
        }
        within = given.pop('within')
        area = None if within is None else tuple(values.numbers(within))
        if area is not None and len(area) != 4:
            raise QueryError(f'--within {within} is not a box: give W,S,E,N in degrees')
        for name in ('scale', 'offset'):
            word = given[name]
            numbers = [] if word is None else values.numbers(word)
            if word is not None and numbers:
                given[name] = numbers[0] if len(numbers) == 1 else numbers
            elif word is not None and name == 'offset':
                raise QueryError(
                    f'--offset {word} is not a number: give one or several'
                )
        try:
            return EmbeddingTable.from_parquet(
                paths, **columns, **given, area=cast(Any, area)
            )
        except ArchiveError as error:
            raise ArchiveError(_as_options(str(error))) from error


def _as_options(message: str) -> str:
    """Name arguments of Python as the options that they are here."""
    message = re.sub(r'\b(vector|geometry|time|id)=', r'--\1-column ', message)
    message = re.sub(r'\b(crs|scale|offset)=', r'--\1 ', message)
    message = re.sub(r'\bplaceless=True', '--placeless', message)
    return re.sub(r'\bdrop_missing=True', '--drop-missing', message)
