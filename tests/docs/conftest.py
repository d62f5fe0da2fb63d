"""What the readers of a page have on their disk: folders that the code of the page names."""

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.export import to_geopackage
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable

ROOT = Path(__file__).parents[2]

#: A training run on the world of the demo.
RUN = ROOT / 'examples' / '02_train.yaml'

#: What the code of a page finds under names that it does not make.
type Names = dict[str, Any]


def invented(sensor: str, *, dates: int = 3, seed: int = 0) -> EmbeddingTable:
    """Patches of two scenes in Lombardy and of one in San Antonio, with the same vectors in both sensors."""
    places = [
        *((f'scene.tif:0_{32 * i}_32x32', 9.1 + 0.05 * i, 45.4) for i in range(12)),
        *(
            (f'a.tif:{64 * i}_{32 * j}_32x32', 9.1 + 0.05 * j, 45.6 - 0.1 * i)
            for i in range(2)
            for j in range(4)
        ),
        ('texas.tif:0_0_32x32', -98.52, 29.4),
    ]
    x = np.array([place[1] for place in places])
    y = np.array([place[2] for place in places])
    rng = np.random.default_rng(0)
    base = rng.normal(size=(len(places), 256))
    parts, vectors = [], []
    for number in range(dates):
        suffix = '' if number == 0 else f'+{number}'
        day = pd.Timestamp('2024-06-14', tz='UTC') + pd.Timedelta(days=5 * number)
        parts.append(
            gpd.GeoDataFrame(
                {
                    'patch_id': [f'{sensor}:{name}{suffix}' for name, *_ in places],
                    'modality': sensor,
                    'source': [name.split(':')[0] for name, *_ in places],
                    'time_start': day,
                    'time_end': day,
                    'valid_fraction': 1.0,
                    'cloud': np.arange(len(places)) % 20 * 1.0,
                    'labels': [
                        [('water', 'forest', 'town')[i % 3]] for i in range(len(places))
                    ],
                    'label': [
                        ('water', 'forest', 'town')[i % 3] for i in range(len(places))
                    ],
                },
                geometry=shapely.box(x, y, x + 0.05, y + 0.05),
                crs=4326,
            )
        )
        vectors.append(
            base + 0.3 * np.random.default_rng(seed + number).normal(size=base.shape)
        )
    return EmbeddingTable.from_frame(
        pd.concat(parts, ignore_index=True), np.concatenate(vectors), space='x'
    )


@pytest.fixture
def archives(tmp_path: Path) -> Callable[[], Names]:
    """Archives and vector files that pages on searching name."""

    def prepare() -> Names:
        archive, queries = invented('s2', dates=14), invented('s1', dates=1, seed=99)
        for name in ('archive', 's2', 'optical'):
            archive.save(tmp_path / name)
        for name in ('queries', 's1', 'radar', 'more-radar'):
            queries.save(tmp_path / name)
        for name, box in {
            'area': (9, 45, 10, 46),
            'coast': (9, 45, 9.6, 46),
            'train': (9, 45.5, 9.2, 46),
            'aoi': (9, 45, 10, 46),
        }.items():
            frame = gpd.GeoDataFrame(
                {'name': [name]}, geometry=[shapely.box(*box)], crs=4326
            )
            frame.to_file(tmp_path / f'{name}.gpkg')
        lakes = [shapely.Point(9.12, 45.42), shapely.Point(9.3, 45.42)]
        gpd.GeoDataFrame({'name': ['Como', 'Garda']}, geometry=lakes, crs=4326).to_file(
            tmp_path / 'lakes.gpkg'
        )
        where = Where((9, 45, 10, 46))
        raw = queries.frame.copy()
        raw['raw'] = list(np.abs(queries.vectors))
        EmbeddingTable.from_frame(raw, queries.vectors).save(tmp_path / 'queries-raw')
        for year in ('2022', '2023', '2024'):
            invented(f's2-{year}', dates=1).save(tmp_path / year)
        invented('new', dates=1).save(tmp_path / 'new')
        index = RetrievalIndex(archive)
        hits = index.search(queries, k=5, where=where)
        for name in ('hits', 'one', 'other', 'radar', 'optical', 'examples'):
            judged = hits.copy()
            judged['relevant'] = hits['rank'] == 1
            to_geopackage(judged, tmp_path / f'{name}.gpkg', queries=queries)
        return {
            'archive': archive,
            'queries': queries,
            'where': where,
            'index': index,
            'hits': hits,
            'raw': np.abs(archive.vectors),
        }

    return prepare


