"""Mistakes in YAML are one line with our sentence and exit code 2; a run ends without noise."""

import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchgeo_cmr.cli import fit_command
from torchgeo_cmr.cli.checkpoint_files import CheckpointFiles
from torchgeo_cmr.progress import bars

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

#: Nine lines that stand for 9**9 values.
BOMB = 'a0: &a0 [x]\n' + ''.join(
    f'a{i + 1}: &a{i + 1} [{", ".join([f"*a{i}"] * 9)}]\n' for i in range(9)
)

FETCH = (
    'weights=True for a would fetch timm/resnet10t.c3_in1k from https://huggingface.co, '
    'which cannot be reached'
)


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
        (
            'patch_size',
            'patch_sise',
            'no option patch_sise; perhaps patch_size is meant',
        ),
        ('patch_size: 16', 'qq: 16', 'no option qq; see its page'),
        (
            'patch_size: 16',
            'patch_size: big',
            "patch_size is 'big': give a whole number",
        ),
        (
            'max_epochs: 1',
            'max_epochs: many',
            "trainer.max_epochs is 'many': give a whole",
        ),
        ('trainer:', 'nothing: 1\ntrainer:', "does not accept option 'nothing'"),
        ('{a: 1, b: 1}', '{a: 1000000000000, b: 1}', 'allocate'),
        ('torchgeo_cmr.tasks.CMIRPretrain', 'subprocess.Popen', 'subprocess.Popen'),
        ('trainer:', 'x: &a [*a]\ntrainer:', 'stands for more than 100000 values'),
        ('trainer:', BOMB + 'trainer:', 'stands for more than 100000 values'),
        ('trainer:', f'x: {"[" * 3000}{"]" * 3000}\ntrainer:', 'more than 100 deep'),
        ('trainer:', 'x: !!python/name:os.system\ntrainer:', 'python/name:os.system'),
        ('trainer:', ': [\ntrainer:', 'c'),
        (
            'model: cmir_small',
            'model: resnet10t\n    weights: {a: true, b: true}',
            FETCH,
        ),
        ('block: 1', 'val_split: 5', 'val_split 5.0 and test_split 0.2 leave nothing'),
        ('num_classes: 2', 'num_classes: 0', 'num_classes must be at least 1, found 0'),
        (
            'model: cmir_small',
            'model: resnet10t\n    weights: {a: none.pt, b: null}',
            "weights 'none.pt' for a are neither a file nor the name of TorchGeo weights",
        ),
        ('CMIRPretrain', 'CMIRPretrian', 'CMIRPretrian'),
        ('block: 1', 'gather: 0', 'gather is 0: it must be at least 1'),
        ('accelerator: cpu', 'accelerator: cpu\n  devices: 0', 'devices=0'),
        ('data:', 'dat:', 'perhaps data is meant'),
        ('max_epochs', 'max_epoch', 'perhaps trainer.max_epochs is meant'),
        ('trainer:', 'seed_everything: -1\ntrainer:', 'seed_everything is -1: give'),
        ('block: 1', 'seed: -1', 'seed is -1: it must be at least 0'),
        ('block: 1', 'tolerance: 5', 'tolerance is 5: give text in quotes'),
        ('block: 1', 'augment: maybe', "augment is 'maybe': give true or false"),
        (
            '    model: cmir_small',
            '    schedule: cosinus',
            "schedule is 'cosinus': give one",
        ),
        (
            '  init_args:\n    in_',
            '  init_arg:\n    in_',
            'object and has init_arg: give',
        ),
        (
            '  init_args:\n    in_',
            '  lr: 1\n  init_args:\n    in_',
            'and has lr: give class_',
        ),
        (
            'RasterDataset, init_args: {paths',
            'RasterDataset, init_arg: {paths',
            'data.init_args.datasets.a describes no object and has init_arg',
        ),
        ('CMIRPretrain', 'CMIRPretrian', 'perhaps CMIRPretrain is meant'),
        (
            '.RasterDataset, init_args: {',
            '.Sentinel1, init_args: {bands: [VV, HH], ',
            'Sentinel1 cannot be made with what it was given: ',
        ),
        ('    block: 1', '\tblock: 1', 'with spaces and not with tabs'),
        ('    block: 1', '   block: 1', 'run.yaml is not YAML at line'),
        (
            '    block: 1',
            '    block: 1\n    block: 2',
            'run.yaml has block twice, in lines',
        ),
    ],
)
def test_a_mistake_is_one_line(
    refused: Callable[..., str],
    config: Path,
    old: str,
    new: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError('no route to host')

    monkeypatch.setattr('socket.create_connection', unreachable)
    monkeypatch.setattr('urllib.request.getproxies', dict)
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    assert message in refused('fit', '--config', config)


@pytest.fixture
def without_labels(config: Path) -> Path:
    """A run that trains."""
    text = config.read_text()
    text = text.replace('CMIRPretrain', 'SSCMRSIR').replace('    num_classes: 2\n', '')
    config.write_text(
        text.replace('cmir_small', 'test_resnet').replace('feature_dim', 'output_dim')
    )
    return config


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def cut(path: Path) -> Path:
    whole = saved(path, {'state_dict': {'a': torch.zeros(999)}}).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def changed(path: Path) -> Path:
    """The pickle in it begins with other bytes."""
    whole = saved(path, {'state_dict': {'a': torch.zeros(999)}}).read_bytes()
    start = whole.index(b'\x80\x02')
    path.write_bytes(whole[:start] + bytes(20) + whole[start + 20 :])
    return path


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (lambda path: path, 'there is no checkpoint'),
        (lambda path: path.write_text('no weights'), 'it is damaged, cut short'),
        (cut, 'it is damaged, cut short'),
        (changed, 'it is damaged, cut short'),
        (lambda path: saved(path, [1, 2]), 'holds no state of a training'),
    ],
    ids=['missing', 'text', 'cut', 'changed', 'list'],
)
def test_a_checkpoint_to_go_on_from(
    refused: Callable[..., str],
    config: Path,
    tmp_path: Path,
    write: Callable[[Path], Any],
    message: str,
) -> None:
    path = tmp_path / 'last.ckpt'
    write(path)
    said = refused('fit', '--config', config, '--ckpt_path', path)
    assert message in said
    assert str(path) in said


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('command', ['fit', 'test'])
def test_the_best_checkpoint_is_named_by_its_file(
    refused: Callable[..., str], config: Path, command: str
) -> None:
    said = refused(command, '--config', config, '--ckpt_path', 'best')
    assert 'known only to the process that trained: name the file' in said


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('command', ['fit', 'test'])
def test_the_last_checkpoint_is_not_begun_anew(
    refused: Callable[..., str], without_labels: Path, command: str
) -> None:
    """In a new folder Lightning would find none, warn and train from the start."""
    words = ('--config', without_labels, '--trainer.enable_checkpointing=true')
    said = refused(command, *words, '--ckpt_path', 'last')
    assert (
        'last is looked for where this run writes, and is not there: name the' in said
    )


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('validated', [1, 2])
def test_the_last_checkpoint_is_of_the_last_epoch_whatever_its_score(
    run: Callable[..., Any], without_labels: Path, tmp_path: Path, validated: int
) -> None:
    words = ('fit', '--config', without_labels, '--model.init_args.lr=0')
    words += ('--trainer.limit_val_batches=1', '--trainer.limit_train_batches=1')
    words += ('--trainer.enable_checkpointing=true',)
    words += (f'--trainer.check_val_every_n_epoch={validated}',)
    first = ('--trainer.max_epochs=3', f'--trainer.default_root_dir={tmp_path / "a"}')
    assert run(*words, *first).code == 0

    def epochs(folder: str) -> dict[str, int]:
        paths = (tmp_path / folder).rglob('*.ckpt')
        return {p.name: torch.load(p, weights_only=True)['epoch'] for p in paths}

    assert epochs('a') == {'best.ckpt': validated - 1, 'last.ckpt': 2}
    (path,) = (tmp_path / 'a').rglob('last.ckpt')
    more = ('--trainer.max_epochs=4', f'--trainer.default_root_dir={tmp_path / "b"}')
    assert run(*words, *more, '--ckpt_path', path).code == 0
    assert epochs('b')['last.ckpt'] == 3
    steps = torch.load(next((tmp_path / 'b').rglob('last.ckpt')), weights_only=True)
    assert steps['global_step'] == 4


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_a_checkpoint_that_a_trainer_in_python_wrote(
    run: Callable[..., Any], without_labels: Path, tmp_path: Path
) -> None:
    """It names no class as one that the command wrote does."""
    words = ('--config', without_labels, f'--trainer.default_root_dir={tmp_path}')
    trained = ('fit', *words, '--trainer.enable_checkpointing=true')
    assert run(*trained, '--trainer.limit_train_batches=1').code == 0
    (path,) = tmp_path.rglob('last.ckpt')
    content = torch.load(path, weights_only=True)
    options = content['hyper_parameters']
    del options['_class_path'], options['_instantiator']
    path = tmp_path / 'python.ckpt'
    torch.save(content, path)
    for command in ('test', 'validate'):
        ran = run(command, *words, '--ckpt_path', path)
        assert ran.code == 0, ran.err
    more = ('--trainer.max_epochs=2', '--trainer.limit_train_batches=1')
    ran = run(*trained, *more, '--ckpt_path', path)
    assert ran.code == 0, ran.err
    text = without_labels.read_text()
    without_labels.write_text(text.replace('SSCMRSIR', 'InfoNCE'))
    ran = run('test', *words, '--ckpt_path', path)
    assert 'python.ckpt is a checkpoint of torchgeo_cmr.tasks.SSCMRSIR' in ran.err
    assert ran.code == 2


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('section', [None, {}, {'task': 3}])
def test_a_checkpoint_of_another_library(
    refused: Callable[..., str], config: Path, tmp_path: Path, section: Any
) -> None:
    content = {'state_dict': {}, 'hyper_parameters': {'model': 'resnet18'}}
    if section is not None:
        content['torchgeo_cmr'] = section
    path = saved(tmp_path / 'other.ckpt', content)
    said = refused('fit', '--config', config, '--ckpt_path', path)
    assert 'other.ckpt is a checkpoint of another library, which' in said
    assert f'--model.init_args.weights {path}' in said


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_a_checkpoint_of_another_network(
    run: Callable[..., Any],
    without_labels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, save = [], CheckpointFiles.save_checkpoint

    def counted(
        plugin: CheckpointFiles, checkpoint: Any, path: Any, storage_options: Any = None
    ) -> None:
        written.append(Path(path).name)
        save(plugin, checkpoint, path, storage_options)

    monkeypatch.setattr(CheckpointFiles, 'save_checkpoint', counted)
    words = ('fit', '--config', without_labels, '--trainer.enable_checkpointing=true')
    words += (
        f'--trainer.default_root_dir={tmp_path}',
        '--trainer.limit_train_batches=1',
    )
    assert run(*words).code == 0
    (path,) = tmp_path.rglob('last.ckpt')
    assert 'last.ckpt' in written
    content = torch.load(path, weights_only=True)
    for name, tensor in content['state_dict'].items():
        if name.endswith('weight'):
            content['state_dict'][name] = tensor.reshape(-1)[:1]
    torch.save(content, path)
    ran = run(*words, '--ckpt_path', path)
    assert ran.code == 2
    assert 'the checkpoint does not fit the task' in ran.err.splitlines()[-1]
    words += ('--ckpt_path', path)
    # Its options replace those of the command line, which nobody would notice.
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        ran = run(*words, '--model.init_args.lr=0.5')
    assert re.search(r'warning: lr stays 0\.0\d+, not 0\.5: .*last\.ckpt', ran.err)
    text = without_labels.read_text()
    without_labels.write_text(text.replace('SSCMRSIR', 'InfoNCE'))
    ran = run(*words)
    assert ran.code == 2
    assert 'last.ckpt is a checkpoint of torchgeo_cmr.tasks.SSCMRSIR' in ran.err


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_a_checkpoint_names_no_class_and_no_weights_to_fetch(
    refused: Callable[..., str],
    run: Callable[..., Any],
    without_labels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lightning takes options of the task from it: those may not import, nor fetch."""
    words = (
        'fit',
        '--config',
        without_labels,
        f'--trainer.default_root_dir={tmp_path}',
    )
    words += ('--trainer.limit_train_batches=1',)
    assert run(*words, '--trainer.enable_checkpointing=true').code == 0
    (path,) = tmp_path.rglob('last.ckpt')
    content = torch.load(path, weights_only=True)
    (tmp_path / 'foreign_module.py').write_text('open("ran", "w").close()')
    monkeypatch.syspath_prepend(tmp_path)
    name = 'foreign_module.Task'
    for hostile in ({'_class_path': name}, {'lr': [{'x': {'class_path': name}}]}):
        options = {**content['hyper_parameters'], **hostile}
        torch.save({**content, 'hyper_parameters': options}, tmp_path / 'foreign.ckpt')
        said = refused(*words, '--ckpt_path', tmp_path / 'foreign.ckpt')
        assert f'names the class {name!r}, which would run its module' in said
    torch.save({**content, 'hyper_parameters': [name]}, tmp_path / 'foreign.ckpt')
    said = refused(*words, '--ckpt_path', tmp_path / 'foreign.ckpt')
    assert 'holds options of a task that are not a mapping' in said
    assert not (tmp_path / 'ran').exists()
    # The weights that a task was begun with are in the file.
    options = {**content['hyper_parameters'], 'weights': True}
    torch.save({**content, 'hyper_parameters': options}, tmp_path / 'own.ckpt')
    more = ('--trainer.max_epochs=2', '--ckpt_path', tmp_path / 'own.ckpt')
    assert run(*words, *more).code == 0


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('given', ['url', 'word', 'found by itself'])
def test_no_pickle_runs_in_a_checkpoint_that_lightning_finds(
    refused: Callable[..., str],
    without_labels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    class Planted:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / 'ran'), 'w')

    path = tmp_path / 'hpc_ckpt_1.ckpt'
    torch.save({'state_dict': Planted()}, path)
    words = [
        'fit',
        '--config',
        without_labels,
        f'--trainer.default_root_dir={tmp_path}',
    ]
    if given == 'found by itself':
        monkeypatch.setenv('SLURM_NTASKS', '1')
        monkeypatch.setenv('SLURM_JOB_NAME', 'a job')
    else:
        words += ['--ckpt_path', f'file://{path}' if given == 'url' else 'hpc']
    assert 'holds more than weights and plain values' in refused(*words)
    assert not (tmp_path / 'ran').exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / 'ran').exists()


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('command', ['validate', 'test'])
def test_weights_that_nothing_has_trained(
    run: Callable[..., Any], without_labels: Path, tmp_path: Path, command: str
) -> None:
    words = ['--config', without_labels, f'--trainer.default_root_dir={tmp_path}']
    saving = '--trainer.enable_checkpointing=true'
    assert run('fit', *words, saving, '--trainer.limit_train_batches=1').code == 0
    (path,) = tmp_path.rglob('last.ckpt')
    found = {}
    for checkpoint in (None, path):
        chosen = [] if checkpoint is None else ['--ckpt_path', checkpoint]
        with warnings.catch_warnings():
            warnings.simplefilter('always')
            ran = run(command, *words, *chosen)
        assert ran.code == 0, ran.err
        found[checkpoint] = f'warning: {command} has no checkpoint, so its' in ran.err
    assert found == {None: True, path: False}


@pytest.mark.slow
def test_an_interrupted_run(without_labels: Path, tmp_path: Path) -> None:
    """Control-C ends a training with the code of an interruption, and one line."""
    text = without_labels.read_text()
    without_labels.write_text(text.replace('max_epochs: 1', 'max_epochs: 100000'))
    words = [
        'fit',
        '--config',
        str(without_labels),
        '--trainer.enable_progress_bar=true',
        # Where rich is installed, Lightning takes its bar, which shows nothing in a pipe.
        '--trainer.callbacks+=lightning.pytorch.callbacks.TQDMProgressBar',
    ]
    # A job in the background of a shell ignores the signal, and so would its children.
    start = (
        'import signal, sys; from torchgeo_cmr.main import main; '
        'signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())'
    )
    running = subprocess.Popen(
        [sys.executable, '-c', start, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert running.stdout is not None
    shown = ''
    late = threading.Timer(300, running.kill)
    late.start()
    while 'Epoch 1' not in shown and (part := running.stdout.read(8)):
        shown = shown[-16:] + part
    late.cancel()
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 130, told
    assert told.splitlines()[-1] == 'stopped; what was committed is kept'
    assert 'Traceback' not in told


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('watched', [False, True])
def test_a_pipe_gets_a_line_per_epoch_and_no_bar(
    without_labels: Path,
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    watched: bool,
) -> None:
    """Lightning draws on stdout, which is a pipe here, whatever stderr is."""
    monkeypatch.setattr(bars, 'is_watched', lambda: watched)
    monkeypatch.setattr(fit_command, 'is_watched', lambda: watched)
    text = without_labels.read_text().replace('  enable_progress_bar: false\n', '')
    without_labels.write_text(text.replace('max_epochs: 1', 'max_epochs: 2'))
    ran = run('fit', '--config', without_labels)
    assert ran.code == 0, ran.err
    assert '%|' not in ran.out + ran.err
    lines = [line for line in ran.err.splitlines() if line.startswith('epoch ')]
    assert [line.split(',')[0] for line in lines] == ['epoch 1 of 2', 'epoch 2 of 2']
    assert lines[0].endswith(' s left')


@pytest.mark.slow
def test_a_run_ends_without_noise(without_labels: Path, tmp_path: Path) -> None:
    """Rasters that are open when Python ends must not be closed by what is gone already."""
    done = subprocess.run(
        [sys.executable, '-m', 'torchgeo_cmr', 'fit', '--config', str(without_labels)],
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
@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_data_without_labels_is_said_in_one_sentence(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchgeo_cmr.main import main

    assert main(['fit', '--config', str(config)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the batch has no labels 'label'" in last


def test_a_configuration_that_is_no_text(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / 'a.yaml'
    file.write_bytes(bytes(range(256)))
    assert 'is not text in UTF-8' in refused('fit', '--config', file)
    assert 'a folder' not in refused('fit', f'--config={file}')
