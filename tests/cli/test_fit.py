"""Mistakes in YAML are one line with our sentence and exit code 2; a run ends without noise."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

CONFIG = """
trainer:
  max_epochs: 1
  accelerator: cpu
  logger: false
  limit_val_batches: 0
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
model:
  class_path: torchgeo_cmr.tasks.CMIRPretrain
  init_args:
    in_channels: {a: 1, b: 1}
    num_classes: 2
    model: cmir_small
    feature_dim: 8
data:
  class_path: torchgeo_cmr.datamodules.PairedDataModule
  init_args:
    datasets:
      a: {class_path: torchgeo.datasets.RasterDataset, init_args: {paths: FOLDER/a}}
      b: {class_path: torchgeo.datasets.RasterDataset, init_args: {paths: FOLDER/b}}
    patch_size: 16
    block: 1
    length: 8
    batch_size: 4
"""


@pytest.fixture
def config(
    tmp_path: Path, write_raster: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run on two rasters that would train, but for its labels."""
    monkeypatch.chdir(tmp_path)  # a run without a logger writes its config.yaml there
    pixels = np.random.default_rng(0).normal(100, 9, (1, 256, 256))
    for name in 'ab':
        path = write_raster(f'{name}.tif', data=pixels)
        (tmp_path / name).mkdir()
        path.rename(tmp_path / name / path.name)
    path = tmp_path / 'run.yaml'
    path.write_text(CONFIG.replace('FOLDER', str(tmp_path)))
    return path


# Lightning's command line calls jsonargparse by a name that is going away
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('cmir_small', 'cmir_smal', "timm has no model 'cmir_smal' for a"),
        ('/a}', '/nothere}', '/nothere'),
        ('patch_size', 'patch_sise', "'patch_sise' is not accepted"),
        ('block: 1', 'val_split: 5', 'val_split 5.0 and test_split 0.2 leave nothing'),
        ('num_classes: 2', 'num_classes: 0', 'num_classes must be at least 1, found 0'),
        ('CMIRPretrain', 'CMIRPretrian', 'CMIRPretrian'),
    ],
)
def test_a_mistake_is_one_line(
    refused: Callable[..., str], config: Path, old: str, new: str, message: str
) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    assert message in refused('fit', '--config', config)


@pytest.mark.slow
def test_a_run_ends_without_noise(config: Path, tmp_path: Path) -> None:
    """Rasters that are open when Python ends must not be closed by what is gone already."""
    text = config.read_text()
    text = text.replace('CMIRPretrain', 'SSCMRSIR').replace('    num_classes: 2\n', '')
    config.write_text(
        text.replace('cmir_small', 'test_resnet').replace('feature_dim', 'output_dim')
    )
    done = subprocess.run(
        [sys.executable, '-m', 'torchgeo_cmr', 'fit', '--config', str(config)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    assert 'excepthook' not in done.stderr
    assert 'Original exception' not in done.stderr


# Lightning's command line calls jsonargparse by a name that is going away
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_data_without_labels_is_said_in_one_sentence(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchgeo_cmr.main import main

    assert main(['fit', '--config', str(config)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the batch has no labels 'label'" in last
