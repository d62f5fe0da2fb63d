"""A tiny encoder that remembers what it saw, and scenes in two zones at two dates."""

import importlib.util
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import forked
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from torch import Tensor, nn

from torchgeo_cmr.drafts import is_alive
from torchgeo_cmr.embed import embed
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable

S2_BANDS = ('B02', 'B03', 'B04')
S2_DATES = ('20240601T101031', '20240611T101031')
#: Zone -> (CRS, upper left corner). Northings that float32 cannot hold.
ZONES = {
    '32TQM': ('EPSG:32632', (699_960.0, 5_100_040.3)),
    '33TUG': ('EPSG:32633', (300_000.0, 5_100_020.7)),
}


class FakeTask(nn.Module):
    """Projects pixels at random (but always alike) and keeps the pixels it was given."""

    weights: Tensor

    def __init__(
        self,
        modality: str = 's2',
        channels: int = 3,
        size: int = 16,
        bands: Sequence[str] = (),
        delay: float = 0,
        space: str = '0123456789abcdef',
        units: str | None = None,
    ) -> None:
        super().__init__()
        self.modalities = (modality,)
        self.keys = {modality: f'image_{modality}'}
        self.in_channels = {modality: channels}
        self.specs: dict[str, dict[str, Any]] = {
            modality: {'bands': list(bands), 'patch_size': size, 'units': units}
        }
        self.space = space
        self.delay = delay
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(channels * size * size, 8, generator=generator)
        self.register_buffer('weights', weights)
        self.frozen = nn.Dropout().eval()
        self.seen: list[Tensor] = []
        self.batches: list[int] = []

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        time.sleep(self.delay)
        images = batch[self.keys[modality]]
        self.seen += list(images.clone())
        self.batches.append(len(images))
        flat = torch.nan_to_num(images).flatten(1) @ self.weights
        return nn.functional.normalize(flat + 1, dim=1)


@pytest.fixture
def fake() -> Callable[..., FakeTask]:
    return FakeTask


@pytest.fixture
def s2_folder(write_raster: Callable[..., Path], tmp_path: Path) -> Path:
    """Three bands, one file each, in two UTM zones at two dates; 40 x 56 pixels."""
    rng = np.random.default_rng(0)
    for tile, (crs, origin) in ZONES.items():
        for date in S2_DATES:
            for band in S2_BANDS:
                write_raster(
                    f's2/T{tile}_{date}_{band}.tif',
                    data=rng.integers(1, 10_000, (1, 40, 56)),
                    dtype='uint16',
                    crs=crs,
                    origin=origin,
                    tiled=True,
                    blockxsize=16,
                    blockysize=16,
                    compress='deflate',
                )
    return tmp_path / 's2'


@pytest.fixture
def truncated(write_raster: Callable[..., Path], tmp_path: Path) -> Path:
    """A file that opens, and ends before its pixels do."""
    rng = np.random.default_rng(0)
    whole = write_raster('whole.tif', data=rng.random((1, 64, 64)))
    path = tmp_path / 'cut' / 'cut.tif'
    path.parent.mkdir()
    with (
        rasterio.open(whole) as source,
        rasterio.open(path, 'w', **{**source.profile, 'driver': 'COG'}) as file,
    ):
        file.write(source.read())
    path.write_bytes(path.read_bytes()[:6000])
    return path


_ENVIRONMENT = os.environ | {
    'OMP_NUM_THREADS': '1',
    'GLOO_SOCKET_IFNAME': 'lo',
    # Ray lets its processes step back behind those of other tests, and is waited for.
    'RAY_worker_niceness': '0',
}


