"""The verb search: what the words mean, and the answer as a table or as layers.

The module is long because the verb has many options and each reads its own kind of word.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgeo_cmr.cli.parser import words

if TYPE_CHECKING:
    import geopandas as gpd

    from torchgeo_cmr.search import RetrievalIndex, Where
    from torchgeo_cmr.table import EmbeddingTable


def search(
    archives: list[str],
    *,
    query: list[str] | None = None,
    refine: str | None = None,
    within: str | None = None,
    predicate: str = 'intersects',
    min_overlap: float | None = None,
    near: str | None = None,
    exclude_own: float | None = None,
    during: str | None = None,
    days: float | None = None,
    months: str | None = None,
    where: str | None = None,
    undated: bool = False,
    k: int = 10,
    min_score: float | None = None,
    spacing: float | None = None,
    max_overlap: float | None = None,
    diversity: float | None = None,
    approximate: bool = False,
    ckpt: str | None = None,
    modality: str | None = None,
    size: int | None = None,
    dataset: str | None = None,
    units: str | None = None,
    out: list[str] | None = None,
    project: bool = False,
    heatmap: bool = False,
    html: bool = False,
    clips: str | None = None,
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
    -k 20 --out hits.gpkg --project

    Ask with one patch, on nearly whole patches only:
    torchgeo-cmr search archive --query s2:scene.tif:0_32_32x32
    --where 'valid_fraction > 0.9'

    Ask for the like elsewhere: not within 2 km of the query, hits 500 m apart, summers only:
    torchgeo-cmr search archive --query -98.49,29.43 --exclude-own 2000 --spacing 500
    --months 6-8

    Ask with a new raster, which the checkpoint turns into vectors first:
    torchgeo-cmr search archive --query new.tif --ckpt best.ckpt --modality s1

    Ask with a spoken word, or with a photograph for the words that name it:
    torchgeo-cmr search images --query tanks.wav --ckpt best.ckpt
    torchgeo-cmr search spoken --query port.jpg --ckpt best.ckpt

    Ask again after marking hits as right or wrong (column relevant) in a GIS:
    torchgeo-cmr search archive --query queries --refine hits.gpkg

    Args:
        archives: Archive folders that embed wrote, or an index folder built from one; several
            are searched as one.
        query: What to look for; may be repeated. An archive folder (all its patches ask), a
            patch_id of the archives, a position LON,LAT in EPSG:4326 (all patches that cover
            it ask), or, with --ckpt, a WAV file, an image, a raster (with --modality), a
            folder of these or a quoted pattern.
        refine: Result of an earlier search in which hits are marked in the column relevant
            (true or false): each of its queries with a right hit asks anew, nearer to the
            right ones and farther from the wrong ones, and --query only weighs in.
        within: Area to search: a vector file with a CRS, or a box W,S,E,N in EPSG:4326,
            where W > E crosses the antimeridian.
        predicate: How a footprint must lie to the area, one of intersects, within, contains
            (the footprint holds the area), centroid.
        min_overlap: Least share of a footprint's ground that the area covers, such as 0.5.
        near: Place LON,LAT,METRES: only footprints at most so many metres from it.
        exclude_own: Metres: only footprints farther than this from the query's own; 0 leaves
            out those that touch it.
        during: Time window START/END, such as 2024-06-01/2024-07-01 for June; END itself is
            outside, times are UTC, and either may be left empty or be two dots.
        days: Only patches taken at most so many days before or after the query's own date.
        months: Months of any year, such as 6,7,8 or 6-8, or 11-2 over the new year.
        where: Condition on columns of the archive, such as 'cloud < 10 and source == "x"'.
        undated: Let patches without a date pass --during, --days and --months.
        k: Hits a query.
        min_score: Least score of a hit.
        spacing: Least metres between two hits of a query; the ranking goes on until K are
            found or the archive ends, as with the next two.
        max_overlap: Largest share of its ground that a hit may have in common with another.
        diversity: From 0 to 1, how much hits shall differ from one another (maximal marginal
            relevance); ranks then follow the choice and not the score.
        approximate: Allow an index that was built with an approximate part to use it; the
            column exact says whether it did.
        ckpt: Checkpoint that embeds query files; the one that made the archive.
        modality: Sensor of the query rasters, by the name used in training, such as s1; WAV
            files and plain images need none if one encoder alone can take them.
        size: Patch width in pixels of the query rasters; without it, that of the training.
        dataset: Python path of a TorchGeo raster dataset that opens the query rasters, such
            as torchgeo.datasets.Sentinel1.
        units: What radar pixels of the query rasters are where files do not say it: db, power
            or amplitude.
        out: File to write instead of a table in the terminal; may be repeated. The suffix
            names the format: .gpkg (for QGIS), .geojson, .parquet, .html, .tif (similarity
            raster) or .stac.json. The manifest NAME.json beside the first one is what replay
            reads.
        project: Write a QGIS project NAME.qgz beside the GeoPackage.
        heatmap: Write the best score of each place as NAME_similarity.tif; the project
            shows it.
        html: Write NAME.html, a page with map, table and thumbnails for any browser.
        clips: Folder to cut the pixels of the hits into, in every sensor whose scenes the
            archives name.
        overwrite: Replace files that are there.
        explain: Tell on stderr how many rows each filter left, and the time of each step.
        quiet: Show no progress bar while rasters are embedded.
    """
    command = ['torchgeo-cmr', 'search', *words(search, locals())]
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import check_all, make_record, write_all
    from torchgeo_cmr.search import Where, open_archives, rerank

    outputs: dict[str, Any] = {
        'project': project,
        'heatmap': heatmap,
        'html': html,
        'clips': clips,
        'manifest': True,
        'overwrite': overwrite,
    }
    check_all(out or [], **outputs)
    if k < 1:
        raise QueryError(f'-k is {k}: ask for at least 1 hit a query')
    if within is None and predicate != 'intersects':
        raise QueryError(f'--predicate {predicate} says nothing without --within')
    if not query and refine is None:
        raise QueryError('nothing is asked: say what to look for with --query')
    chosen = Where(
        None if within is None else _area(within),
        predicate=predicate,
        min_overlap=min_overlap,
        near=None if near is None else _place(near),
        beyond=exclude_own,
        during=None if during is None else _window(during),
        days=days,
        months=None if months is None else _months(months),
        where=where,
        undated=undated,
    )
    after = {'spacing': spacing, 'max_overlap': max_overlap, 'diversity': diversity}
    after = {name: value for name, value in after.items() if value is not None}
    if after and approximate:
        raise QueryError(
            f'--approximate does not go with --{next(iter(after)).replace("_", "-")}: leave one out'
        )
    index = open_archives(archives)
    chosen.check(index.columns)
    # A condition on a missing column should not wait for embedding.
    Where(where=where).rows(index.columns)
    queries = _asked(
        query, refine, index, ckpt, modality, size, dataset, units, progress=not quiet
    )
    if after:
        results = rerank(index, queries, k, where=chosen, min_score=min_score, **after)
    else:
        results = index.search(
            queries, k, where=chosen, exact=not approximate, min_score=min_score
        )
    if explain:
        told = index.explain(queries, k, where=chosen, exact=not approximate)
        sys.stderr.write(f'{told}\n')
    if len(results) < k * len(queries):
        left = [*(['min_score'] if min_score is not None else []), *after]
        sys.stderr.write(_shortfall(index, chosen, queries, len(results), k, left))
    if out or clips:
        tables = (
            {archives[0]: index.table}
            if len(archives) == 1
            else {name: open_archives(name).table for name in archives}
        )
        record = make_record(
            results,
            archives=tables,
            queries=queries,
            where=chosen,
            k=k,
            asked=query or [],
            command=command,
        )
        written = write_all(
            results,
            out or [],
            queries=queries,
            area=chosen.area,
            record=record,
            **outputs,
        )
        for path, told in written:
            sys.stdout.write(f'{path}: {told}\n')
    if not out:
        sys.stdout.write(_table(results))


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


