"""Images and speech as batches: held out by image and by voice; DSRSID's too."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from torchgeo_cmr.datamodules import DSRSIDDataModule, ImageSpeechDataModule
from torchgeo_cmr.datasets import ClassFolders, ImageSpeech
from torchgeo_cmr.errors import AudioError, PairingError

DATA = Path(__file__).parents[1] / 'data'
FAKE = runpy.run_path(str(DATA / 'speech' / 'data.py'))
CLASSES = ('beach', 'forest', 'river')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('both')
    FAKE['write_images'](path / 'images', CLASSES, 10)
    FAKE['write_corpus'](path / 'speech', CLASSES, voices=8)
    FAKE['write_corpus'](path / 'people', (*CLASSES, 'sea'), voices=2)
    return path


def module(root: Path, **options: Any) -> ImageSpeechDataModule:
    defaults: dict[str, Any] = {'batch_size': 6, 'size': 16, 'seconds': 0.5}
    return ImageSpeechDataModule(
        str(root / 'images'), str(root / 'speech'), **{**defaults, **options}
    )


def part(data: ImageSpeechDataModule, split: str) -> ImageSpeech:
    data.setup()
    found = data.parts[split]
    assert isinstance(found, ImageSpeech)
    return found


def test_batches(root: Path) -> None:
    data = module(root)
    assert data.classes == CLASSES
    assert data.modalities == ('image', 'speech')
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    for loader in loaders:
        for batch in loader:
            size = len(batch['label'])
            assert batch['image_image'].shape == (size, 3, 16, 16)
            assert batch['audio'].shape == (size, 1, 8000)
            assert batch['audio'].dtype == batch['image_image'].dtype == torch.float32
            assert torch.equal(batch['label'], batch['audio_label'])
    assert len(loaders[0]) == 3
    data.val_batch_size = 2
    assert len(next(iter(data.val_dataloader()))['label']) == 2


def test_nothing_is_shared_between_splits(root: Path) -> None:
    data = module(root)
    parts = [part(data, split) for split in ('train', 'val', 'test')]
    for one in range(3):
        for other in range(one):
            a, b = parts[one], parts[other]
            assert isinstance(a.images, ClassFolders)
            assert isinstance(b.images, ClassFolders)
            assert not set(a.images.files) & set(b.images.files)
            assert not set(a.speech.voices) & set(b.speech.voices)


def test_every_test_item_is_there(root: Path) -> None:
    test = part(module(root), 'test')
    assert {i for i, _ in test._pairs} == set(range(len(test.images)))
    assert {u for _, u in test._pairs} == set(range(len(test.speech)))


def test_description(root: Path) -> None:
    spec = module(root).describe()
    assert list(spec) == ['image', 'speech']
    image, speech = spec['image'], spec['speech']
    # greys of 40, 70 and 100 and up to 8 of noise
    assert image['mean'] == pytest.approx([74] * 3, abs=1)
    assert image['std'] == pytest.approx([24.6] * 3, abs=1)
    assert (image['bands'], image['units']) == (['R', 'G', 'B'], 'dn')
    assert (image['patch_size'], speech['patch_size']) == (16, 8000)
    assert (speech['units'], speech['bands']) == ('waveform', ['audio'])
    assert (speech['sample_rate'], speech['seconds']) == (16_000, 0.5)
    assert speech['mean'] == pytest.approx([0], abs=0.01)
    assert 0.2 < speech['std'][0] < 0.5


def test_flips_leave_sound_and_labels_alone(root: Path) -> None:
    data = module(root)
    data.setup()
    torch.manual_seed(0)
    batch = next(iter(data.train_dataloader()))
    copy = {k: v.clone() for k, v in batch.items()}
    flipped = data.train_aug(copy)  # ty: ignore[not-callable]
    assert not torch.equal(flipped['image_image'], batch['image_image'])
    for key in ('audio', 'label', 'audio_label'):
        assert torch.equal(flipped[key], batch[key])


def test_repeat_hears_more(root: Path) -> None:
    assert len(module(root, repeat=3).train_dataloader()) == 10


def test_recordings_of_people_to_test_on(root: Path) -> None:
    data = module(root, test_audio=str(root / 'people'))
    assert part(data, 'test').speech.root == root / 'people'
    assert len(part(data, 'test').speech) == 12
    voices = [set(part(data, s).speech.voices) for s in ('train', 'val')]
    assert [len(v) for v in voices] == [7, 1]


def test_a_choice_of_classes(root: Path) -> None:
    data = module(root, classes=['river', 'beach'], batch_size=4)
    assert data.classes == ('river', 'beach')
    assert set(next(iter(data.test_dataloader()))['label'].tolist()) <= {0, 1}


def test_plot(root: Path) -> None:
    data = module(root)
    batch = next(iter(data.val_dataloader()))
    figure = data.plot({key: value[0] for key, value in batch.items()})
    assert len(figure.axes) == 2


class TestRefused:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'layout': 'files'}, "layout 'files' is not known: use one of folders"),
            ({'audio': None}, 'images need utterances: give `audio`'),
            ({'layout': 'advance'}, 'ADVANCE has its own sound'),
        ],
    )
    def test_options(self, root: Path, options: Any, message: str) -> None:
        given: dict[str, Any] = {'audio': str(root / 'speech'), **options}
        with pytest.raises(PairingError, match=message):
            ImageSpeechDataModule(str(root / 'images'), **given)

    def test_a_class_that_nobody_speaks(self, root: Path, tmp_path: Path) -> None:
        FAKE['write_corpus'](tmp_path, CLASSES[:2], voices=6)
        data = module(root)
        data.audio = str(tmp_path)
        with pytest.raises(AudioError, match='does not speak river'):
            data.setup()

    def test_too_few_for_a_batch(self, root: Path) -> None:
        with pytest.raises(
            PairingError, match='21 training pairs do not fill one batch'
        ):
            module(root, batch_size=64).train_dataloader()


def test_dsrsid(tmp_path: Path) -> None:
    runpy.run_path(str(DATA / 'dsrsid' / 'data.py'))['write'](
        tmp_path / 'DSRSID.mat', pairs=4
    )
    data = DSRSIDDataModule(str(tmp_path), batch_size=8)
    spec = data.describe()
    assert {m: s['patch_size'] for m, s in spec.items()} == {'pan': 256, 'ms': 64}
    assert {m: s['gsd'] for m, s in spec.items()} == {'pan': 2, 'ms': 8}
    assert len(spec['ms']['mean']) == 4
    assert len(data.classes) == 8
    batch = next(iter(data.train_dataloader()))
    assert batch['image_pan'].shape == (8, 1, 256, 256)
    assert batch['label'].dtype == torch.int64
    assert len(list(data.test_dataloader())) == 1
