"""Write one small file of each format into a folder, with the version that is imported.

python tests/data/formats/make.py tests/data/formats/NAME
"""

import json
import sys
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from lightning.pytorch import Trainer

from torchgeo_cmr import __version__
from torchgeo_cmr.export import make_record, to_geopackage, write_manifest
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import CMIRPretrain

ROWS = 8
#: Patch i looks most like i + 1: unit vectors on a quarter of a circle.
ANGLES = np.linspace(0, np.pi / 2, ROWS) ** 1.1


def table() -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'p{i}' for i in range(ROWS)],
            'source': [f'scene{i % 2}.tif' for i in range(ROWS)],
            'time_start': pd.to_datetime(['2024-06-01T10:00Z'] * 7 + [None]),
            'cloud': np.arange(ROWS, dtype=float),
            'labels': [['field'], ['water', 'field']] * (ROWS // 2),
        },
        geometry=shapely.box(
            9 + np.arange(ROWS) / 100, 46, 9.01 + np.arange(ROWS) / 100, 46.01
        ),
        crs='EPSG:4326',
    )
    vectors = np.column_stack([np.cos(ANGLES), np.sin(ANGLES), np.zeros((ROWS, 6))])
    return EmbeddingTable.from_frame(frame, vectors, space='formats', modality='s2')


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = table()
    rows.save(folder / 'archive')
    for kind in ('float32', 'int8'):
        index = RetrievalIndex.build(rows, folder / f'index-{kind}', vectors=kind)
        index.delete(['p3'])
    hits = RetrievalIndex(rows).search(rows.select([0]), 3)
    record = make_record(
        hits, archives={'archive': rows}, queries=rows.select([0]), k=3
    )
    to_geopackage(hits, folder / 'hits.gpkg', record=record)
    write_manifest(record, folder / 'hits.json')
    torch.manual_seed(0)
    task = CMIRPretrain({'pan': 3, 'ms': 4}, 3, 'mlp', feature_dim=8).eval()
    trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(folder / 'task.ckpt')
    ones = task.embed({'image_ms': torch.ones(1, 4)}, 'ms')
    facts = {
        'hits': hits['patch_id'].tolist(),
        'space': task.space,
        'embedding': ones[0].tolist(),
        'version': __version__,
    }
    (folder / 'facts.json').write_text(json.dumps(facts) + '\n')


if __name__ == '__main__':
    warnings.simplefilter('ignore')
    main(Path(sys.argv[1]))
