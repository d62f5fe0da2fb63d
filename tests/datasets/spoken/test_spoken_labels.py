"""Spoken labels: one length, split by voice or by utterance, and what may be missing."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchgeo_cmr.datasets import SpokenLabels
from torchgeo_cmr.datasets.spoken.spoken_labels import fit, trim
from torchgeo_cmr.errors import AudioError
from torchgeo_cmr.speech import RATE

FAKE = runpy.run_path(str(Path(__file__).parents[2] / 'data' / 'speech' / 'data.py'))
REAL = Path(__file__).parents[4] / 'shared' / 'data' / 'speech_commands'
CLASSES = ('beach', 'mobile home', 'river')


@pytest.fixture(scope='module')
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('speech')
    FAKE['write_corpus'](root, CLASSES, voices=15)
    return root


class TestSamples:
    def test_shape_kind_and_label(self, corpus: Path) -> None:
        dataset = SpokenLabels(corpus, seconds=0.75)
        assert (len(dataset), dataset.classes) == (90, CLASSES)
        for index in (0, 35, 89):
            sample = dataset[index]
            assert sample['audio'].shape == (1, 12_000)
            assert sample['audio'].dtype == torch.float32
            assert sample['audio_label'].dtype == torch.int64
            assert int(sample['audio_label']) == index // 30
            # half a second of tone in the middle of three quarters
            loud = torch.nonzero(sample['audio'][0]).flatten()
            assert abs(int(loud[0]) + int(loud[-1]) - 12_000) < 50
            assert int(loud[-1] - loud[0]) == pytest.approx(8000, abs=50)

    def test_the_right_file(self, corpus: Path) -> None:
        dataset = SpokenLabels(corpus, seconds=0.5)
        spectrum = torch.fft.rfft(dataset[60]['audio'][0]).abs()
        # class 2 in its first voice
        assert float(spectrum.argmax()) * 2 in (540, 1300)
        assert dataset.utterances[60].path.parts[-2:] == ('river', 'voice0_0.wav')

    def test_classes_number_the_labels(self, corpus: Path) -> None:
        dataset = SpokenLabels(corpus, ('river', 'beach'))
        assert len(dataset) == 60
        assert {
            u.label: int(c)
            for u, c in zip(dataset.utterances, dataset.labels, strict=True)
        } == {'river': 0, 'beach': 1}

    def test_names_may_be_spelt_otherwise(self, corpus: Path) -> None:
        dataset = SpokenLabels(corpus, ('River', 'mobile_home', 'beach'))
        assert dataset.classes == ('River', 'mobile_home', 'beach')
        said = [(u.label, u.path.parent.name) for u in dataset.utterances]
        assert set(said) == {
            ('River', 'river'),
            ('mobile_home', 'mobile home'),
            ('beach', 'beach'),
        }
        # two wanted classes differ in nothing else: which is meant is not guessed
        with pytest.raises(AudioError, match='does not speak Mobilehome, mobile_home'):
            SpokenLabels(corpus, ('Mobilehome', 'mobile_home'))

    def test_n_per_class(self, corpus: Path) -> None:
        dataset = SpokenLabels(corpus, n_per_class=4)
        assert torch.bincount(dataset.labels).tolist() == [4, 4, 4]

    def test_transforms(self, corpus: Path) -> None:
        dataset = SpokenLabels(
            corpus, transforms=lambda s: {**s, 'twice': 2 * s['audio']}
        )
        sample = dataset[0]
        assert torch.equal(sample['twice'], 2 * sample['audio'])

    def test_plot(self, corpus: Path) -> None:
        dataset = SpokenLabels(corpus)
        figure = dataset.plot(dataset[40], suptitle='word')
        assert figure.axes[0].get_title() == 'mobile home'


def test_silence_at_the_ends_is_cut() -> None:
    sound = np.zeros(100, np.float32)
    sound[30:40] = [0.5, -1, 0.5, 0, 0, 0, 0, 0.2, 0.3, 0.009]
    assert len(trim(sound)) == 9
    assert np.array_equal(fit(np.arange(5, dtype=np.float32), 3), [1, 2, 3])
    assert np.array_equal(fit(np.ones(2, np.float32), 5), [0, 1, 1, 0, 0])


class TestSplits:
    def test_by_voice_no_speaker_is_shared(self, corpus: Path) -> None:
        parts = {s: SpokenLabels(corpus, split=s) for s in ('train', 'val', 'test')}
        voices = [set(part.voices) for part in parts.values()]
        assert [len(v) for v in voices] == [10, 2, 3]
        assert not voices[0] & voices[1] | voices[0] & voices[2] | voices[1] & voices[2]
        assert [len(part) for part in parts.values()] == [60, 12, 18]
        for part in parts.values():
            assert len(set(torch.bincount(part.labels).tolist())) == 1

    def test_by_utterance_each_class_is_divided(self, corpus: Path) -> None:
        options: dict[str, Any] = {'hold_out': 'utterance', 'n_per_class': 15}
        parts = [
            SpokenLabels(corpus, split=s, **options) for s in ('train', 'val', 'test')
        ]
        assert [torch.bincount(p.labels).tolist() for p in parts] == [
            [10] * 3,
            [2] * 3,
            [3] * 3,
        ]
        files = [{u.path for u in part.utterances} for part in parts]
        assert len(set.union(*files)) == sum(map(len, files)) == 45

    def test_seed(self, corpus: Path) -> None:
        def voices(seed: int) -> tuple[str, ...]:
            return SpokenLabels(corpus, split='test', seed=seed).voices

        assert voices(3) == voices(3)
        assert len({voices(seed) for seed in range(5)}) > 1


class TestManifest:
    def write(self, root: Path, text: str) -> Path:
        path = root / 'mine.csv'
        path.write_text(text)
        return path

    def test_files_anywhere(self, tmp_path: Path) -> None:
        for name in ('one', 'two'):
            FAKE['write_pcm'](tmp_path / 'deep' / f'{name}.wav', FAKE['tone'](0))
        path = self.write(
            tmp_path, 'file,label,voice\ndeep/one.wav,sea,ann\ndeep/two.wav,lake,bob\n'
        )
        dataset = SpokenLabels(tmp_path, manifest=path)
        assert dataset.classes == ('lake', 'sea')
        assert dataset.labels.tolist() == [1, 0]
        assert dataset.voices == ('ann', 'bob')
        assert dataset[1]['audio'].any()

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            (
                'file,label\na.wav,sea\nb.wav,\n',
                'line 3 of .* has no label: fill it in',
            ),
            ('file,label\n,sea\n', 'line 2 of .* has no file'),
            ('path,label\na.wav,sea\n', 'has no column file, it has path, label'),
            ('', 'has no column file or label, it has nothing'),
            ('file,label\n', 'lists no utterance'),
            (
                'file,label\na.wav,sea\n./a.wav,lake\n',
                r'line 3 of .* lists ./a.wav again, .* \(lake, none\) than before \(sea, none\)',
            ),
            (
                'file,label,voice\na.wav,sea,ann\na.wav,sea,bob\n',
                r'line 3 of .* \(sea, bob\) than before \(sea, ann\): take one of',
            ),
        ],
    )
    def test_refused(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(AudioError, match=message):
            SpokenLabels(tmp_path, manifest=self.write(tmp_path, text))

    @pytest.mark.parametrize('hold_out', ['voice', 'utterance'])
    def test_a_file_that_is_listed_twice_is_in_one_split(
        self, tmp_path: Path, hold_out: Any
    ) -> None:
        lines = [f'sea/v{i}_0.wav,sea\nsea/../sea/v{i}_0.wav, sea' for i in range(15)]
        path = self.write(tmp_path, '\n'.join(['file,label', *lines]))
        found = [
            SpokenLabels(tmp_path, None, split, manifest=path, hold_out=hold_out)
            for split in ('train', 'val', 'test')
        ]
        names = [u.path.name for part in found for u in part.utterances]
        assert len(names) == len(set(names)) == 15

    def test_a_speaker_is_one_whatever_spaces_surround_the_name(
        self, tmp_path: Path
    ) -> None:
        """Or the same voice would be in two splits."""
        lines = ['file,label,voice', 'a_1.wav,sea,ann', 'a_2.wav,sea, ann ']
        lines += ['b_1.wav,sea,bob', 'c_1.wav,sea,  ']
        path = self.write(tmp_path, '\n'.join(lines))
        dataset = SpokenLabels(tmp_path, manifest=path)
        assert dataset.voices == ('ann', 'bob', 'c')

    def test_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / 'mine.csv'
        path.write_bytes('file,label\na.wav,Gewässer\n'.encode('latin-1'))
        with pytest.raises(
            AudioError, match=r'mine.csv is not text in UTF-8 .*save the'
        ):
            SpokenLabels(tmp_path, manifest=path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(AudioError, match='there is no manifest'):
            SpokenLabels(tmp_path, manifest=tmp_path / 'none.csv')


class TestRefused:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (
                {'classes': ['river', 'tanks']},
                'does not speak tanks; it speaks beach, mobile home, river: record',
            ),
            ({'split': 'tset'}, "split 'tset' with hold_out 'voice' is not known"),
            ({'hold_out': 'word'}, "hold_out 'word' is not known"),
            ({'seconds': 0}, 'seconds is 0'),
        ],
    )
    def test_in_a_sentence(self, corpus: Path, options: Any, message: str) -> None:
        with pytest.raises(AudioError, match=message):
            SpokenLabels(corpus, **options)

    def test_no_corpus(self, tmp_path: Path) -> None:
        with pytest.raises(
            AudioError, match=r'there is no folder .*torchgeo-cmr speak'
        ):
            SpokenLabels(tmp_path / 'none')
        with pytest.raises(AudioError, match=r'holds no <class>/<voice>_<n>.wav'):
            SpokenLabels(tmp_path)

    @pytest.mark.parametrize(
        'name', ['{label}_{voice}_{n}.wav', '{voice}_{label}_{n}.wav']
    )
    @pytest.mark.parametrize('listed', [False, True])
    def test_a_class_in_every_name_is_no_part_of_the_voice(
        self, tmp_path: Path, name: str, listed: bool
    ) -> None:
        """Or a speaker would be in two splits, by another name for every class."""
        lines = ['file,label']
        for label in ('sea', 'Storage tanks'):
            for voice in ('ann', 'bob_2', 'cy'):
                for n in range(2):
                    word = label.lower().replace(' ', '_')
                    path = tmp_path / label / name.format(label=word, voice=voice, n=n)
                    path.parent.mkdir(exist_ok=True)
                    path.touch()
                    lines.append(f'{path.relative_to(tmp_path)},{label}')
        manifest = None
        if listed:
            manifest = tmp_path / 'manifest.csv'
            manifest.write_text('\n'.join(lines))
        parts = [
            SpokenLabels(tmp_path, split=split, manifest=manifest).voices
            for split in ('train', 'val', 'test')
        ]
        assert sorted(voice for part in parts for voice in part) == [
            'ann',
            'bob_2',
            'cy',
        ]
        # One name without its class: they are what speakers are called.
        (tmp_path / 'sea' / 'dan_0.wav').touch()
        voices = SpokenLabels(tmp_path).voices
        assert 'dan' in voices
        assert len(voices) == 7

    def test_too_few_voices(self, tmp_path: Path) -> None:
        FAKE['write_corpus'](tmp_path, ('a', 'b'), voices=2)
        with pytest.raises(AudioError, match=r"2 voices .* hold_out='utterance'"):
            SpokenLabels(tmp_path, split='train')

    def test_a_class_nobody_says_in_this_split(self, tmp_path: Path) -> None:
        FAKE['write_corpus'](tmp_path, ('a', 'b'), voices=6)
        for path in (tmp_path / 'b').glob('*'):
            if not path.name.startswith('voice0'):
                path.unlink()
        with pytest.raises(AudioError, match='does not speak b in the test split'):
            SpokenLabels(tmp_path, split='test')

    def test_a_broken_file_is_named(self, tmp_path: Path) -> None:
        FAKE['write_corpus'](tmp_path, ('a',), voices=1)
        (tmp_path / 'a' / 'voice0_0.wav').write_bytes(b'')
        dataset = SpokenLabels(tmp_path)
        with pytest.raises(AudioError, match=r'voice0_0.wav is empty'):
            dataset[0]
        assert dataset[1]['audio'].any()


@pytest.mark.skipif(not REAL.is_dir(), reason='the shared recordings are not here')
def test_real_recordings() -> None:
    dataset = SpokenLabels(REAL, seconds=1)
    assert (len(dataset), len(dataset.classes)) == (109, 30)
    batch = torch.stack([dataset[i]['audio'] for i in range(0, 109, 10)])
    assert batch.shape == (11, 1, RATE)
    assert batch.isfinite().all()
    assert (batch.abs().amax(dim=2) > 0).all()
