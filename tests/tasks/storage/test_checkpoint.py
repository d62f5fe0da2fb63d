import copy
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

import torchgeo_cmr
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.tasks import SSCMRSIR, CrossModalTask, load_task, verify_checkpoint

pytestmark = [
    pytest.mark.filterwarnings('ignore:.*does not have many workers'),
    pytest.mark.filterwarnings('ignore:.*have no `val_dataloader`'),
]


class Mine(SSCMRSIR):
    """Somebody else's task, whose constructor passes everything on."""

    def __init__(
        self, in_channels: dict[str, int], extra: int = 0, **others: Any
    ) -> None:
        self.extra = extra
        super().__init__(in_channels, **others)


@pytest.fixture(scope='module')
def _trained(
    tmp_path_factory: pytest.TempPathFactory,
    make_task: Callable[..., SSCMRSIR],
    make_trainer: Callable[..., Trainer],
    make_data: Callable[..., Any],
) -> tuple[SSCMRSIR, Path]:
    task = make_task(mean=None, std=None, bands=None, keys={'s1': 'image_s1'})
    trainer = make_trainer()
    trainer.fit(task, make_data())
    path = tmp_path_factory.mktemp('trained') / 'task.ckpt'
    trainer.save_checkpoint(path)
    task.trainer = None  # a copy needs none
    return task.eval(), path


@pytest.fixture
def saved(_trained: tuple[SSCMRSIR, Path], tmp_path: Path) -> tuple[SSCMRSIR, Path]:
    """A task that was trained, and its checkpoint, of which a test may change both."""
    task, path = _trained
    return copy.deepcopy(task), Path(shutil.copy(path, tmp_path))


def test_a_checkpoint_alone_is_enough_to_embed(
    saved: tuple[SSCMRSIR, Path], make_loader: Callable
) -> None:
    task, path = saved
    batch = next(iter(make_loader(6)))
    loaded = load_task(path)
    assert type(loaded) is SSCMRSIR
    assert not loaded.training
    assert loaded.space == task.space
    assert loaded.specs == task.specs
    assert loaded.specs['s1']['units'] == 'db'
    assert loaded.hparams['output_dim'] == 32
    for modality in ('s1', 's2'):
        assert torch.equal(loaded.embed(batch, modality), task.embed(batch, modality))


def test_lightning_loads_it_too(saved: tuple[SSCMRSIR, Path]) -> None:
    task, path = saved
    loaded = SSCMRSIR.load_from_checkpoint(path, weights_only=True)
    assert loaded.space == task.space
    assert loaded.specs == task.specs


def test_says_what_it_is(saved: tuple[SSCMRSIR, Path]) -> None:
    task, path = saved
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint['torchgeo_cmr'] == {
        'task': 'SSCMRSIR',
        'version': torchgeo_cmr.__version__,
        'modalities': ['s1', 's2'],
        'space': task.space,
        'specs': task.specs,
        'keys': {'s1': 'image_s1', 's2': 'image_s2'},
    }
    assert checkpoint['state_dict']['mean_s2'].tolist() == [1000.0] * 3


def test_training_goes_on_from_it(
    saved: tuple[SSCMRSIR, Path],
    make_task: Callable[..., SSCMRSIR],
    make_trainer: Callable[..., Trainer],
    data: Any,
) -> None:
    task, path = saved
    again = make_task(mean=None, std=None, bands=None)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(again, data, ckpt_path=path, weights_only=True)
    assert trainer.global_step == 4
    assert again.space != task.space


def test_fine_tuning_keeps_the_statistics(
    saved: tuple[SSCMRSIR, Path],
    make_trainer: Callable[..., Trainer],
    make_data: Callable,
    make_loader: Callable,
) -> None:
    _, path = saved
    task = load_task(path)
    make_trainer().fit(task, make_loader(8))
    assert task.training
    assert task.specs['s1']['mean'] == [-12.0, -12.0]
    swapped = make_data({'s1': ['VH', 'VV'], 's2': ['B02', 'B03', 'B04']})
    with pytest.raises(ValueError, match='VH, VV, are not those of the task'):
        make_trainer().fit(task, swapped)


