"""The verb search: what the words mean, and the answer as a table or as layers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import geopandas as gpd

    from torchgeo_cmr.search import Where
    from torchgeo_cmr.table import EmbeddingTable


def search(
    archives: list[str],
    *,
    query: list[str],
    within: str | None = None,
    predicate: str = 'intersects',
    during: str | None = None,
    where: str | None = None,
    undated: bool = False,
    k: int = 10,
    ckpt: str | None = None,
    modality: str | None = None,
    size: int | None = None,
    dataset: str | None = None,
    units: str | None = None,
    out: list[str] | None = None,
    overwrite: bool = False,
    explain: bool = False,
    quiet: bool = False,
) -> None:
    """Find the patches of an archive that look most like a query.

    Area, dates and conditions are applied first, then what is left is ranked, so that you
    get K hits a query whenever K patches match, and never one from outside.

    Ask with another archive, of any sensor that the same checkpoint was trained on, in an
    area and in June 2024; read the answer in the terminal:
    torchgeo-cmr search archive --query queries --within area.gpkg
    --during 2024-06-01/2024-07-01

    Ask with what covers a place, in a box, for the 20 best, as a layer for QGIS:
    torchgeo-cmr search archive --query -98.49,29.43 --within -98.6,29.3,-98.4,29.5
    -k 20 --out hits.geojson

    Ask with one patch, on nearly whole patches only:
    torchgeo-cmr search archive --query s2:scene.tif:0_32_32x32
    --where 'valid_fraction > 0.9'

    Ask with a new raster, which the checkpoint turns into vectors first:
    torchgeo-cmr search archive --query new.tif --ckpt best.ckpt --modality s1

    Args:
        archives: Archive folders that embed wrote; several are searched as one.
        query: What to look for; may be repeated. An archive folder (all its patches ask), a
            patch_id of the archives, a position LON,LAT in EPSG:4326 (all patches that cover
            it ask), or, with --ckpt and --modality, a raster file, folder or quoted pattern.
        within: Area to search: a vector file with a CRS, or a box W,S,E,N in EPSG:4326,
            where W > E crosses the antimeridian.
        predicate: How a footprint must lie to the area, one of intersects, within, contains
            (the footprint holds the area), centroid.
        during: Time window START/END, such as 2024-06-01/2024-07-01 for June; END itself is
            outside, times are UTC, and either may be left empty or be two dots.
        where: Condition on columns of the archive, such as 'cloud < 10 and source == "x"'.
        undated: Let patches without a date pass --during.
        k: Hits a query.
        ckpt: Checkpoint that embeds query rasters; the one that made the archive.
        modality: Sensor of the query rasters, by the name used in training, such as s1.
        size: Patch width in pixels of the query rasters; without it, that of the training.
        dataset: Python path of a TorchGeo raster dataset that opens the query rasters, such
            as torchgeo.datasets.Sentinel1.
        units: What radar pixels of the query rasters are where files do not say it: db, power
            or amplitude.
        out: File to write instead of a table in the terminal; may be repeated. The suffix
            names the format; .geojson is known.
        overwrite: Replace files that are there.
        explain: Tell on stderr how many rows each filter left, and the time of each step.
        quiet: Show no progress bar while rasters are embedded.
    """
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import check_outputs, write
    from torchgeo_cmr.search import RetrievalIndex, Where
    from torchgeo_cmr.table import EmbeddingTable

    check_outputs(out or [], overwrite=overwrite)
    if k < 1:
        raise QueryError(f'-k is {k}: ask for at least 1 hit a query')
    if within is None and predicate != 'intersects':
        raise QueryError(f'--predicate {predicate} says nothing without --within')
    chosen = Where(
        None if within is None else _area(within),
        predicate=predicate,
        during=None if during is None else _window(during),
        where=where,
        undated=undated,
    )
    archive = _together([EmbeddingTable.load(folder) for folder in archives])
    chosen.check(archive)
    chosen.rows(
        archive
    )  # a condition on a missing column should not wait for embedding
    queries = _queries(
        query, archive, ckpt, modality, size, dataset, units, progress=not quiet
    )
    index = RetrievalIndex(archive)
    results = index.search(queries, k, where=chosen)
    if explain:
        sys.stderr.write(f'{index.explain(queries, k, where=chosen)}\n')
    if len(results) < k * len(queries):
        sys.stderr.write(_shortfall(archive, chosen, k))
    for path in out or []:
        write(results, path, queries=queries, area=chosen.area, overwrite=overwrite)
        sys.stdout.write(f'{path}: {len(results)} rows\n')
    if not out:
        sys.stdout.write(_table(results))


def _together(tables: list['EmbeddingTable']) -> 'EmbeddingTable':
    """Put tables below one another; what is said of their scenes need not agree."""
    from torchgeo_cmr.table import EmbeddingTable

    if len(tables) == 1:
        return tables[0]
    return EmbeddingTable.concat(tables, apart=True)


def _numbers(word: str) -> list[float]:
    """Read numbers between commas; none if a part is not a number."""
    try:
        return [float(part) for part in word.split(',')]
    except ValueError:
        return []


def _area(word: str) -> Any:
    from torchgeo_cmr.errors import QueryError

    numbers = _numbers(word)
    if not numbers or Path(word).exists():
        return word
    if len(numbers) != 4:
        raise QueryError(
            f'--within {word} has {len(numbers)} numbers: give W,S,E,N or a vector file'
        )
    return tuple(numbers)


def _window(word: str) -> tuple[str | None, str | None]:
    from torchgeo_cmr.errors import QueryError

    start, slash, end = (part.strip() for part in word.partition('/'))
    if not slash or '/' in end:
        raise QueryError(
            f'--during {word!r} is no window: write START/END, such as 2024-06-01/2024-07-01'
        )
    first, last = (None if part in ('', '..') else part for part in (start, end))
    if first is None and last is None:
        raise QueryError(f'--during {word!r} limits nothing: give a start or an end')
    return first, last


def _queries(
    words: list[str],
    archive: 'EmbeddingTable',
    ckpt: str | None,
    modality: str | None,
    size: int | None,
    dataset: str | None,
    units: str | None,
    *,
    progress: bool,
) -> 'EmbeddingTable':
    """Turn what was asked into one table: archives, then patches, then rasters."""
    from torchgeo_cmr.search import at, from_ids
    from torchgeo_cmr.table import EmbeddingTable

    known = set(archive.frame['patch_id'])
    tables: list[EmbeddingTable] = []
    ids: list[str] = []
    rasters: list[str] = []
    for word in words:
        if (Path(word) / 'archive.json').exists():
            tables.append(EmbeddingTable.load(word))
        elif word in known:
            ids.append(word)
        elif len(place := _numbers(word)) == 2 and not Path(word).exists():
            ids += at(archive, *place).frame['patch_id'].tolist()
        else:
            _check_raster(word, archive, ckpt)
            rasters.append(word)
    if ids:
        tables.append(from_ids(archive, ids))
    if rasters:
        assert ckpt is not None  # _check_raster saw to it
        made = _embed(
            rasters, ckpt, modality, size, dataset, units, archive.spaces, progress
        )
        tables.append(made)
    return _together(tables)


def _check_raster(word: str, archive: 'EmbeddingTable', ckpt: str | None) -> None:
    """Refuse a word that is nothing, or a file that there is no encoder for."""
    import glob

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import similar_ids

    if not Path(word).exists() and not glob.glob(word, recursive=True):
        raise QueryError(
            f'--query {word} is no file or folder, no patch_id and no LON,LAT; '
            f'{similar_ids(archive, word)}'
        )
    if ckpt is None:
        kind = 'a folder without archive.json' if Path(word).is_dir() else 'a file'
        raise QueryError(
            f'--query {word} is {kind}: to ask with rasters, add --ckpt CHECKPOINT and '
            '--modality NAME'
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
    """Embed query rasters: the only way from this verb to torch."""
    from torchgeo_cmr.embed import embed, open_dataset
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.tasks import load_task

    model = load_task(ckpt)
    if modality is None:
        raise QueryError(
            f'--query {rasters[0]} is a raster: say its sensor with --modality, one of '
            f'{", ".join(model.keys)}'
        )
    if spaces and model.space not in spaces:
        raise QueryError(
            f'{ckpt} embeds in space {model.space} and the archive is in '
            f'{" and ".join(spaces)}: give the checkpoint that made the archive'
        )
    spec = model.specs.get(modality, {})
    size = spec.get('patch_size') if size is None else size
    if size is None and modality in model.keys:
        raise QueryError(f'{ckpt} does not say how wide its patches were: give --size')
    return embed(
        model,
        rasters
        if dataset is None
        else open_dataset(dataset, rasters, spec.get('bands')),
        modality,
        1 if size is None else size,
        units=units,
        device='auto',
        progress=progress,
    )


def _shortfall(archive: 'EmbeddingTable', where: 'Where', k: int) -> str:
    """Say why a query has fewer hits than were asked for."""
    rows, steps = where.narrow(archive)
    told = [f'{step.clause} left {step.after} of {step.before}' for step in steps]
    why = '; '.join(told) or f'the archive has {len(archive)} rows'
    undated = sum(step.undated or 0 for step in steps)
    if undated and not where.undated:
        why += f'; {undated} without a date were left out, --undated lets them pass'
    return f'{len(rows)} of {k} hits a query: {why}\n'


def _table(results: 'gpd.GeoDataFrame') -> str:
    """Lay a result out for reading: one line a hit, columns as wide as they need."""
    from torchgeo_cmr.table.footprints import unwrap

    lines = [('query', 'rank', 'score', 'date', 'lon', 'lat', 'patch')]
    dates = results['time_start'].fillna(results['time_end']).dt.strftime('%Y-%m-%d')
    centres = [unwrap(shape).centroid for shape in results.geometry]
    columns = (
        results['query_id'],
        results['rank'].astype(str),
        [f'{score:.4f}' for score in results['score']],
        dates.fillna('-'),
        [f'{(centre.x + 180) % 360 - 180:.5f}' for centre in centres],
        [f'{centre.y:.5f}' for centre in centres],
        results['patch_id'],
    )
    lines += zip(*columns, strict=True)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = []
    for line in lines:
        cells = [
            # Words begin, numbers end, below one another.
            cell.ljust(width) if i in (0, 3, 6) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        rows.append('  '.join(cells).rstrip())
    return '\n'.join(rows) + '\n'
