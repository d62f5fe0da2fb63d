"""What search prints: its hits as a table, and why there are fewer than requested."""

import sys
from typing import TYPE_CHECKING, Any

from torchgeo_cmr.cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import geopandas as gpd
    import pandas as pd

    from torchgeo_cmr.cli.options import FileOptions
    from torchgeo_cmr.search import Ranking, RetrievalIndex, Where
    from torchgeo_cmr.table import EmbeddingTable


def deliver(
    rows: 'gpd.GeoDataFrame',
    output: 'FileOptions',
    laid_out: 'Callable[[gpd.GeoDataFrame], str]',
    area: Any = None,
) -> None:
    """Write the requested files, or print the rows as a table if there are none."""
    if not output.files:
        sys.stdout.write(laid_out(rows))
        return
    from torchgeo_cmr.export import write_all

    for path, summary in write_all(rows, output.files, area=area, **output.written()):
        sys.stdout.write(f'{path}: {summary}\n')


def shortfall(
    index: 'RetrievalIndex',
    where: 'Where',
    queries: 'EmbeddingTable',
    found: int,
    rule: 'Ranking',
) -> str:
    """Explain why queries have fewer hits than requested."""
    k = rule.k or len(index)
    after = [*(['min_score'] if rule.min_score is not None else []), *rule.spread]
    explanation = index.explain(queries.select([0]), k, where=where, **rule.excluded)
    why = [f'{s.clause} left {s.after} of {s.before}' for s in explanation.steps[:-1]]
    why = why or [f'the archive has {len(index)} rows']
    if explanation.undated and not where.undated:
        why.append(
            f'{explanation.undated} without a date were filtered out; --undated keeps them'
        )
    why += explanation.unmet
    same = explanation.found * len(queries) == found
    if after and explanation.rows and not same:
        why.append(
            f'--{" and --".join(name.replace("_", "-") for name in after)} removed others'
        )
    if where.relative or after or not same:
        each = f' of {rule.k} each' if rule.k else ''
        lead = f'{found} hits for {len(queries)} queries{each}'
        if where.relative or not (after or same):
            lead += ', for the first'
        return f'{lead}: {"; ".join(why)}\n'
    return f'{explanation.found} of {k} hits per query: {"; ".join(why)}\n'


def vain(index: 'RetrievalIndex', where: 'Where') -> str:
    """Say what a filter that left no row compares in vain, as the rest of a line."""
    from torchgeo_cmr.search.store.explanation import unmet

    return ''.join(
        f'; {printable(sentence)}' for sentence in unmet(index, where, left=0)
    )


def hit_table(results: 'gpd.GeoDataFrame') -> str:
    """Lay a result out for reading: one line a hit, columns as wide as they need."""
    heads = ('query', 'rank', 'score', 'date', 'lon', 'lat', 'patch')
    # The class of a file: the word that is spoken, or what an image shows.
    named = 'label' in results and results['label'].notna().any()
    lines = [(*heads, 'label') if named else heads]
    columns = (
        results['query_id'],
        results['rank'].astype(str),
        [f'{score:.4f}' for score in results['score']],
        _days(results),
        *_middles(results),
        results['patch_id'],
        *([results['label'].fillna('-').astype(str)] if named else []),
    )
    lines += zip(*columns, strict=True)
    return _laid_out(lines, (0, 3, 6, 7))


def change_table(results: 'gpd.GeoDataFrame') -> str:
    """Lay out places that changed: both patches, from when to when."""
    lines = [('rank', 'score', 'from', 'to', 'patch', 'other patch')]
    before = results['other_time_start'].dt.strftime('%Y-%m-%d').fillna('-')
    after = results['time_start'].dt.strftime('%Y-%m-%d').fillna('-')
    ranks = results['rank'].astype(str)
    scores = [f'{score:.4f}' for score in results['score']]
    names = results['patch_id'], results['other_patch_id']
    lines += zip(ranks, scores, before, after, *names, strict=True)
    return _laid_out(lines, (2, 3, 4, 5))


def group_table(rows: 'gpd.GeoDataFrame') -> str:
    """Lay out patches that look the same, group by group."""
    lines = [('group', 'date', 'lon', 'lat', 'patch')]
    columns = (
        rows['group'].astype(str),
        _days(rows),
        *_middles(rows),
        rows['patch_id'],
    )
    lines += zip(*columns, strict=True)
    return _laid_out(lines, (1, 4))


def _days(rows: 'gpd.GeoDataFrame') -> 'pd.Series':
    """Give the day of each row, a dash without one."""
    dates = rows['time_start'].fillna(rows['time_end'])
    return dates.dt.strftime('%Y-%m-%d').fillna('-')


def _middles(rows: 'gpd.GeoDataFrame') -> tuple[list[str], list[str]]:
    """Give longitude and latitude of the middle of each footprint, a dash without one."""
    from torchgeo_cmr.table.footprints import unwrap

    # Sound and plain images have no place.
    centres = [shape and unwrap(shape).centroid for shape in rows.geometry]
    return (
        [f'{(c.x + 180) % 360 - 180:.5f}' if c else '-' for c in centres],
        [f'{c.y:.5f}' if c else '-' for c in centres],
    )


def _laid_out(lines: 'Sequence[tuple[str, ...]]', words: tuple[int, ...]) -> str:
    """Put columns below one another, as wide as they need; some of them hold words."""
    lines = [tuple(map(printable, line)) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = []
    for line in lines:
        cells = [
            # Words begin, numbers end, below one another.
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        rows.append('  '.join(cells).rstrip())
    return '\n'.join(rows) + '\n'
