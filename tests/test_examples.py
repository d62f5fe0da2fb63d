"""Every example runs, as its own text says."""

import os
import runpy
import shutil
from pathlib import Path

import forked
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Trainer
from shapely import box

from torchgeo_cmr.datasets import SyntheticLandscape
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import SSCMRSIR

EXAMPLES = Path(__file__).parents[1] / 'examples'

pytestmark = pytest.mark.slow


def run(*words: str, cwd: Path) -> str:
    """Run a Python program as a user would; return all that it printed."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'GLOO_SOCKET_IFNAME': 'lo'}
    # Ray lets its processes step back behind those of other tests, and is waited for.
    env['RAY_worker_niceness'] = '0'
    done = forked.run(*words, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_every_example_is_listed_and_tested() -> None:
    # Notebooks have a test of their own, and CI runs them.
    others = {'README.md', '__pycache__', 'notebooks'}
    names = {p.name for p in EXAMPLES.iterdir()} - others
    assert names == {
        '01_journey.py',
        '02_train.yaml',
        '03_bigearthnet.yaml',
        '04_cmirnet.yaml',
        '05_image_speech.yaml',
        '06_ray.py',
        '07_torchrun.py',
        '08_postgres.py',
    }
    page = (EXAMPLES.parent / 'docs' / 'examples.md').read_text()
    assert all(f'(../examples/{name})' in page for name in names)


def test_journey(tmp_path: Path) -> None:
    printed = run(str(EXAMPLES / '01_journey.py'), 'trial', cwd=tmp_path)
    hits = gpd.read_file(tmp_path / 'trial' / 'hits.geojson')
    assert str(tmp_path / 'trial' / 'hits.geojson') in printed
    assert len(hits) > 0
    assert hits.intersects(box(11.88, 42.03, 11.94, 42.07)).all()
    assert (hits.time_start >= '2024-06-01').all()
    assert (hits.time_start < '2024-09-01').all()
    assert set(hits.modality) == {'s2'}
    assert (hits.groupby('query_id')['rank'].max() == 20).all()
    assert set(os.listdir(tmp_path)) == {'trial'}


@pytest.fixture(scope='module')
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rasters where the YAML looks for them."""
    folder = tmp_path_factory.mktemp('yaml')
    SyntheticLandscape(folder / 'demo' / 'world', size=384, sensors=('s1', 's2'))
    return folder


CONFIG = ('--config', str(EXAMPLES / '02_train.yaml'))
QUICK = ('--data.init_args.batch_size=8', '--trainer.accelerator=cpu')


def test_yaml_in_our_command(demo_folder: Path) -> None:
    once = ('--trainer.max_epochs=1', '--data.init_args.length=16')
    told = run('-m', 'torchgeo_cmr', 'fit', *CONFIG, *QUICK, *once, cwd=demo_folder)
    assert "LightningCLI's args" not in told
    kept = sorted((demo_folder / 'demo' / 'training').rglob('*.ckpt'))
    assert [path.name for path in kept] == ['best.ckpt', 'last.ckpt']
    scored = run(
        *('-m', 'torchgeo_cmr', 'test', *CONFIG, *QUICK),
        *('--ckpt_path', str(kept[0])),
        cwd=demo_folder,
    )
    assert 'test_recall@10_s1_to_s2' in scored


def test_yaml_in_torchgeo(demo_folder: Path) -> None:
    once = '--trainer.fast_dev_run=1'
    run('-m', 'torchgeo', 'fit', *CONFIG, *QUICK, once, cwd=demo_folder)


def test_yaml_of_both_stages(tmp_path: Path) -> None:
    world = tmp_path / 'demo' / 'panms'
    SyntheticLandscape(world, size=384, sensors=('pan', 'ms'))
    config = ('--config', str(EXAMPLES / '04_cmirnet.yaml'))
    short = ('--trainer.max_epochs=2', '--model.init_args.pretrain_epochs=1')
    few = ('--data.init_args.length=16', '--data.init_args.batch_size=8')
    cpu = '--trainer.accelerator=cpu'
    run('-m', 'torchgeo_cmr', 'fit', *config, *short, *few, cpu, cwd=tmp_path)
    kept = sorted((tmp_path / 'demo' / 'cmirnet').rglob('*.ckpt'))
    assert [path.name for path in kept] == ['best.ckpt', 'last.ckpt']


def test_image_and_speech(tmp_path: Path) -> None:
    fake = runpy.run_path(str(Path(__file__).parent / 'data' / 'speech' / 'data.py'))
    classes = ('beach', 'forest', 'river')
    fake['write_images'](tmp_path / 'data' / 'images', classes, 6)
    fake['write_corpus'](tmp_path / 'data' / 'speech', classes, voices=5)
    config = str(EXAMPLES / '05_image_speech.yaml')
    quick = ('--data.init_args.num_workers=0', '--trainer.fast_dev_run=1')
    few = '--model.init_args.num_classes=3'
    words = ('--config', config, *QUICK, *quick, few)
    run('-m', 'torchgeo_cmr', 'fit', *words, cwd=tmp_path)


def test_several_processes_embed(tmp_path: Path) -> None:
    SyntheticLandscape(tmp_path / 'world', size=384, sensors=('s2',))
    channels = {'s1': 2, 's2': 12}
    ones = {m: [1.0] * n for m, n in channels.items()}
    task = SSCMRSIR(channels, 'test_resnet', mean=ones, std=ones)
    trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / 'best.ckpt')
    given = ('world/s2', 'best.ckpt')
    with_ray = run(str(EXAMPLES / '06_ray.py'), *given, cwd=tmp_path)
    archive = tmp_path / 'world' / 's2-archive'
    first = EmbeddingTable.load(archive)
    assert f'{len(first)} patches' in with_ray
    shutil.rmtree(archive)
    launch = (*forked.TORCHRUN, '--standalone', '--nproc-per-node', '2')
    told = run(*launch, str(EXAMPLES / '07_torchrun.py'), *given, cwd=tmp_path)
    assert told.count(' patches\n') >= 1
    second = EmbeddingTable.load(archive)
    assert second.frame.equals(first.frame)
    np.testing.assert_allclose(second.vectors, first.vectors, atol=1e-5)


@pytest.mark.postgres
def test_postgres(database: str, tmp_path: Path) -> None:
    x = np.arange(6) / 10
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [*'abcdef'],
            'time_start': pd.to_datetime(['2024-05-01', '2024-06-01'] * 3, utc=True),
        },
        geometry=box(x, 45, x + 0.1, 45.1),
        crs=4326,
    )
    table = EmbeddingTable.from_frame(frame, np.eye(6) + 0.1, space='w')
    table.save(tmp_path / 'archive')
    address = f'{database}&archive=example'
    words = str(EXAMPLES / '08_postgres.py'), 'archive', address
    printed = run(*words, cwd=tmp_path)
    assert "'rows': 6" in printed
    assert '4 hits in hits' in printed
