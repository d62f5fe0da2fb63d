"""A folder of the Hub holds a task: the same vectors and space in another process."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard

from torchgeo_cmr.errors import ArchiveError, CMRError, OutputExistsError
from torchgeo_cmr.tasks import (
    SSCMRSIR,
    CMIRNet,
    CMIRPretrain,
    describe_checkpoint,
    load_task,
    verify_checkpoint,
)
from torchgeo_cmr.tasks.storage import hub

SPECS = {
    's1': {
        'mean': [-12.0, -18.0],
        'std': [4.0, 5.0],
        'bands': ['VV', 'VH'],
        'units': 'db',
    },
    's2': {'mean': [900.0] * 3, 'std': [400.0] * 3, 'bands': ['B02', 'B03', 'B04']},
}


@pytest.fixture(params=['separate', 'joint'])
def task(request: pytest.FixtureRequest) -> SSCMRSIR:
    torch.manual_seed(3)
    made = SSCMRSIR({'s1': 2, 's2': 3}, 'test_resnet', variant=request.param)
    made.set_specs(SPECS)
    return made.eval()


def pictures(channels: int) -> torch.Tensor:
    return torch.rand(4, channels, 32, 32, generator=torch.Generator().manual_seed(1))


def test_folder_gives_the_same_vectors_and_space(
    task: SSCMRSIR, tmp_path: Path
) -> None:
    folder = task.save_pretrained(tmp_path / 'model')
    names = {file.name for file in folder.iterdir()}
    assert names == {'config.json', 'model.safetensors', 'README.md'}
    for loaded in (load_task(folder), SSCMRSIR.from_pretrained(folder)):
        assert loaded.space == task.space
        assert loaded.specs == task.specs
        assert not loaded.training
        for modality, channels in task.in_channels.items():
            batch = {f'image_{modality}': pictures(channels)}
            rows = loaded.embed(batch, modality)
            torch.testing.assert_close(
                rows, task.embed(batch, modality), rtol=0, atol=0
            )


@pytest.mark.slow
def test_another_process_embeds_alike(task: SSCMRSIR, tmp_path: Path) -> None:
    folder = task.save_pretrained(tmp_path / 'model')
    program = (
        'import sys, torch; from torchgeo_cmr.tasks import load_task\n'
        'task = load_task(sys.argv[1])\n'
        'x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))\n'
        "print(task.space, task.embed({'image_s2': x}, 's2').double().sum().item())"
    )
    done = forked.run('-c', program, folder)
    assert done.returncode == 0, done.stderr
    space, total = done.stdout.split()
    expected = task.embed({'image_s2': pictures(3)}, 's2').double().sum().item()
    assert space == task.space
    assert float(total) == pytest.approx(expected, abs=1e-5)


def test_other_tasks_and_classes(tmp_path: Path) -> None:
    made = CMIRPretrain({'pan': 1, 'ms': 4}, 3, 'cmir_small')
    folder = made.save_pretrained(tmp_path / 'pair', licence='mit')
    assert CMIRPretrain.from_pretrained(folder).space == made.space
    with pytest.raises(ArchiveError, match='is a CMIRPretrain and not a CMIRNet'):
        CMIRNet.from_pretrained(folder)
    card = ModelCard.load(folder / 'README.md')
    assert card.data.license == 'mit'
    assert card.data.library_name == 'torchgeo_cmr'
    assert '[fill in]' in card.text


def test_a_folder_is_described_and_checked_as_a_file(
    task: SSCMRSIR, tmp_path: Path
) -> None:
    folder = task.save_pretrained(tmp_path / 'model')
    file = task.save(tmp_path / 'task.ckpt')
    one, other = describe_checkpoint(folder), describe_checkpoint(file)
    for name in ('task', 'version', 'space', 'modalities', 'parameters'):
        assert one[name] == other[name]
    assert next(verify_checkpoint(folder)).fault == ''


def test_nothing_is_replaced_unless_asked(task: SSCMRSIR, tmp_path: Path) -> None:
    folder = task.save_pretrained(tmp_path / 'model')
    (folder / 'notes.txt').write_text('mine')
    before = (folder / 'config.json').read_bytes()
    with pytest.raises(OutputExistsError, match='is there already'):
        task.save_pretrained(folder)
    assert (folder / 'config.json').read_bytes() == before
    task.save_pretrained(folder, overwrite=True)
    assert (folder / 'notes.txt').read_text() == 'mine'


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='no limit of the size of a file')
def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    program = (
        'import resource, signal, sys; from torchgeo_cmr.tasks import SSCMRSIR\n'
        "task = SSCMRSIR({'s1': 2, 's2': 3}, 'test_resnet')\n"
        # The first byte beyond it kills the process, in the middle of the weights.
        'signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n'
        'task.save_pretrained(sys.argv[1])'
    )
    done = forked.run('-c', program, tmp_path)
    assert done.returncode < 0, done.stderr
    (left,) = tmp_path.iterdir()
    assert left.name.startswith('.model.tmp-')
    SSCMRSIR({'s1': 2, 's2': 3}, 'test_resnet').save_pretrained(tmp_path)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {'config.json', 'model.safetensors', 'README.md'}


def break_weights(folder: Path) -> None:
    file = folder / 'model.safetensors'
    content = bytearray(file.read_bytes())
    content[-9] ^= 4
    file.write_bytes(content)


def other_weights(folder: Path) -> None:
    safetensors.torch.save_file({'a': torch.zeros(1)}, folder / 'model.safetensors')


def change_config(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        file = folder / 'config.json'
        content = json.loads(file.read_text())
        for name, value in changes.items():
            content[name] = value
        file.write_text(json.dumps(content))

    return change


def foreign(**content: Any) -> Any:
    def change(folder: Path) -> None:
        (folder / 'config.json').write_text(json.dumps(content))

    return change


@pytest.mark.parametrize(
    ('harm', 'words'),
    [
        (break_weights, 'is damaged, or not that of its config.json'),
        (other_weights, 'is damaged, or not that of its config.json'),
        (lambda folder: (folder / 'model.safetensors').unlink(), 'there is no'),
        (lambda folder: (folder / 'config.json').unlink(), 'holds no config.json'),
        (lambda folder: (folder / 'config.json').write_text('{'), 'config.json'),
        (change_config(format=9), 'is of format 9'),
        (change_config(shared={'a': 'nowhere'}), "names weights 'nowhere'"),
        (change_config(shared=7), 'shared'),
        (change_config(hyper_parameters={'lr': 'x', 'in_channels': 3}), 'does not fit'),
        (change_config(torchgeo_cmr={}), 'config.json'),
        (
            foreign(model_type='bert', architectures=['BertModel']),
            r'is of another library \(BertModel\): name a folder that save_pretrained',
        ),
        (foreign(library_name='timm'), r'is of another library \(timm\)'),
        (foreign(), 'is of another library: name'),
    ],
)
def test_broken_folders_are_one_sentence(tmp_path: Path, harm: Any, words: str) -> None:
    made = SSCMRSIR({'s1': 2, 's2': 3}, 'test_resnet')
    folder = made.save_pretrained(tmp_path / 'model')
    harm(folder)
    with pytest.raises(ArchiveError, match=words) as error:
        load_task(folder)
    assert '\n' not in str(error.value)


def test_a_name_of_the_hub_is_fetched(
    task: SSCMRSIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = task.save_pretrained(tmp_path / 'model'), []

    def fetch(name: str, **options: Any) -> str:
        asked.append((name, options['revision'], sorted(options['allow_patterns'])))
        if name != 'somebody/model':
            raise OSError(f'404 Client Error: {name}\nmore')
        return str(folder)

    monkeypatch.setattr(hub, 'snapshot_download', fetch)
    monkeypatch.chdir(tmp_path)
    assert load_task('somebody/model', revision='v1').space == task.space
    files = ['README.md', 'config.json', 'model.safetensors']
    assert asked == [('somebody/model', 'v1', files)]
    with pytest.raises(ArchiveError, match='the Hub does not give it'):
        load_task('somebody/else')
    # What is here, or looks like a file, is never looked for there.
    shutil.copytree(folder, tmp_path / 'here' / 'model')
    assert load_task('here/model').space == task.space
    for path in ('runs/best.ckpt', '/runs/best', 'best', 'a/b/c', '../best'):
        with pytest.raises(ArchiveError, match='there is no checkpoint'):
            load_task(path)
    assert len(asked) == 2


def test_push_uploads_what_is_saved(
    task: SSCMRSIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / 'there'

    class Hub:
        def __init__(self, token: str | None) -> None:
            assert token == 'secret'

        def create_repo(self, name: str, **options: Any) -> Any:
            assert options == {'private': True, 'exist_ok': True}
            return type('Repository', (), {'repo_id': name})

        def upload_folder(self, *, folder_path: Path, **options: Any) -> str:
            assert options['repo_id'] == 'me/model'
            shutil.copytree(folder_path, kept)
            return 'https://hub/commit'

    monkeypatch.setattr(hub, 'HfApi', Hub)
    where = task.push_to_hub('me/model', private=True, token='secret')
    assert where == 'https://hub/commit'
    assert load_task(kept).space == task.space

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError('401 secret\nmore')

    monkeypatch.setattr(Hub, 'create_repo', refuse)
    with pytest.raises(CMRError, match='was not pushed'):
        task.push_to_hub('me/model', token='secret')
