"""Frozen encoders across sensors, on real pairs of Sentinel-1 and Sentinel-2.

    python tests/benchmarks/frozen.py --weights ../shared/data/weights/presto_default_model.pt

Patches of five scenes (two of TerraMesh, three of BigEarthNet) are embedded by a foundation model
as it is. Recall@10 of the own place is printed for vectors as they are, centred and whitened by
sensor, and mapped by maps that were fitted on the other scenes, with chance and, as the rest of
the scale, the same network with random weights. Nothing is trained.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import torch

from torchgeo_cmr.metrics.chance import expected_recall
from torchgeo_cmr.search import Alignment
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import Pretrained

BANDS = {
    's1': ['VV', 'VH'],
    's2': ['B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12'],
}
K = 10


def terramesh(data: Path) -> list[dict[str, np.ndarray]]:
    """Two scenes of 224 pixels."""
    scenes = []
    for file in sorted((data / 'terramesh_samples/S1RTC').glob('*.tif')):
        scene = {}
        for sensor, folder in (('s1', 'S1RTC'), ('s2', 'S2L2A')):
            with rasterio.open(
                data / 'terramesh_samples' / folder / file.name
            ) as raster:
                order = [raster.descriptions.index(band) + 1 for band in BANDS[sensor]]
                scene[sensor] = raster.read(order).astype('float32')
        scenes.append(scene)
    return scenes


def bigearthnet(data: Path) -> list[dict[str, np.ndarray]]:
    """Three scenes of 120 pixels; bands of 20 m are repeated."""
    home = data / 'bigearthnet_samples'
    scenes = []
    for folder in sorted(p for p in (home / 'S1').iterdir() if p.is_dir()):
        labels = json.loads(next(folder.glob('*.json')).read_text())
        other = home / 'S2' / labels['corresponding_s2_patch']
        scene = {}
        for sensor, where in (('s1', folder), ('s2', other)):
            layers = []
            for band in BANDS[sensor]:
                with rasterio.open(next(where.glob(f'*_{band}.tif'))) as raster:
                    layer = raster.read(1).astype('float32')
                layers.append(
                    np.kron(layer, np.ones((120 // len(layer),) * 2, 'float32'))
                )
            scene[sensor] = np.stack(layers)
        scenes.append(scene)
    return scenes


def embed(
    task: Pretrained, scenes: list[dict[str, np.ndarray]], size: int, stride: int
) -> tuple[dict[str, EmbeddingTable], np.ndarray]:
    """Give a table of each sensor, rows paired, and the scene of each row."""
    rows: dict[str, list[np.ndarray]] = {'s1': [], 's2': []}
    scene_of, boxes = [], []
    for number, scene in enumerate(scenes):
        width = scene['s1'].shape[-1]
        for y in range(0, width - size + 1, stride):
            for x in range(0, width - size + 1, stride):
                for sensor, pixels in scene.items():
                    patch = torch.from_numpy(
                        pixels[None, :, y : y + size, x : x + size]
                    )
                    batch = {f'image_{sensor}': patch.clone()}
                    rows[sensor].append(task.embed(batch, sensor).numpy()[0])
                scene_of.append(number)
                left, top = number + x / 1000, y / 1000
                boxes.append(
                    shapely.box(left, top, left + size / 1000, top + size / 1000)
                )
    tables = {}
    for sensor, vectors in rows.items():
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'{sensor}{i}' for i in range(len(vectors))]},
            geometry=boxes,
            crs='EPSG:4326',
        )
        tables[sensor] = EmbeddingTable.from_frame(
            frame, np.stack(vectors), modality=sensor, space=task.space
        )
    return tables, np.array(scene_of)


def recall(queries: np.ndarray, archive: np.ndarray) -> float:
    """Share of queries whose own place is among the ten best; ties count by their chance."""
    scores = queries @ archive.T
    right = np.diag(scores)[:, None]
    better, equal = (scores > right).sum(axis=1), (scores == right).sum(axis=1)
    return float(np.clip((K - better) / equal, 0, 1).mean())


def both(tables: dict[str, EmbeddingTable]) -> dict[str, float]:
    a, b = (tables[s].vectors for s in ('s1', 's2'))
    return {'s1->s2': round(recall(a, b), 3), 's2->s1': round(recall(b, a), 3)}


def held_out(
    tables: dict[str, EmbeddingTable],
    scene_of: np.ndarray,
    make: Callable[[dict[str, EmbeddingTable]], Alignment],
) -> dict[str, float]:
    """Map each scene by maps of the others, then rank all together."""
    mapped = {s: np.empty((len(t), 0), np.float32) for s, t in tables.items()}
    for scene in range(scene_of.max() + 1):
        rest, rows = (
            np.flatnonzero(scene_of != scene),
            np.flatnonzero(scene_of == scene),
        )
        maps = make({s: t.select(rest) for s, t in tables.items()})
        for sensor, table in tables.items():
            made = maps.table(table.select(rows)).vectors
            if mapped[sensor].shape[1] != made.shape[1]:
                mapped[sensor] = np.empty((len(table), made.shape[1]), np.float32)
            mapped[sensor][rows] = made
    a, b = mapped['s1'], mapped['s2']
    return {'s1->s2': round(recall(a, b), 3), 's2->s1': round(recall(b, a), 3)}


def scores(
    task: Pretrained, scenes: list[dict[str, np.ndarray]], size: int, stride: int
) -> dict:
    tables, scene_of = embed(task, scenes, size, stride)
    pair = list(tables.values())
    found = {'raw': both(tables)}
    for name, maps in (
        ('centred', Alignment.center(pair)),
        ('whitened', Alignment.whiten(pair)),
    ):
        found[name] = both({s: maps.table(t) for s, t in tables.items()})
    for method in ('procrustes', 'ridge', 'contrastive'):
        found[f'{method}, other scenes'] = held_out(
            tables, scene_of, lambda t, m=method: Alignment.fit(t['s1'], t['s2'], m)
        )
    found['chance'] = round(float(expected_recall(1, len(scene_of), K)), 3)
    found['patches'] = len(scene_of)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--model', default='presto')
    parser.add_argument(
        '--weights', required=True, help='a file, or a name of TorchGeo'
    )
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--stride', type=int, default=32)
    parser.add_argument('--seed', type=int, default=0, help='of the random weights')
    options = parser.parse_args()
    warnings.simplefilter('ignore')
    scenes = [*terramesh(options.data), *bigearthnet(options.data)]
    channels = {sensor: len(bands) for sensor, bands in BANDS.items()}
    answers = {}
    for name, weights in (('published', options.weights), ('random', None)):
        torch.manual_seed(options.seed)
        task = Pretrained(channels, options.model, weights, bands=BANDS)
        answers[name] = scores(task, scenes, options.size, options.stride)
    sys.stdout.write(json.dumps(answers, indent=1) + '\n')


if __name__ == '__main__':
    main()