class TestForeignClass:
    @pytest.fixture
    def path(self, tmp_path: Path, make_trainer: Callable[..., Trainer]) -> Path:
        torch.manual_seed(0)
        stats: dict[str, Any] = {
            'mean': {'s1': [0.0, 0.0], 's2': [0.0]},
            'std': {'s1': [1.0, 1.0], 's2': [1.0]},
        }
        task = Mine({'s1': 2, 's2': 1}, extra=3, model='test_resnet', **stats)
        trainer = make_trainer()
        trainer.strategy.connect(task)
        trainer.save_checkpoint(tmp_path / 'mine.ckpt')
        return tmp_path / 'mine.ckpt'

    def test_has_to_be_named(self, path: Path) -> None:
        with pytest.raises(
            ArchiveError, match=r"Mine', which torchgeo_cmr does not have"
        ):
            load_task(path)

    def test_loads_when_named(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded = load_task(path, Mine)
        assert isinstance(loaded, Mine)
        assert loaded.extra == 3
        import torchgeo_cmr.tasks.sscmrsir as module

        monkeypatch.setattr(module, 'Mine', Mine, raising=False)
        assert type(load_task(path, 'torchgeo_cmr.tasks.sscmrsir.Mine')) is Mine

    @pytest.mark.parametrize(
        ('name', 'message'),
        [
            ('no.such.Class', 'there is no task class no.such.Class'),
            ('torchgeo_cmr.tasks.Missing', 'there is no task class'),
            ('Mine', "'Mine' is not a task class: name a subclass"),
            ('torch.nn.Linear', "'torch.nn.Linear' is not a task class"),
            ('torchgeo_cmr.tasks.CrossModalTask', 'is not a task class'),
        ],
    )
    def test_names_that_lead_nowhere(self, path: Path, name: str, message: str) -> None:
        with pytest.raises(ArchiveError, match=message):
            load_task(path, name)


class TestRefuses:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveError, match=r'there is no checkpoint .*gone\.ckpt'):
            load_task(tmp_path / 'gone.ckpt')

    def test_cut_short(self, saved: tuple[SSCMRSIR, Path]) -> None:
        _, path = saved
        path.write_bytes(path.read_bytes()[:-5000])
        with pytest.raises(ArchiveError, match='damaged, cut short'):
            load_task(path)

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / 'notes.ckpt').write_text('not a checkpoint')
        with pytest.raises(ArchiveError, match='cannot be read as a checkpoint'):
            load_task(tmp_path / 'notes.ckpt')

    def test_code(self, tmp_path: Path) -> None:
        torch.save({'state_dict': {}, 'evil': CrossModalTask}, tmp_path / 'evil.ckpt')
        with pytest.raises(ArchiveError, match='more than weights and plain values'):
            load_task(tmp_path / 'evil.ckpt')

    @pytest.mark.parametrize('content', [[1], {'state_dict': {}}, {'torchgeo_cmr': {}}])
    def test_of_somebody_else(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / 'other.ckpt')
        with pytest.raises(ArchiveError, match="no 'torchgeo_cmr' section"):
            load_task(tmp_path / 'other.ckpt')

    @pytest.mark.parametrize('name', ['load_task', 'CrossModalTask', None, 'os.system'])
    def test_names_that_are_no_tasks(
        self, saved: tuple[SSCMRSIR, Path], name: str | None
    ) -> None:
        _, path = saved
        checkpoint = torch.load(path, weights_only=True)
        checkpoint['torchgeo_cmr']['task'] = name
        torch.save(checkpoint, path)
        with pytest.raises(ArchiveError, match='which torchgeo_cmr does not have'):
            load_task(path)

    def test_weights_that_do_not_fit(self, saved: tuple[SSCMRSIR, Path]) -> None:
        _, path = saved
        checkpoint = torch.load(path, weights_only=True)
        checkpoint['hyper_parameters']['output_dim'] = 7
        torch.save(checkpoint, path)
        with pytest.raises(ArchiveError, match='does not fit SSCMRSIR: Error'):
            load_task(path)


def fault_of(path: Path) -> str:
    (finding,) = verify_checkpoint(path)
    assert finding.file == str(path)
    return finding.fault


def test_whole_and_damaged(saved: tuple[SSCMRSIR, Path]) -> None:
    _, path = saved
    assert fault_of(path) == ''
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        largest = max(packed.infolist(), key=lambda info: info.file_size)
    # A flipped bit among the weights: torch loads it without a word.
    place = largest.header_offset + 200 + largest.file_size // 2
    content = bytearray(whole)
    content[place] ^= 1
    path.write_bytes(content)
    assert f'the checksum of {largest.filename} differs' in fault_of(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert 'cut short' in fault_of(path)


def test_weights_that_diverged(saved: tuple[SSCMRSIR, Path]) -> None:
    _, path = saved
    checkpoint = torch.load(path, weights_only=True)
    name = next(n for n, w in checkpoint['state_dict'].items() if w.is_floating_point())
    checkpoint['state_dict'][name].view(-1)[0] = float('nan')
    torch.save(checkpoint, path)
    assert f'NaN or infinity in {name}' in fault_of(path)


def test_weights_of_another_task(saved: tuple[SSCMRSIR, Path]) -> None:
    _, path = saved
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['state_dict'].popitem()
    torch.save(checkpoint, path)
    assert 'does not fit SSCMRSIR' in fault_of(path)


def test_settings_next_to_a_checkpoint_are_not_read(
    saved: tuple[SSCMRSIR, Path], tmp_path: Path
) -> None:
    """A run leaves config.yaml and hparams.yaml there; those of somebody else change nothing."""
    task, path = saved
    for name in ('config.yaml', 'hparams.yaml'):
        (tmp_path / name).write_text(
            f'x: !!python/object/apply:builtins.open ["{tmp_path}/ran", "w"]\n'
            'model: {class_path: foreign.Task, init_args: {model: vit_giant}}\n'
        )
    loaded = load_task(path)
    assert loaded.space == task.space
    assert dict(loaded.hparams) == dict(load_task(str(path)).hparams)
    assert all(not f.fault for f in verify_checkpoint(path))
    assert not (tmp_path / 'ran').exists()