class Engines:
    """Scenes of one band, and runs over them in processes of their own."""

    def __init__(self, folder: Path, write: Callable[..., Path]) -> None:
        self.folder, self.write = folder, write
        self.scenes, self.out = folder / 'in', folder / 'out'
        self.log = folder / 'calls'

    def make(self, count: int) -> None:
        """Write scenes of four patches each."""
        for seed in range(count):
            data = np.random.default_rng(seed).random((1, 32, 32)) + 1
            origin = (500_000.0 + 1000 * seed, 5_000_000.0)
            self.write(f'in/{seed:02}.tif', data=data, origin=origin)

    def _words(self, engine: str, dies: tuple[object, ...]) -> list[object]:
        script = Path(__file__).with_name('engine_process.py')
        return [script, self.scenes, self.out, engine, self.log, *dies]

    def start(self, engine: str, *dies: object, ranks: int) -> subprocess.Popen:
        """Start a run under torchrun, whose ranks are processes from the start: they outlive it."""
        words: list[object] = [sys.executable, '-m', 'torch.distributed.run']
        words += ['--standalone', '--nproc-per-node', ranks]
        words += self._words(engine, dies)
        # Processes that outlive the one that is waited for must not hold its pipes.
        with open(self.folder / 'told', 'w') as told:
            return subprocess.Popen(
                [str(word) for word in words],
                stdout=told,
                stderr=told,
                env=_ENVIRONMENT,
            )

    def run(self, engine: str, *dies: object, ranks: int = 0) -> int:
        """Wait for a run, and give its exit code."""
        words = self._words(engine, dies)
        if ranks:
            launch = (*forked.TORCHRUN, '--standalone', '--nproc-per-node', ranks)
            words = [*launch, *words]
        done = forked.run(*words, env=_ENVIRONMENT, timeout=900)
        (self.folder / 'told').write_text(done.stderr + done.stdout)
        return done.returncode

    @property
    def told(self) -> str:
        return (self.folder / 'told').read_text()

    @property
    def killed(self) -> bool:
        return Path(f'{self.log}.killed').exists()

    def forget_who_was_killed(self) -> None:
        """Let another one be killed."""
        Path(f'{self.log}.killed').unlink()

    def calls(self) -> list[int]:
        """Give the processes of all calls that embedded a scene so far, and forget them."""
        found = [int(line) for line in self.log.read_text().split()]
        self.log.unlink()
        return found

    def parts(self) -> int:
        """Count the parts, each of which must be whole and GeoParquet."""
        paths = sorted(self.out.glob('part-*.parquet'))
        for path in paths:
            frame = gpd.read_parquet(path)
            assert len(frame) == 4
            assert frame.crs == 'EPSG:4326'
        return len(paths)

    def check_each_is_missed(self) -> None:
        """See that no part can be removed unnoticed, though no run was complete."""
        for path in sorted(self.out.glob('part-*.parquet')):
            content = path.read_bytes()
            path.unlink()
            with pytest.raises(ArchiveError, match=f'lacks {path.name}'):
                EmbeddingTable.load(self.out)
            path.write_bytes(content)

    def rest(self) -> None:
        """Wait until no process that embedded a scene is left."""
        known = {int(line) for line in self.log.read_text().split()}
        until = time.monotonic() + 60
        while any(is_alive(process) for process in known):
            assert time.monotonic() < until
            time.sleep(0.1)

    def check_complete(self) -> None:
        """Compare the archive with one that this process makes."""
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            whole = embed(
                _mortal(self.folder / 'serial'),
                self.scenes,
                's2',
                16,
                out=self.folder / 'serial',
                progress=False,
            )
        table = EmbeddingTable.load(self.out)
        pd.testing.assert_frame_equal(table.frame, whole.frame)
        np.testing.assert_allclose(table.vectors, whole.vectors, atol=1e-6)
        assert table.frame['patch_id'].is_unique
        assert table.record == whole.record
        # Nothing but parts and the header is taken as data, or left.
        assert {p.name[:5] for p in self.out.iterdir()} == {'part-', '_arch'}


def _mortal(out: Path) -> Any:
    spec = importlib.util.spec_from_file_location(
        'engine_process', Path(__file__).with_name('engine_process.py')
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Mortal(str(out), f'{out}-calls', '', 0)


@pytest.fixture
def engines(tmp_path: Path, write_raster: Callable[..., Path]) -> Engines:
    return Engines(tmp_path, write_raster)
