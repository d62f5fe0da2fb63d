"""Asking with a voice and with a picture, through the program."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import torch
from lightning.pytorch import Trainer

from torchgeo_cmr.datamodules import ImageSpeechDataModule
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import CMIRNet

FAKE = runpy.run_path(str(Path(__file__).parents[1] / 'data' / 'speech' / 'data.py'))
CLASSES = ('beach', 'forest', 'river')

type Run = Callable[..., Any]


def small_task(**options: Any) -> CMIRNet:
    # Of other weights a vector may be all zeros, which is refused.
    torch.manual_seed(0)
    return CMIRNet(
        {'image': 3, 'speech': 1},
        num_classes=3,
        model={'image': 'cmir_small', 'speech': 'speech'},
        feature_dim=16,
        output_dim=16,
        **options,
    )


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, speech and a checkpoint after one step: words and files matter here."""
    root = tmp_path_factory.mktemp('made')
    FAKE['write_images'](root / 'images', CLASSES, 6, size=32)
    FAKE['write_corpus'](root / 'speech', CLASSES, voices=5, takes=1)
    data = ImageSpeechDataModule(
        str(root / 'images'), str(root / 'speech'), batch_size=6, size=32, seconds=0.5
    )
    task = small_task()
    trainer = Trainer(
        max_steps=1,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, data)
    trainer.save_checkpoint(root / 'best.ckpt')
    return root


@pytest.fixture
def archives(made: Path, run: Run) -> Path:
    for name in ('images', 'speech'):
        out = made / f'{name}.archive'
        if not out.exists():
            ran = run(
                'embed',
                made / name,
                '--ckpt',
                made / 'best.ckpt',
                '--out',
                out,
                '--quiet',
            )
            assert ran.code == 0, ran.err
            assert 'without a place' in ran.err
    return made


def test_a_word_finds_images(archives: Path, run: Run, tmp_path: Path) -> None:
    words = ['search', archives / 'images.archive', '-k', 4, '--quiet']
    words += ['--query', archives / 'speech' / 'river' / 'voice0_0.wav']
    words += ['--ckpt', archives / 'best.ckpt']
    ran = run(*words)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert len(lines) == 5
    assert all(line.split()[0] == 'speech:voice0_0.wav' for line in lines[1:])
    # no date, no longitude, no latitude
    assert all(line.split()[3:6] == ['-', '-', '-'] for line in lines[1:])
    assert all('image:' in line for line in lines[1:])
    out = tmp_path / 'hits.geojson'
    assert run(*words, '--out', out).code == 0
    layer = gpd.read_file(out)
    assert len(layer) == 4
    assert layer.geometry.isna().all()


def test_a_picture_names_its_words(archives: Path, run: Run) -> None:
    ran = run(
        'search',
        archives / 'speech.archive',
        '--query',
        archives / 'images' / 'beach' / '00.png',
        '--ckpt',
        archives / 'best.ckpt',
        '-k',
        15,
        '--quiet',
    )
    assert ran.code == 0, ran.err
    assert ran.out.count('speech:') == 15
    words = ['search', archives / 'speech.archive', '-k', 2, '--one-per', 'label']
    words += ['--query', archives / 'images' / 'beach' / '00.png', '--quiet']
    ran = run(*words, '--ckpt', archives / 'best.ckpt')
    head, *hits = (line.split() for line in ran.out.splitlines())
    assert head[-1] == 'label'
    named = [hit[-1] for hit in hits]
    assert len(set(named)) == len(named) == 2
    assert set(named) < set(CLASSES)


def test_a_word_finds_places_where_images_have_them(
    archives: Path, run: Run, write_raster: Callable[..., Path], tmp_path: Path
) -> None:
    scene = write_raster('scene.tif', bands='RGB', shape=(96, 96), dtype='uint8')
    words = ['embed', scene, '--ckpt', archives / 'best.ckpt', '--modality', 'image']
    assert run(*words, '--out', tmp_path / 'scenes', '--quiet').code == 0
    ran = run(
        'search',
        tmp_path / 'scenes',
        '--query',
        archives / 'speech' / 'river' / 'voice0_0.wav',
        '--ckpt',
        archives / 'best.ckpt',
        # the corner of the scene is at 9 E; one patch is 320 m wide
        '--within',
        '9.0,45.14,9.003,45.16',
        '--out',
        tmp_path / 'hits.geojson',
        '--quiet',
    )
    assert ran.code == 0, ran.err
    layer = gpd.read_file(tmp_path / 'hits.geojson')
    assert len(layer) == 3
    assert layer.geometry.notna().all()
    assert (layer.bounds['minx'] < 9.003).all()


def test_archives_ask_each_other(archives: Path, run: Run) -> None:
    ran = run(
        'evaluate',
        archives / 'speech.archive',
        archives / 'images.archive',
        '--relevance',
        'label:label',
        '-k',
        5,
    )
    assert ran.code == 0, ran.err
    assert 'speech->image' in ran.out


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--within 9,45,10,46', 'none of the 18 rows of the archive has a place'),
        ('--query 9,45', 'none of the 18 rows of the archive has a place'),
        ('--query {r}/empty.wav', 'empty.wav is empty'),
        (
            '--query {r}/images --query {r}/a.tif',
            'use rasters as queries in one search',
        ),
    ],
)
def test_a_mistake_is_one_line(
    archives: Path,
    refused: Callable[..., str],
    write_raster: Callable[..., Path],
    words: str,
    message: str,
) -> None:
    (archives / 'empty.wav').write_bytes(b'')
    (archives / 'a.tif').write_bytes(write_raster('a.tif').read_bytes())
    options = words.format(r=archives).split()
    if '--query' not in options:
        options += ['--query', f'{archives}/speech/river/voice0_0.wav']
    line = refused(
        'search',
        archives / 'images.archive',
        *options,
        '--ckpt',
        archives / 'best.ckpt',
        '--quiet',
    )
    assert message in line


def test_sound_without_a_checkpoint(
    archives: Path, refused: Callable[..., str]
) -> None:
    line = refused(
        'search',
        archives / 'images.archive',
        '--query',
        archives / 'speech' / 'river' / 'voice0_0.wav',
    )
    assert 'voice0_0.wav is sound: to use it as a query, add --ckpt CHECKPOINT' in line


def test_a_task_that_was_never_trained_is_given_a_length(
    made: Path, run: Run, refused: Callable[..., str], tmp_path: Path
) -> None:
    task = small_task(
        keys={'speech': 'audio'}, mean={'speech': [0.0]}, std={'speech': [1.0]}
    )
    ckpt = task.save(tmp_path / 'untrained.ckpt')
    words = ('embed', made / 'speech', '--out', tmp_path / 'spoken', '--quiet')
    assert 'embed --seconds 1' in refused(*words, '--ckpt', ckpt)
    ran = run(*words, '--ckpt', ckpt, '--seconds', 0.5)
    assert ran.code == 0, ran.err
    assert EmbeddingTable.load(tmp_path / 'spoken').record['samples'] == 8000
    line = refused(*words, '--model', 'resnet18', '--modality', 'speech')
    assert '--model names encoders of pictures' in line
