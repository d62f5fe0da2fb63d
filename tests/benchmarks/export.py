"""What a finished GeoPackage costs beside a bare one.

The same rows are written in turns by ``GeoDataFrame.to_file`` (footprints as the search gave
them, no style) and by ``to_geopackage`` (edges divided into eight, styles, types, checks, one
query, an area and a record). The table shows the medians::

    python tests/benchmarks/export.py --json export.json

The file has ``command``, ``rows`` and ``seed``; ``seconds``, every run of each way (``bare``,
``finished``) in order; ``median`` of each and ``ratio``, finished over bare; ``bytes`` of each
file; ``peak_memory_mb`` of the process; ``versions`` of Python and the libraries.
"""

import argparse
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from torchgeo_cmr.export import to_geopackage
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable


def search(rows: int, seed: int) -> tuple[EmbeddingTable, gpd.GeoDataFrame]:
    """Make an archive of patches of 320 m and rank all of it.

    Args:
        rows: Rows of the result.
        seed: Seed of the vectors.

    Returns:
        The query and its result.
    """
    side = int(np.ceil(np.sqrt(rows)))
    i = np.arange(rows)
    # Two zones, as an archive of Sentinel tiles has.
    zone = np.where(i % 2, 32633, 32632)
    x, y = 3e5 + 320.0 * (i % side), 5e6 + 320.0 * (i // side)
    corners = np.stack([x, y + 320, x + 320, y + 320, x + 320, y, x, y], axis=1)
    boxes = shapely.box(x, y, x + 320, y + 320)
    parts = []
    for code in (32632, 32633):
        own = zone == code
        part = gpd.GeoDataFrame(
            {
                'patch_id': [f's2:tiles/{code}.tif:{n}_0_32x32' for n in i[own]],
                'source': f'tiles/{code}.tif',
                'time_start': pd.Timestamp('2024-06-01T10:30Z'),
                'time_end': pd.Timestamp('2024-06-01T10:30:05Z'),
                'src_crs': f'EPSG:{code}',
                'native_corners': list(corners[own]),
                'valid_fraction': 1.0,
            },
            geometry=boxes[own],
            crs=code,
        )
        parts.append(part.to_crs(4326))
    frame = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=4326)
    vectors = np.random.default_rng(seed).normal(size=(rows, 8))
    table = EmbeddingTable.from_frame(frame, vectors, space='bench', modality='s2')
    query = table.select([0])
    return query, RetrievalIndex(table).search(query, rows, exclude=None)


def run(rows: int, repeats: int, seed: int, folder: Path) -> dict[str, Any]:
    """Write in turns and take medians.

    Args:
        rows: Rows of the result.
        repeats: Times each way is measured, after one that does not count.
        seed: Seed of the vectors.
        folder: Where to write.

    Returns:
        Seconds of every run, medians and their ratio, with command and versions.
    """
    query, results = search(rows, seed)
    plain = results.drop(columns='native_corners')
    area = shapely.box(*results.total_bounds)
    ways: dict[str, Callable[[Path], object]] = {
        'bare': lambda path: plain.to_file(path, layer='results', driver='GPKG'),
        'finished': lambda path: to_geopackage(
            results, path, queries=query, area=area, record={'k': rows}
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    sizes: dict[str, int] = {}
    for i in range(repeats + 1):
        for name, way in ways.items():
            path = folder / f'{name}_{i}.gpkg'
            begin = time.perf_counter()
            way(path)
            spent = time.perf_counter() - begin
            sizes[name] = path.stat().st_size
            path.unlink()
            if i:
                seconds[name].append(spent)
        print(f'run {i} of {repeats}', file=sys.stderr)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    packages = ('torchgeo-cmr', 'geopandas', 'pyogrio', 'shapely', 'pyproj', 'pyarrow')
    return {
        'command': ' '.join(['python', *sys.argv]),
        'rows': rows,
        'seed': seed,
        'seconds': seconds,
        'median': median,
        'ratio': median['finished'] / median['bare'],
        'bytes': sizes,
        'peak_memory_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        'versions': {'python': platform.python_version()}
        | {p: version(p) for p in packages},
    }


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    parser.add_argument('--rows', type=int, default=100_000)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--seed', type=int, default=0)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(words.rows, words.repeats, words.seed, Path(folder))
    print('| way | median seconds | megabytes |\n|---|---|---|')
    for name, spent in report['median'].items():
        print(f'| {name} | {spent:.2f} | {report["bytes"][name] / 1e6:.1f} |')
    print(
        f'ratio {report["ratio"]:.2f} of medians of {words.repeats}, {words.rows} rows'
    )
    if words.json:
        words.json.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
