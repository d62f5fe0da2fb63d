"""Sound and plain images: one row a file, its class, and no place."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.control import GroundControlPoint
from torch import Tensor, nn

from torchgeo_cmr.embed import (
    RefusedWarning,
    embed_images,
    embed_sounds,
    find_files,
    kind_of,
    read_report,
)
from torchgeo_cmr.embed.files.file_kinds import has_place
from torchgeo_cmr.errors import ArchiveError, AudioError, CMRError, RasterError
from torchgeo_cmr.table import EmbeddingTable

FAKE = runpy.run_path(str(Path(__file__).parents[2] / 'data' / 'speech' / 'data.py'))
CLASSES = ('beach', 'forest', 'river')

type Writer = Callable[..., Path]


class Ears(nn.Module):
    """Sees and hears: random projections that never change."""

    see: Tensor
    hear: Tensor

    def __init__(self, images: tuple[str, ...] = ('image',), seed: int = 0) -> None:
        super().__init__()
        self.keys = {**{m: f'image_{m}' for m in images}, 'speech': 'audio'}
        self.in_channels = {**dict.fromkeys(images, 3), 'speech': 1}
        self.specs: dict[str, dict[str, Any]] = {
            **{m: {'patch_size': 10, 'bands': ['R', 'G', 'B']} for m in images},
            'speech': {'patch_size': 8000, 'bands': ['audio'], 'units': 'waveform'},
        }
        self.space = f'space{seed}'
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer('see', torch.randn(300, 6, generator=generator))
        self.register_buffer('hear', torch.randn(8000, 6, generator=generator))
        self.batches: list[int] = []
        self.stop_after = 10**6

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        assert not self.training
        x = batch[self.keys[modality]]
        if len(self.batches) >= self.stop_after:
            raise KeyboardInterrupt
        self.batches.append(len(x))
        weights = self.hear if modality == 'speech' else self.see
        return nn.functional.normalize(x.flatten(1) @ weights + 1e-3, dim=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    FAKE['write_images'](tmp_path / 'images', CLASSES, 4)
    FAKE['write_corpus'](tmp_path / 'speech', CLASSES, voices=2)
    return tmp_path


class TestSound:
    def test_rows(self, root: Path) -> None:
        task = Ears()
        table = embed_sounds(task, root / 'speech', batch_size=5, progress=False)
        assert len(table) == 12
        assert (table.modality, table.space, table.dim) == ('speech', 'space0', 6)
        assert not table.placed.any()
        first = table.frame.iloc[0]
        assert first['patch_id'] == 'speech:beach/voice0_0.wav'
        assert first['source'] == 'beach/voice0_0.wav'
        assert table.frame['label'].tolist() == sorted(CLASSES * 4)
        for name in ('src_crs', 'native_corners', 'time_start', 'valid_fraction'):
            assert table.frame[name].isna().all()
        assert task.batches == [5, 5, 2]
        assert table.record['placeless'] is True
        assert table.record['sample_rate'] == 16_000

    def test_equal_to_one_at_a_time(self, root: Path) -> None:
        together = embed_sounds(Ears(), root / 'speech', progress=False)
        path = root / 'speech' / 'river' / 'voice1_0.wav'
        alone = embed_sounds(Ears(), path, progress=False)
        row = together.frame['source'].tolist().index('river/voice1_0.wav')
        assert np.allclose(alone.vectors[0], together.vectors[row], atol=1e-6)
        assert alone.frame['patch_id'].tolist() == ['speech:voice1_0.wav']
        assert 'label' not in alone.frame

    def test_another_rate_is_the_same_word(self, root: Path) -> None:
        sound = FAKE['tone'](1, seconds=0.6)
        slow = FAKE['write_pcm'](root / 'a.wav', sound)
        fast = FAKE['write_pcm'](
            root / 'b.wav', FAKE['tone'](1, seconds=0.6, rate=48_000), rate=48_000
        )
        table = embed_sounds(Ears(), [slow, fast], progress=False)
        assert float(table.vectors[0] @ table.vectors[1]) > 0.95

    def test_resumed(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr('torchgeo_cmr.embed.files.file_rows._PART', 5)
        whole = embed_sounds(Ears(), root / 'speech', out=root / 'a', progress=False)
        task = Ears()
        task.stop_after = 1
        with pytest.raises(KeyboardInterrupt):
            embed_sounds(task, root / 'speech', out=root / 'b', progress=False)
        task.stop_after = 10**6
        task.batches.clear()
        table = embed_sounds(task, root / 'speech', out=root / 'b', progress=False)
        assert task.batches == [5, 2]
        assert np.array_equal(table.vectors, whole.vectors)
        assert table.frame['patch_id'].tolist() == whole.frame['patch_id'].tolist()
        assert (
            json.loads((root / 'b' / '_archive.json').read_text())['space'] == 'space0'
        )

    def test_another_model_or_other_files(self, root: Path) -> None:
        out = root / 'a'
        embed_sounds(Ears(), root / 'speech', out=out, progress=False)
        with pytest.raises(ArchiveError, match='was begun with space'):
            embed_sounds(Ears(seed=1), root / 'speech', out=out, progress=False)
        with pytest.raises(ArchiveError, match='was begun with files = "12 files'):
            embed_sounds(Ears(), root / 'speech' / 'river', out=out, progress=False)
        again = embed_sounds(
            Ears(seed=1), root / 'speech', out=out, overwrite=True, progress=False
        )
        assert again.space == EmbeddingTable.load(out).space == 'space1'

    def test_refused(self, root: Path) -> None:
        with pytest.raises(AudioError, match='no WAV file matches'):
            embed_sounds(Ears(), root / 'images')
        (root / 'speech' / 'river' / 'voice1_0.wav').write_bytes(b'')
        with pytest.raises(AudioError, match=r'voice1_0.wav is empty'):
            embed_sounds(Ears(), root / 'speech', errors='raise', progress=False)
        task = Ears()
        task.specs['speech'] = {}
        with pytest.raises(AudioError, match='does not say how long its speech was'):
            embed_sounds(task, root / 'speech')
        with pytest.raises(RasterError, match='image of the task does not take sound'):
            embed_sounds(Ears(), root / 'speech', 'image')
        with pytest.raises(RasterError, match="the task has speech, not 's2': choose"):
            embed_sounds(Ears(), root / 'speech', 's2')
        with pytest.raises(CMRError, match='is not inside the root'):
            embed_sounds(Ears(), root / 'speech', root=root / 'images')
        with pytest.raises(RasterError, match='batch_size is 0'):
            embed_sounds(Ears(), root / 'speech', batch_size=0)

    def test_one_that_is_broken_stops_no_other(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr('torchgeo_cmr.embed.files.file_rows._PART', 5)
        whole = embed_sounds(Ears(), root / 'speech', progress=False)
        broken = root / 'speech' / 'forest' / 'voice0_1.wav'
        sound = broken.read_bytes()
        broken.write_bytes(sound[:100])
        out = root / 'a'
        with pytest.warns(
            RefusedWarning, match=r'1 of 12 files were refused.*voice0_1'
        ):
            table = embed_sounds(Ears(), root / 'speech', out=out, progress=False)
        rest = whole.frame['source'] != 'forest/voice0_1.wav'
        np.testing.assert_allclose(table.vectors, whole.vectors[rest], atol=1e-6)
        assert [*read_report(out)['refused']] == ['forest/voice0_1.wav']
        # Once it is mended, only those that are committed with it are embedded again.
        broken.write_bytes(sound)
        task = Ears()
        table = embed_sounds(task, root / 'speech', out=out, progress=False)
        assert task.batches == [5]
        assert np.array_equal(table.vectors, whole.vectors)
        counts = read_report(out)['counts']
        assert (counts['skipped'], counts['done'], counts['refused']) == (7, 5, 0)

    def test_nothing_but_broken_files(self, root: Path) -> None:
        for path in (root / 'speech').rglob('*.wav'):
            path.write_bytes(b'')
        with pytest.raises(
            AudioError, match=r'is empty.*other files that were refused: 11'
        ):
            embed_sounds(Ears(), root / 'speech', out=root / 'a', progress=False)
        assert len(read_report(root / 'a')['refused']) == 12


class TestImages:
    def test_rows(self, root: Path) -> None:
        table = embed_images(Ears(), root / 'images', progress=False)
        assert len(table) == 12
        assert table.modality == 'image'
        assert not table.placed.any()
        assert table.frame['label'].tolist() == sorted(CLASSES * 4)
        assert table.frame['patch_id'].iloc[0] == 'image:beach/00.png'
        assert table.record['size'] == 10

    @pytest.mark.parametrize('value', [0.0, float('nan')])
    def test_a_vector_without_direction_is_refused_alone(
        self, root: Path, value: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        embed = Ears.embed

        def first_lost(task: Ears, batch: dict[str, Tensor], modality: str) -> Tensor:
            vectors = embed(task, batch, modality)
            vectors[0] = value
            return vectors

        monkeypatch.setattr(Ears, 'embed', first_lost)
        with pytest.warns(RefusedWarning, match='00.png: its vector holds only zeros'):
            table = embed_images(Ears(), root / 'images', progress=False)
        assert len(table) == 11

    def test_sizes_may_differ(self, root: Path) -> None:
        Image.fromarray(np.full((30, 33, 3), 90, np.uint8)).save(
            root / 'images' / 'river' / 'odd.jpg'
        )
        assert len(embed_images(Ears(), root / 'images', progress=False)) == 13

    def test_tiff_without_a_place(self, root: Path) -> None:
        pixels = np.asarray(Image.open(root / 'images' / 'river' / '00.png'))
        Image.fromarray(pixels).save(root / 'same.tif')
        one = embed_images(Ears(), root / 'same.tif', progress=False)
        two = embed_images(Ears(), root / 'images' / 'river' / '00.png', progress=False)
        assert np.array_equal(one.vectors, two.vectors)

    def test_a_place_is_not_dropped(self, root: Path, write_raster: Writer) -> None:
        path = write_raster('images/river/here.tif', bands='RGB')
        with pytest.raises(RasterError, match=r'here.tif says where it lies'):
            embed_images(Ears(), root / 'images', errors='raise', progress=False)
        assert kind_of(path) == 'raster'

    def test_refused(self, root: Path) -> None:
        with pytest.raises(RasterError, match='no image matches'):
            embed_images(Ears(), root / 'speech')
        with pytest.raises(
            RasterError, match='for images the task has pan, ms, a modali'
        ):
            embed_images(Ears(('pan', 'ms')), root / 'images')
        task = Ears()
        task.in_channels['image'] = 4
        with pytest.raises(RasterError, match=r'image expects 4 bands, .* has 3'):
            embed_images(task, root / 'images', progress=False)
        task.specs['image'] = {}
        with pytest.raises(
            RasterError, match='does not say how wide its image patches'
        ):
            embed_images(task, root / 'images')


class TestKinds:
    def test_by_what_is_in_the_file(self, root: Path, write_raster: Writer) -> None:
        assert kind_of(root / 'speech') == 'sound'
        assert kind_of([str(root / 'images' / '*' / '*.png')]) == 'image'
        assert kind_of(write_raster('a.tif')) == 'raster'
        # it had a place and lost its name: that has to be declared, not dropped
        assert kind_of(write_raster('b.tif', crs=None)) == 'raster'
        assert kind_of(root / 'none.tif') == 'raster'

    def test_json_beside_files(self, tmp_path: Path) -> None:
        FAKE['write_corpus'](tmp_path / 'speech', CLASSES[:1], voices=1, takes=1)
        (tmp_path / 'speech' / 'speak.json').write_text('{}')
        assert kind_of(tmp_path / 'speech') == 'sound'
        FAKE['write_images'](tmp_path / 'images', CLASSES[:1], 1, size=8)
        note = tmp_path / 'images' / 'note.json'
        note.write_text('{"made": "by hand"}')
        assert kind_of(tmp_path / 'images') == 'image'
        # an item of a catalogue with its thumbnail
        note.write_text('{"stac_version": "1.0.0"}')
        assert kind_of(tmp_path / 'images') == 'raster'

    def test_sound_that_is_no_wav(self, tmp_path: Path) -> None:
        (tmp_path / 'tanks.mp3').write_bytes(b'ID3')
        for given in (tmp_path, tmp_path / 'tanks.mp3'):
            with pytest.raises(
                AudioError, match=r'tanks.mp3 is sound but not WAV: conv'
            ):
                kind_of(given)

    def test_ground_control_points_are_a_place(self, tmp_path: Path) -> None:
        path = tmp_path / 'gcp.tif'
        points = [
            GroundControlPoint(row=r, col=c, x=9 + c, y=45 - r)
            for r, c in ((0, 0), (0, 4), (4, 0))
        ]
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            width=4,
            height=4,
            count=1,
            dtype='uint8',
            gcps=points,
            crs='EPSG:4326',
        ) as file:
            file.write(np.ones((1, 4, 4), np.uint8))
        assert has_place(path)

    def test_found_once_in_order(self, root: Path) -> None:
        river = root / 'speech' / 'river'
        words = [str(river / '*.wav'), river, river / 'voice0_0.wav']
        found = find_files(words, ('.wav',))
        assert [f.name for f in found] == [
            'voice0_0.wav',
            'voice0_1.wav',
            'voice1_0.wav',
            'voice1_1.wav',
        ]
