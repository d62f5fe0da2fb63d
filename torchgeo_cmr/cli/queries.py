"""One table of queries from --query, --and, --unlike, --examples and --refine."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgeo_cmr.cli.values import numbers

if TYPE_CHECKING:
    from collections.abc import Collection

    from torchgeo_cmr.search import RetrievalIndex
    from torchgeo_cmr.table import EmbeddingTable


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


def asked(
    words: list[str] | None,
    refine: str | None,
    index: 'RetrievalIndex',
    ckpt: str | None,
    modality: str | None,
    size: int | None,
    dataset: str | None,
    units: str | None,
    *,
    progress: bool,
) -> 'EmbeddingTable':
    """Give the queries, refined if hits were marked."""
    queries = None
    if words:
        queries = _queries(
            words, index, ckpt, modality, size, dataset, units, progress=progress
        )
    if refine is not None:
        from torchgeo_cmr.search import from_feedback

        return from_feedback(index, refine, queries=queries)
    assert queries is not None  # search saw to it
    return queries


def combined(
    queries: 'EmbeddingTable',
    others: list[str] | None,
    unlike: list[str] | None,
    examples: str | None,
    index: 'RetrievalIndex',
) -> 'EmbeddingTable':
    """Add other sensors to the queries, and make one query of right and wrong examples."""
    if others:
        from torchgeo_cmr.search import blend, open_archives

        queries = blend([queries, *(open_archives(other).table for other in others)])
    if unlike or examples:
        from torchgeo_cmr.search import from_examples

        wrong = None
        if unlike:
            none = None, None, None, None, None
            wrong = _queries(unlike, index, *none, progress=False)
        method = examples or 'rocchio'
        queries = _of_kind(from_examples(queries, wrong, method=method), 'table')
    return queries


def check_modality(
    index: 'RetrievalIndex',
    modality: list[str] | None,
    query_modality: str | None,
    ckpt: str | None,
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
                + (_MEANT.format(sensor) if ckpt and query_modality is None else '')
            )


def _queries(
    words: list[str],
    archive: 'RetrievalIndex',
    ckpt: str | None,
    modality: str | None,
    size: int | None,
    dataset: str | None,
    units: str | None,
    *,
    progress: bool,
) -> 'EmbeddingTable':
    """Turn the queries into one table: archives and drawn places, then patches, then rasters."""
    from torchgeo_cmr.search import at, from_ids, open_archives, patch_ids
    from torchgeo_cmr.search.queries.lookup import OutsideError
    from torchgeo_cmr.table import EmbeddingTable
    from torchgeo_cmr.table.sink import is_archive

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
            _check_raster(word, archive, ckpt)
            rasters.append(word)
    if ids:
        tables.append(_of_kind(from_ids(archive, list(ids)), list(ids.values())))
    if rasters:
        assert ckpt is not None  # _check_raster saw to it
        made = _embed(
            rasters, ckpt, modality, size, dataset, units, archive.spaces, progress
        )
        tables.append(made)
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


def _check_raster(word: str, archive: 'RetrievalIndex', ckpt: str | None) -> None:
    """Refuse a word that is nothing, or a file that there is no encoder for."""
    import glob

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import similar_ids

    if not Path(word).exists() and not glob.glob(word, recursive=True):
        raise QueryError(
            f'--query {word} is not a file or folder, a patch_id or LON,LAT; '
            f'{similar_ids(archive, word)}'
        )
    if ckpt is None and word.lower().endswith('.wav'):
        raise QueryError(
            f'--query {word} is sound: to use it as a query, add --ckpt CHECKPOINT'
        )
    if ckpt is None:
        kind = 'a folder without _archive.json' if Path(word).is_dir() else 'a file'
        raise QueryError(
            f'--query {word} is {kind}: to use rasters as queries, add --ckpt CHECKPOINT and '
            '--query-modality NAME'
        )


def _embed(
    rasters: list[str],
    ckpt: str,
    modality: str | None,
    size: int | None,
    dataset: str | None,
    units: str | None,
    spaces: tuple[str, ...],
    progress: bool,
) -> 'EmbeddingTable':
    """Embed query files: the only way from this verb to torch."""
    from torchgeo_cmr.embed import (
        embed,
        embed_images,
        embed_sounds,
        kind_of,
        open_dataset,
    )
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.table import EmbeddingTable
    from torchgeo_cmr.tasks import load_task

    model = load_task(ckpt)
    if spaces and model.space not in spaces:
        raise QueryError(
            f'{ckpt} embeds in space {model.space} and the archive is in '
            f'{" and ".join(spaces)}: give the checkpoint that made the archive'
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
        raise QueryError(f'{ckpt} does not say how wide its patches were: give --size')
    files: Any = rasters
    if dataset is not None:
        files = open_dataset(dataset, rasters, spec.get('bands'))
    width = 1 if size is None else size
    made = embed(
        model, files, modality, width, units=units, device='auto', progress=progress
    )
    return _of_kind(made, 'image')


def _places(
    word: str, archive: 'RetrievalIndex', taken: 'Collection[str]'
) -> 'EmbeddingTable':
    """Query with the features of a vector file, by their names or by the file's and numbers."""
    from torchgeo_cmr.search import from_places

    table = _of_kind(from_places(archive, word), 'location')
    names = table.frame['patch_id'].tolist()
    if not set(names).isdisjoint(taken) or all(_NUMBERED.fullmatch(n) for n in names):
        names = [f'{Path(word).name}:{_NUMBERED.sub(r"\1", name)}' for name in names]
    return replace(table, frame=table.frame.assign(patch_id=names))


def _of_kind(table: 'EmbeddingTable', kind: str | list[str]) -> 'EmbeddingTable':
    """Add the kind of each query, for the layer of queries."""
    frame = table.frame.drop(columns='kind', errors='ignore')
    frame.insert(len(frame.columns) - 1, 'kind', kind)
    return replace(table, frame=frame)