@pytest.fixture(scope='session')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small invented world, and a task that has seen a step of it."""
    from lightning.pytorch import Trainer
    from torchgeo.datasets import Sentinel1, Sentinel2

    from torchgeo_cmr.datamodules import PairedDataModule
    from torchgeo_cmr.datasets import SyntheticLandscape
    from torchgeo_cmr.tasks import SSCMRSIR

    home = tmp_path_factory.mktemp('world')
    made = SyntheticLandscape(home / 'world', seed=0, size=512)
    data = PairedDataModule(
        {'s1': Sentinel1(made.s1), 's2': Sentinel2(made.s2, bands=made.s2_bands)},
        patch_size=32,
        batch_size=8,
        length=8,
    )
    task = SSCMRSIR({'s1': 2, 's2': 12}, 'resnet18')
    trainer = Trainer(
        max_steps=1,
        accelerator='cpu',
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
    )
    trainer.fit(task, data)
    trainer.save_checkpoint(home / 'best.ckpt')
    return home


@pytest.fixture
def rasters(world: Path, tmp_path: Path) -> Callable[[], Names]:
    """Scenes of the invented world, a checkpoint, and a data module for it."""

    def prepare() -> Names:
        import torch
        from torchgeo.datasets import Sentinel1, Sentinel2

        from torchgeo_cmr.datamodules import PairedDataModule
        from torchgeo_cmr.datasets import SyntheticLandscape

        (tmp_path / 'train').mkdir()
        for sensor in ('s1', 's2'):
            (tmp_path / 'train' / sensor).symlink_to(world / 'world' / sensor)
        (tmp_path / 'demo').symlink_to(world)
        (tmp_path / 'scenes').symlink_to(world / 'world' / 's2')
        shutil.copy(world / 'best.ckpt', tmp_path)
        for sensor in ('pan', 'ms'):
            (tmp_path / sensor).mkdir()
            for file in (world / 'world' / sensor).glob('*T32TQM*'):
                (tmp_path / sensor / file.name).symlink_to(file)
        (truth,) = (world / 'world' / 'truth').glob('*T32TQM*')
        (tmp_path / 'landcover.tif').symlink_to(truth)
        shutil.copy(RUN, tmp_path / 'run.yaml')
        bands = SyntheticLandscape.s2_bands
        data = PairedDataModule(
            {
                's1': Sentinel1(world / 'world' / 's1'),
                's2': Sentinel2(world / 'world' / 's2', bands=bands),
            },
            patch_size=32,
            batch_size=8,
            length=8,
        )
        return {'data': data, 'pixels': torch.zeros(1, 2, 32, 32)}

    return prepare


@pytest.fixture
def results(
    rasters: Callable[[], Names], world: Path, tmp_path: Path
) -> Callable[[], Names]:
    """A search in archives of the invented world, whose scenes are still there; also one by the command."""

    def prepare() -> Names:
        from torchgeo.datasets import Sentinel1, Sentinel2

        from torchgeo_cmr.embed import embed
        from torchgeo_cmr.evaluate import make_report
        from torchgeo_cmr.export import make_record
        from torchgeo_cmr.main import main
        from torchgeo_cmr.tasks import load_task

        rasters()
        task = load_task(tmp_path / 'best.ckpt')
        bands = task.specs['s2']['bands']
        archive = embed(
            task, Sentinel2(world / 'world' / 's2', bands=bands), modality='s2', size=32
        )
        queries = embed(
            task, Sentinel1(world / 'world' / 's1'), modality='s1', size=32
        ).select([0, 1])
        archive.save(tmp_path / 'archive')
        queries.save(tmp_path / 'queries')
        judged = make_report(queries, archive, relevance='place', bootstrap=0)
        (tmp_path / 'report.json').write_text(judged.to_json())
        words = ['archive', '--query', 'queries', '--out', 'hits.gpkg']
        assert main(['search', *words]) == 0
        where = Where(tuple(archive.frame.total_bounds))
        hits = RetrievalIndex(archive).search(queries, k=5, where=where)
        record = make_record(
            hits, archives={'archive': archive}, queries=queries, where=where, k=5
        )
        return {
            'archive': archive,
            'queries': queries,
            'where': where,
            'hits': hits,
            'record': record,
        }

    return prepare


@pytest.fixture
def chips(tmp_path: Path) -> Callable[[], Names]:
    """A data module of PAN and MS patches in eight classes."""

    def prepare() -> Names:
        from torchgeo_cmr.datamodules import DSRSIDDataModule

        fake = runpy.run_path(str(ROOT / 'tests' / 'data' / 'dsrsid' / 'data.py'))
        fake['write'](tmp_path / 'DSRSID.mat')
        return {'data': DSRSIDDataModule(str(tmp_path), batch_size=8)}

    return prepare


@pytest.fixture
def sounds(tmp_path: Path) -> Callable[[], Names]:
    """Images and spoken words of three classes."""

    def prepare() -> Names:
        fake = runpy.run_path(str(ROOT / 'tests' / 'data' / 'speech' / 'data.py'))
        classes = ('beach', 'forest', 'river')
        fake['write_images'](tmp_path / 'data' / 'images', classes, 6)
        (tmp_path / 'labels.txt').write_text('beach\nriver\n')
        return {}

    return prepare
