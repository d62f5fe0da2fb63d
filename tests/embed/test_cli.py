"""The verb embed, from words to an archive."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from torchgeo_cmr import tasks
from torchgeo_cmr.cli import embed_command as verb
from torchgeo_cmr.cli.signature import read_arguments
from torchgeo_cmr.embed import embed, embed_pairs
from torchgeo_cmr.main import main
from torchgeo_cmr.table import EmbeddingTable

BANDS = ('B02', 'B03', 'B04')


@pytest.fixture
def task(fake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    task = fake(bands=BANDS)
    monkeypatch.setattr(tasks, 'load_task', lambda ckpt, task_class: task)
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    monkeypatch.setattr('torchgeo_cmr.scenes.files.check_words', str)
    return task


def words(*more: str) -> list[str]:
    return ['embed', *more, '--ckpt', 'best.ckpt', '--modality', 's2', '--quiet']


def test_products_through_their_dataset(
    task: Any, s2_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    options = ('--dataset', 'torchgeo.datasets.Sentinel2', '--out', str(out))
    assert main(words(str(s2_folder), *options)) == 0
    table = EmbeddingTable.load(out)
    assert len(table) == 24  # the patch size is the one of the checkpoint
    assert table.frame['time_start'].nunique() == 2
    # The shell may have put every file of the product in place of the folder.
    files = [str(path) for path in sorted(s2_folder.glob('*.tif'))]
    task.batches.clear()
    assert main(words(*files, *options)) == 0
    assert task.batches == [1]


def test_plain_rasters_need_only_paths(
    task: Any, write_raster: Callable[..., Path], tmp_path: Path
) -> None:
    for name in 'ab':
        write_raster(f'in/{name}.tif', bands=BANDS)
    out = tmp_path / 'out'
    options = ('--out', str(out), '--stride', '8', '--size', '16', '--device', 'cpu')
    assert main(words(str(tmp_path / 'in' / '*.tif'), *options)) == 0
    table = EmbeddingTable.load(out)
    again = embed(task, str(tmp_path / 'in' / '*.tif'), 's2', 16, 8, progress=False)
    assert table.frame['patch_id'].tolist() == again.frame['patch_id'].tolist()
    assert (table.vectors == again.vectors).all()


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['nowhere/*.tif'], 'no raster matches'),
        (['{in}', '--modality', 's3'], "no modality 's3'"),
        (['{in}', '--size', '0'], 'give a number of pixels'),
        (['{in}', '--min-valid', '2'], 'between 0 and 1'),
        (['{in}', '--size', '999'], 'choose a smaller size'),
        (['{in}', '--dataset', 'nothing'], 'is not a raster dataset'),
        (['{in}', '--root', '/nowhere'], 'not inside the root'),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    task: Any,
    write_raster: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    path = write_raster('a.tif', bands=BANDS)
    more = [word.replace('{in}', str(path)) for word in more]
    given = ['embed', '--ckpt', 'x', '--out', str(tmp_path / 'out'), '--quiet']
    given += [] if '--modality' in more else ['--modality', 's2']
    assert main([*given, *more]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_a_checkpoint_without_a_size_asks_for_one(
    task: Any,
    write_raster: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task.specs['s2']['patch_size'] = None
    path = write_raster('a.tif', bands=BANDS)
    assert main(words(str(path), '--out', str(tmp_path / 'out'))) == 2
    assert 'give --size' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['a.tif'], 'give one --modality of s2'),
        (['a.tif', '--modality', 's2', '--modality', 's1'], 'give one --modality'),
        (
            ['a.tif', '--split', 'val', '--raw', '--fusion', 'sum'],
            '--split, --fusion, --raw has no meaning for scenes',
        ),
        (
            ['a.yaml', '--size', '8', '--root', '.', '--prune'],
            '--size, --root, --prune has no meaning for the pairs of a YAML',
        ),
        (
            ['a.wav', '--size', '8', '--flips', '--over-dates', 'mean'],
            '--size, --flips, --over-dates has no meaning for sound',
        ),
        (
            ['a.jpg', '--precision', 'bf16', '--min-valid', '0'],
            '--min-valid, --precision has no meaning for images without a place',
        ),
        (['a.tif', '--min-dates', '2'], '--min-dates is for --over-dates'),
        (['a.yaml', 'b.yaml'], 'a YAML is embedded alone, found 2 words'),
        (['a.yaml'], 'a.yaml cannot be read'),
    ],
)
def test_scenes_and_pairs_are_not_mixed(
    task: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    message: str,
) -> None:
    for name in ('a.wav', 'a.jpg'):
        (tmp_path / name).write_bytes(b'')
    monkeypatch.chdir(tmp_path)
    given = ['embed', *more, '--ckpt', 'x', '--out', str(tmp_path / 'out'), '--quiet']
    assert main(given) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert len(told.err.splitlines()) == 1


def test_pairs_of_a_yaml(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / 'run.yaml'
    config.write_text('data: {class_path: BEN14KDataModule, init_args: {root: here}}')
    called = create_autospec(embed_pairs)
    monkeypatch.setattr('torchgeo_cmr.embed.embed_pairs', called)
    words = ['embed', str(config), '--ckpt', 'x', '--out', 'o', '--split', 'val']
    words += ['--modality', 's1+s2', '--fusion', 'max', '--split', 'test']
    assert main(words) == 0
    ((model, data, modality), options) = called.call_args
    assert model is task
    assert data.dataset_kwargs['root'] == 'here'
    assert modality == ['s1+s2']
    assert options['splits'] == ['val', 'test']
    assert (options['fusion'], options['out']) == ('max', 'o')


#: What Python names otherwise, or the verb settles before it calls.
ELSEWHERE = {
    embed: {'task', 'dataset', 'modality', 'out', 'device', 'progress', 'load'},
    embed_pairs: {
        *('task', 'data', 'modality', 'splits', 'out', 'device', 'progress', 'load')
    },
}


@pytest.mark.parametrize('function', ELSEWHERE)
def test_the_verb_has_every_option_of_the_library(function: Any) -> None:
    flags = {a.name: a for a in read_arguments(verb.embed, explained=False)}
    options = inspect.signature(function).parameters
    for name in options.keys() - ELSEWHERE[function]:
        # On the command line a batch size is a word, and shares are never whole numbers.
        assert flags[name].default in (options[name].default, '64'), name


@pytest.mark.parametrize(
    ('flag', 'name', 'value'),
    [
        ('--precision bf16', 'precision', 'bf16'),
        ('--flips', 'flips', True),
        ('--compile', 'compile', True),
        ('--runtime onnx', 'runtime', 'onnx'),
        ('--update', 'update', True),
        ('--batch-size auto', 'batch_size', 'auto'),
        ('--device cpu', 'device', 'cpu'),
        ('--overwrite', 'overwrite', True),
        ('--min-valid 0.2', 'min_valid', 0.2),
    ],
)
def test_a_flag_means_the_same_for_scenes_and_pairs(
    flag: str, name: str, value: Any, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, words in ((embed_pairs, ['a.yaml']), (embed, ['a.tif'])):
        called = create_autospec(kind)
        monkeypatch.setattr(f'torchgeo_cmr.embed.{kind.__name__}', called)
        monkeypatch.setattr('torchgeo_cmr.embed.open_data', lambda path: None)
        monkeypatch.setattr(
            'torchgeo_cmr.embed.read_report', lambda path: {'refused': {}}
        )
        given = ['embed', *words, '--ckpt', 'x', '--out', 'o', '--modality', 's2']
        assert main([*given, *flag.split()]) == 0
        assert called.call_args.kwargs[name] == value
