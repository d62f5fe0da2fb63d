"""One table of queries from --query, --and, --unlike, --examples and --refine."""

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgeo_cmr.cli.chosen_encoder import check_encoder, read_encoder, set_measured
from torchgeo_cmr.cli.values import numbers

if TYPE_CHECKING:
    from collections.abc import Collection

    from torchgeo_cmr.search import RetrievalIndex
    from torchgeo_cmr.table import EmbeddingTable
    from torchgeo_cmr.tasks import CrossModalTask


_LOG = logging.getLogger(__name__)
#: For who gives the sensor of query rasters as it was given before.
_MEANT = '; the sensor of query rasters is --query-modality {}'
#: What places are called that have no name.
_NUMBERED = re.compile(r'place([0-9]+)')
#: What files of places end in; rasters of this kind are not known.
_DRAWN = (
    *('.geojson', '.json', '.gpkg', '.shp', '.shz', '.fgb', '.gml', '.kml', '.kmz'),
    *('.gpx', '.parquet', '.geoparquet'),
)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Model: what turns query files into vectors.

    Args:
        ckpt: Checkpoint that embeds query files; the one that made the archive.
        model: In place of a checkpoint: MODEL or MODEL:WEIGHTS, as the archive was made with.
        bands: With --model: names of the bands of the query rasters, such as B02,B03,B04.
        normalize: With --model: weights or data, as the archive was made with; data takes the
            mean and deviation of the query rasters.
        query_modality: Sensor of the query rasters, by the name used in training, such as s1;
            WAV files and plain images need none if one encoder alone can take them.
        size: Patch width in pixels of the query rasters; without it, that of the training.
        dataset: Python path of a TorchGeo raster dataset that opens the query rasters, such
            as torchgeo.datasets.Sentinel1.
        units: What radar pixels of the query rasters are where files do not say it: db, power
            or amplitude.
    """

    ckpt: str | None = None
    model: str | None = None
    bands: str | None = None
    normalize: str | None = None
    query_modality: str | None = None
    size: int | None = None
    dataset: str | None = None
    units: str | None = None

    @property
    def encoder(self) -> str | None:
        """What embeds query files, None if nothing does."""
        return self.ckpt or self.model

    @property
    def of_files(self) -> list[str]:
        """The options that were given and say how query files are read."""
        names = 'bands', 'normalize', 'query_modality', 'size', 'dataset', 'units'
        given = [name for name in names if getattr(self, name) is not None]
        return [f'--{name.replace("_", "-")}' for name in given]

    def read(self) -> 'CrossModalTask':
        """Load or build it."""
        named = [self.query_modality] if self.query_modality else None
        return read_encoder(
            self.ckpt, self.model, named, self.bands, normalize=self.normalize
        )


@dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """Query: what to look for.

    Args:
        query: What to look for; may be repeated. An archive folder (all its patches), a
            patch_id of the archives, a position LON,LAT in EPSG:4326 (all patches that cover
            it), a vector file of places (for each feature the mean of the patches it
            touches), or, with --ckpt, a WAV file, an image, a raster (with --query-modality), a
            folder of these or a quoted pattern.
        unlike: What hits should not look like, given as for --query but without rasters; may be
            repeated. All of --query then form one query, as examples of what is right.
        examples: Make one query of all of --query: mean (of their vectors), rocchio (the
            mean, away from --unlike) or logistic (the plane that separates --query
            from --unlike, for several of each); rocchio with --unlike if not given.
        and_: Archive folder of another sensor: each patch of --query is combined with the
            one of this archive on the same ground; those without one are skipped; may be
            repeated.
        refine: Result of an earlier search in which hits are marked in the column relevant
            (true or false): each of its queries with a right hit is repeated, nearer to the
            right ones and farther from the wrong ones; --query only adds to them.
    """

    query: list[str] | None = None
    unlike: list[str] | None = None
    examples: str | None = None
    and_: list[str] | None = None
    refine: str | None = None

    def check(self) -> None:
        """Refuse a missing query, and what does not go with --refine.

        Raises:
            QueryError: If there is nothing to look for, or options exclude each other.
        """
        from torchgeo_cmr.errors import QueryError

        if self.refine is not None and (self.unlike or self.and_ or self.examples):
            raise QueryError(
                '--refine takes the marks of a result as queries: drop --unlike, --examples and '
                '--and'
            )
        if not self.query and self.refine is None:
            raise QueryError('no query given: say what to look for with --query')

    def read(
        self, index: 'RetrievalIndex', model: ModelOptions, *, progress: bool
    ) -> 'EmbeddingTable':
        """Give one table of queries: files are embedded, examples and sensors combined.

        Raises:
            QueryError: If a query is not in the archive, or is a file without a checkpoint.
        """
        from torchgeo_cmr.search import (
            blend,
            from_examples,
            from_feedback,
            open_archives,
        )

        queries = None
        if self.query:
            queries = _queries(self.query, index, model, progress=progress)
        if self.refine is not None:
            return from_feedback(index, self.refine, queries=queries)
        assert queries is not None  # check saw to it
        if self.and_:
            others = (open_archives(other).table for other in self.and_)
            queries = blend([queries, *others])
        if self.unlike or self.examples:
            wrong = None
            if self.unlike:
                wrong = _queries(self.unlike, index, ModelOptions(), progress=False)
            method = self.examples or 'rocchio'
            queries = _of_kind(from_examples(queries, wrong, method=method), 'table')
        return queries


def check_modality(
    index: 'RetrievalIndex', modality: list[str] | None, model: ModelOptions
) -> None:
    """Refuse a sensor that the archive does not have, perhaps meant for query rasters."""
    from torchgeo_cmr.errors import QueryError

    if not modality:
        return
    column = index.columns.attributes(index.rows(), ['modality'])['modality']
    known = sorted(map(str, column.dropna().unique()))
    for sensor in modality:
        if sensor not in known:
            raise QueryError(
                f'--modality {sensor}: the archive has {", ".join(known) or "none that is known"}'
                + (
                    _MEANT.format(sensor)
                    if model.encoder and model.query_modality is None
                    else ''
                )
            )


def _queries(
    words: list[str], archive: 'RetrievalIndex', model: ModelOptions, *, progress: bool
) -> 'EmbeddingTable':
    """Turn the queries into one table: archives and drawn places, then patches, then rasters."""
    from torchgeo_cmr.search import at, from_ids, open_archives, patch_ids
    from torchgeo_cmr.search.queries.lookup import OutsideError
    from torchgeo_cmr.table import EmbeddingTable
    from torchgeo_cmr.table.archive.folder import is_archive

    # Not read for archives alone: an index of a million rows opens without its ids.
    known: set[str] | None = None
    tables: list[EmbeddingTable] = []
    #: patch_id -> kind of query; a patch named twice is one query.
    ids: dict[str, str] = {}
    rasters: list[str] = []
    outside: list[OutsideError] = []
    for word in words:
        if is_archive(word) or (Path(word) / 'index.json').exists():
            tables.append(_of_kind(open_archives(word).table, 'table'))
            continue
        if known is None:
            known = set(patch_ids(archive).tolist())
        if word in known:
            ids.setdefault(word, 'patch')
        elif _drawn(word):
            taken = {name for table in tables for name in table.frame['patch_id']}
            try:
                tables.append(_places(word, archive, taken))
            except OutsideError as error:
                outside.append(error)
        elif len(place := numbers(word)) == 2 and not Path(word).exists():
            try:
                for patch_id in at(archive, *place).frame['patch_id']:
                    ids.setdefault(patch_id, 'location')
            except OutsideError as error:
                outside.append(error)
        else:
            _check_raster(word, archive, model.encoder)
            rasters.append(word)
    if ids:
        tables.append(_of_kind(from_ids(archive, list(ids)), list(ids.values())))
    if rasters:
        check_encoder(model.ckpt, model.model, model.bands, model.normalize)
        tables.append(_embed(rasters, model, archive.spaces, progress))
    elif model.of_files:
        _LOG.warning(
            'no word of --query is a raster, an image or sound, so %s without effect',
            ' and '.join(model.of_files) + (' is', ' are')[len(model.of_files) > 1],
        )
    if not tables:
        raise outside[0]
    for error in outside:
        _LOG.warning('%s: that query is skipped', error)
    if len(tables) == 1:
        return tables[0]
    return EmbeddingTable.concat(tables, strict=False)


def _drawn(word: str) -> bool:
    """Say whether a word is a vector file, perhaps with the name of a layer."""
    path = Path(word if Path(word).exists() else word.split('|')[0]).expanduser()
    return path.is_file() and path.suffix.lower() in _DRAWN


def _check_raster(word: str, archive: 'RetrievalIndex', encoder: str | None) -> None:
    """Refuse a word that is nothing, or a file that there is no encoder for."""
    import glob

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.regular_files import check_not_address
    from torchgeo_cmr.search import similar_ids

    if not Path(word).exists() and not glob.glob(word, recursive=True):
        check_not_address(word, QueryError)
        raise QueryError(
            f'--query {word} is not a file or folder, a patch_id or LON,LAT; '
            f'{similar_ids(archive, word)}'
        )
    if encoder is None and word.lower().endswith('.wav'):
        raise QueryError(
            f'--query {word} is sound: to use it as a query, add --ckpt CHECKPOINT'
        )
    if encoder is None:
        kind = 'a folder without _archive.json' if Path(word).is_dir() else 'a file'
        raise QueryError(
            f'--query {word} is {kind}: to use rasters as queries, add --ckpt CHECKPOINT and '
            '--query-modality NAME'
        )


def _embed(
    rasters: list[str], options: ModelOptions, spaces: tuple[str, ...], progress: bool
) -> 'EmbeddingTable':
    """Embed query files: the only way from this command to torch."""
    from torchgeo_cmr.embed import (
        embed,
        embed_images,
        embed_sounds,
        kind_of,
        measure_pixels,
        open_dataset,
    )
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.table import EmbeddingTable

    encoder, modality, size = options.encoder, options.query_modality, options.size
    dataset, units = options.dataset, options.units
    model = options.read()
    if spaces and model.space not in spaces:
        raise QueryError(
            f'{encoder} embeds in space {model.space} and the archive is in '
            f'{" and ".join(spaces)}: give the checkpoint or model that made the archive'
        )
    kinds = {word: kind_of(word) if dataset is None else 'raster' for word in rasters}
    if 'raster' not in kinds.values():
        # Each word on its own: sound does not go where images go.
        shown: dict[str, Any] = {'device': 'auto', 'progress': progress}
        made = [
            _of_kind(embed_sounds(model, word, **shown), 'audio')
            if kind == 'sound'
            else _of_kind(
                embed_images(model, word, modality, size=size, **shown), 'image'
            )
            for word, kind in kinds.items()
        ]
        return EmbeddingTable.concat(made, strict=False)
    if len(set(kinds.values())) > 1:
        raise QueryError(
            'use rasters as queries in one search and sound or plain images in another'
        )
    if modality is None:
        raise QueryError(
            f'--query {rasters[0]} is a raster: say its sensor with --query-modality, one of '
            f'{", ".join(model.keys)} (--modality is for the patches of the archive)'
        )
    spec = model.specs.get(modality, {})
    size = spec.get('patch_size') if size is None else size
    if size is None and modality in model.keys:
        raise QueryError(
            f'{encoder} does not say how wide its patches were: give --size'
        )
    files: Any = rasters
    if dataset is not None:
        files = open_dataset(dataset, rasters, spec.get('bands'))
    width = 1 if size is None else size
    if options.normalize == 'data':
        set_measured(
            model, {modality: measure_pixels(model, files, modality, units=units)}
        )
    made = embed(
        model, files, modality, width, units=units, device='auto', progress=progress
    )
    return _of_kind(made, 'image')


def _places(
    word: str, archive: 'RetrievalIndex', taken: 'Collection[str]'
) -> 'EmbeddingTable':
    """Query with the features of a vector file, by their names or by the file's and numbers."""
    from torchgeo_cmr.search import from_places
    from torchgeo_cmr.vectors.vector_file import read_frame

    frame = read_frame(word, 'file of places')
    table = _of_kind(from_places(archive, frame), 'location')
    if {'query_id', 'rank', 'score', 'patch_id'} <= {*frame}:
        _LOG.info(
            '%s holds hits of a search: each is a place to ask with, which makes %d queries',
            word,
            len(table),
        )
    names = table.frame['patch_id'].tolist()
    if not set(names).isdisjoint(taken) or all(_NUMBERED.fullmatch(n) for n in names):
        names = [f'{Path(word).name}:{_NUMBERED.sub(r"\1", name)}' for name in names]
    return replace(table, frame=table.frame.assign(patch_id=names))


def _of_kind(table: 'EmbeddingTable', kind: str | list[str]) -> 'EmbeddingTable':
    """Add the kind of each query, for the layer of queries."""
    frame = table.frame.drop(columns='kind', errors='ignore')
    frame.insert(len(frame.columns) - 1, 'kind', kind)
    return replace(table, frame=frame)
