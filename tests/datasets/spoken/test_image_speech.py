"""Images and utterances of one class; ADVANCE; the labels of TorchGeo's datasets."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchgeo.datasets import DatasetNotFoundError, DLRSDMultilabel, UCMerced

from torchgeo_cmr.datasets import ADVANCEPairs, ClassFolders, ImageSpeech, SpokenLabels
from torchgeo_cmr.datasets.spoken.image_speech import labels_of
from torchgeo_cmr.errors import PairingError

FAKE = runpy.run_path(str(Path(__file__).parents[2] / 'data' / 'speech' / 'data.py'))
CLASSES = ('beach', 'forest', 'river')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('both')
    FAKE['write_images'](path / 'images', CLASSES, 5)
    FAKE['write_corpus'](path / 'speech', CLASSES, voices=4)
    return path


@pytest.fixture(scope='module')
def dlrsd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of UC Merced with 17 labels each, as TorchGeo lays them out."""
    path = tmp_path_factory.mktemp('dlrsd')
    classes = DLRSDMultilabel.classes
    rows = []
    for number, found in enumerate(([0, 10], [2], [2, 10, 15], [16])):
        name = f'scene{number:02d}'
        folder = path / 'DLRSD' / 'Images' / 'scene'
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), 40 * number, np.uint8)).save(
            folder / f'{name}.tif'
        )
        rows.append([name, *(int(c in found) for c in range(len(classes)))])
    frame = pd.DataFrame(rows, columns=['IMAGE', *classes])
    frame.to_csv(path / 'DLRSD' / 'multilabels.csv', index=False)
    FAKE['write_corpus'](path / 'speech', classes, voices=2, takes=1)
    return path


def both(root: Path, **options: object) -> ImageSpeech:
    return ImageSpeech(
        ClassFolders(root / 'images'),
        SpokenLabels(root / 'speech', seconds=0.5),
        **options,  # ty: ignore[invalid-argument-type]
    )


class TestOneLabel:
    def test_a_sample(self, root: Path) -> None:
        sample = both(root, size=8)[12]
        assert {k: tuple(v.shape) for k, v in sample.items()} == {
            'image_image': (3, 8, 8),
            'audio': (1, 8000),
            'label': (),
            'audio_label': (),
        }
        assert int(sample['label']) == int(sample['audio_label']) == 2

    def test_random_pairs_change_and_cover(self, root: Path) -> None:
        dataset = both(root)
        assert len(dataset) == 15
        torch.manual_seed(0)
        heard = {float(dataset[7]['audio'].square().sum()) for _ in range(100)}
        # eight utterances of the class, all of them sooner or later
        assert len(heard) == 8
        torch.manual_seed(0)
        one = dataset[7]['audio']
        torch.manual_seed(0)
        assert torch.equal(dataset[7]['audio'], one)

    def test_each_takes_everything_once_or_more(self, root: Path) -> None:
        dataset = both(root, pairing='each')
        # five images and eight utterances a class
        assert len(dataset) == 24
        pairs = dataset._pairs
        assert {i for i, _ in pairs} == set(range(15))
        assert sorted(u for _, u in pairs) == list(range(24))
        for image, utterance in pairs:
            assert dataset.labels[image] == dataset.speech.labels[utterance]
        assert dataset[23]['audio_label'] == dataset[23]['label']

    def test_each_with_more_images_than_words(self, root: Path) -> None:
        few = SpokenLabels(root / 'speech', n_per_class=2)
        dataset = ImageSpeech(ClassFolders(root / 'images'), few, pairing='each')
        assert len(dataset) == 15
        assert {u for _, u in dataset._pairs} == set(range(6))

    def test_plot(self, root: Path) -> None:
        dataset = both(root)
        figure = dataset.plot(dataset[0], suptitle='x')
        assert [a.get_title() for a in figure.axes] == ['beach', 'beach']

    def test_past_the_end(self, root: Path) -> None:
        with pytest.raises(IndexError):
            both(root, pairing='each')[24]

    def test_refused(self, root: Path) -> None:
        with pytest.raises(PairingError, match="pairing 'some' is not known"):
            both(root, pairing='some')
        other = SpokenLabels(root / 'speech', ('river', 'beach', 'forest'))
        with pytest.raises(
            PairingError, match='open the speech with the classes of the'
        ):
            ImageSpeech(ClassFolders(root / 'images'), other)