def _place(word: str) -> tuple[tuple[float, float], float]:
    from torchgeo_cmr.errors import QueryError

    numbers = _numbers(word)
    if len(numbers) != 3:
        raise QueryError(
            f'--near {word} is no LON,LAT,METRES: write it like 9.19,45.46,5000'
        )
    return (numbers[0], numbers[1]), numbers[2]


def _months(word: str) -> list[int]:
    """Read months: 6,7,8 or 6-8, and 11-2 over the new year."""
    from torchgeo_cmr.errors import QueryError

    months: list[int] = []
    for part in word.split(','):
        first, dash, last = part.strip().partition('-')
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise QueryError(f'--months {word} is none: write them like 6,7,8 or 6-8')
        a, b = int(first), int(last) if dash else int(first)
        if not (1 <= a <= 12 and 1 <= b <= 12):
            raise QueryError(f'--months {word}: give numbers from 1 to 12')
        months += [(a + i - 1) % 12 + 1 for i in range((b - a) % 12 + 1)]
    return months


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


def _asked(
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
    from torchgeo_cmr.search import from_feedback

    queries = None
    if words:
        queries = _queries(
            words, index, ckpt, modality, size, dataset, units, progress=progress
        )
    if refine is not None:
        return from_feedback(index, refine, queries=queries)
    assert queries is not None  # search saw to it
    return queries


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
    """Turn what was asked into one table: archives, then patches, then rasters."""
    from torchgeo_cmr.search import at, from_ids, patch_ids
    from torchgeo_cmr.table import EmbeddingTable

    # Not read for archives alone: an index of a million rows opens without its ids.
    known: set[str] | None = None
    tables: list[EmbeddingTable] = []
    ids: list[str] = []
    rasters: list[str] = []
    for word in words:
        if (Path(word) / 'archive.json').exists():
            tables.append(EmbeddingTable.load(word))
            continue
        if known is None:
            known = set(patch_ids(archive).tolist())
        if word in known:
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
    if len(tables) == 1:
        return tables[0]
    return EmbeddingTable.concat(tables, strict=False)


def _check_raster(word: str, archive: 'RetrievalIndex', ckpt: str | None) -> None:
    """Refuse a word that is nothing, or a file that there is no encoder for."""
    import glob

    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import similar_ids

    if not Path(word).exists() and not glob.glob(word, recursive=True):
        raise QueryError(
            f'--query {word} is no file or folder, no patch_id and no LON,LAT; '
            f'{similar_ids(archive, word)}'
        )
    if ckpt is None and word.lower().endswith('.wav'):
        raise QueryError(
            f'--query {word} is sound: to ask with it, add --ckpt CHECKPOINT'
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
        # Each word by itself: sound does not go where images go.
        shown: dict[str, Any] = {'device': 'auto', 'progress': progress}
        made = [
            embed_sounds(model, word, **shown)
            if kind == 'sound'
            else embed_images(model, word, modality, size=size, **shown)
            for word, kind in kinds.items()
        ]
        return EmbeddingTable.concat(made, strict=False)
    if len(set(kinds.values())) > 1:
        raise QueryError(
            'ask with rasters in one search and with sound or plain images in another'
        )
    if modality is None:
        raise QueryError(
            f'--query {rasters[0]} is a raster: say its sensor with --modality, one of '
            f'{", ".join(model.keys)}'
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


def _shortfall(
    index: 'RetrievalIndex',
    where: 'Where',
    queries: 'EmbeddingTable',
    found: int,
    k: int,
    after: list[str],
) -> str:
    """Say why queries have fewer hits than were asked for."""
    first = queries.select([0])
    told = index.explain(first, k, where=where)
    why = [f'{s.clause} left {s.after} of {s.before}' for s in told.steps[:-1]]
    why = why or [f'the archive has {len(index)} rows']
    if told.undated and not where.undated:
        why.append(
            f'{told.undated} without a date were left out, --undated lets them pass'
        )
    if after:
        why.append(
            f'--{" and --".join(name.replace("_", "-") for name in after)} left out others'
        )
    if where.relative or after:
        lead = f'{found} hits for {len(queries)} queries of {k} each'
        if where.relative:
            lead += ', for the first'
        return f'{lead}: {"; ".join(why)}\n'
    return f'{told.rows} of {k} hits a query: {"; ".join(why)}\n'


def _table(results: 'gpd.GeoDataFrame') -> str:
    """Lay a result out for reading: one line a hit, columns as wide as they need."""
    from torchgeo_cmr.table.footprints import unwrap

    lines = [('query', 'rank', 'score', 'date', 'lon', 'lat', 'patch')]
    dates = results['time_start'].fillna(results['time_end']).dt.strftime('%Y-%m-%d')
    # Sound and plain images have no place.
    centres = [shape and unwrap(shape).centroid for shape in results.geometry]
    columns = (
        results['query_id'],
        results['rank'].astype(str),
        [f'{score:.4f}' for score in results['score']],
        dates.fillna('-'),
        [f'{(c.x + 180) % 360 - 180:.5f}' if c else '-' for c in centres],
        [f'{c.y:.5f}' if c else '-' for c in centres],
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