class TestManyLabels:
    def speech(self, dlrsd: Path) -> SpokenLabels:
        return SpokenLabels(dlrsd / 'speech', DLRSDMultilabel.classes, seconds=0.5)

    def test_torchgeo_has_what_we_build_on(self) -> None:
        assert len(DLRSDMultilabel.classes) == 17
        assert DLRSDMultilabel.classes[14] == 'tanks'

    def test_any_label_of_the_image_is_spoken(self, dlrsd: Path) -> None:
        dataset = ImageSpeech(DLRSDMultilabel(str(dlrsd)), self.speech(dlrsd))
        assert dataset.labels.shape == (4, 17)
        torch.manual_seed(0)
        samples = [dataset[2] for _ in range(60)]
        assert {int(s['audio_label']) for s in samples} == {2, 10, 15}
        assert samples[0]['label'].dtype == torch.float32
        assert torch.nonzero(samples[0]['label']).flatten().tolist() == [2, 10, 15]

    def test_all_enumerates_images_with_labels(self, dlrsd: Path) -> None:
        dataset = ImageSpeech(
            DLRSDMultilabel(str(dlrsd)), self.speech(dlrsd), pairing='all'
        )
        found = [(i, int(dataset.speech.labels[u])) for i, u in dataset._pairs]
        assert found == [(0, 0), (0, 10), (1, 2), (2, 2), (2, 10), (2, 15), (3, 16)]
        # a class that comes twice is heard in two voices
        assert dataset._pairs[2][1] != dataset._pairs[3][1]

    def test_each(self, dlrsd: Path) -> None:
        dataset = ImageSpeech(
            DLRSDMultilabel(str(dlrsd)), self.speech(dlrsd), pairing='each'
        )
        heard = {u for _, u in dataset._pairs}
        shown = {0, 2, 10, 15, 16}
        # every utterance of a class that some image shows
        assert {int(dataset.speech.labels[u]) for u in heard} == shown
        assert len(heard) == 2 * len(shown)
        assert {i for i, _ in dataset._pairs} == {0, 1, 2, 3}
        for image, utterance in dataset._pairs:
            assert dataset.labels[image, dataset.speech.labels[utterance]] == 1

    def test_a_subset(self, dlrsd: Path) -> None:
        subset = Subset(DLRSDMultilabel(str(dlrsd)), [3, 1])
        dataset = ImageSpeech(subset, self.speech(dlrsd))
        assert int(dataset[0]['audio_label']) == 16
        assert int(dataset[1]['audio_label']) == 2

    def test_an_image_without_a_label(self, dlrsd: Path) -> None:
        images = DLRSDMultilabel(str(dlrsd))
        images.multilabels = {**images.multilabels, 'scene01': [0] * 17}
        with pytest.raises(PairingError, match='image 1 has no label that could be'):
            ImageSpeech(images, self.speech(dlrsd))


def test_labels_of_ucmerced(tmp_path: Path) -> None:
    base = tmp_path / UCMerced.base_dir
    names = []
    for name in ('agricultural', 'beach'):
        for i in range(3):
            (base / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(
                base / name / f'{name}{i:02d}.tif'
            )
            names.append(f'{name}{i:02d}.tif')
    (tmp_path / 'uc_merced-val.txt').write_text('\n'.join(names[1:5]))
    dataset = UCMerced(str(tmp_path), 'val')
    assert labels_of(dataset).tolist() == [0, 0, 1, 1]
    FAKE['write_corpus'](tmp_path / 'speech', ('agricultural', 'beach'), voices=1)
    pairs = ImageSpeech(dataset, SpokenLabels(tmp_path / 'speech'))
    assert pairs[3]['image_image'].shape == (3, 256, 256)


class TestAdvance:
    @pytest.fixture
    def advance(self, tmp_path: Path) -> Path:
        for number, name in enumerate(('airport', 'beach')):
            FAKE['write_images'](tmp_path / 'png', (name,), 5)
            for i in range(5):
                stem = f'{10 * number + i:05d}'
                picture = tmp_path / 'vision' / name / f'{stem}.jpg'
                picture.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(tmp_path / 'png' / name / f'{i:02d}.png') as file:
                    file.save(picture)
                # 22.05 kHz in stereo, as sounds of the web are
                sound = FAKE['tone'](number, i, 1.0, 22_050)
                FAKE['write_pcm'](
                    tmp_path / 'sound' / name / f'{stem}.wav',
                    np.stack([sound, sound], 1),
                    rate=22_050,
                )
        return tmp_path

    def test_pairs(self, advance: Path) -> None:
        dataset = ADVANCEPairs(str(advance), size=16, seconds=0.5)
        assert (len(dataset), dataset.classes) == (10, ('airport', 'beach'))
        sample = dataset[7]
        assert sample['image_image'].shape == (3, 16, 16)
        assert sample['audio'].shape == (1, 8000)
        assert 0.1 < float(sample['audio'].abs().max()) <= 1
        assert int(sample['label']) == int(sample['audio_label']) == 1
        assert dataset.plot(sample).axes[0].get_title() == 'beach'

    def test_splits(self, advance: Path) -> None:
        parts = [ADVANCEPairs(str(advance), s) for s in ('train', 'val', 'test')]
        assert [len(part) for part in parts] == [6, 2, 2]
        assert len({f['audio'] for part in parts for f in part.files}) == 10
        with pytest.raises(PairingError, match="split 'dev' is not known"):
            ADVANCEPairs(str(advance), 'dev')

    @pytest.mark.parametrize('name', ['airport/00001', 'beach/00014'])
    def test_a_sound_that_is_missing(self, advance: Path, name: str) -> None:
        sound = advance / 'sound' / f'{name}.wav'
        sound.unlink()
        with pytest.raises(PairingError, match='has 10 images and 9 sounds: a file is'):
            ADVANCEPairs(str(advance))
        # as many, but another one
        FAKE['write_pcm'](sound.with_name('00099.wav'), FAKE['tone'](0, 0, 1.0))
        with pytest.raises(PairingError, match=r'image .* meets the sound .*a file is'):
            ADVANCEPairs(str(advance))

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetNotFoundError):
            ADVANCEPairs(str(tmp_path))
