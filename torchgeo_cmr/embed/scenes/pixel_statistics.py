"""Mean and deviation of the bands of scenes, for encoders that bring no statistics of their own."""

import os
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torchgeo.datasets import RasterDataset, XarrayDataset

from torchgeo_cmr.datamodules.statistics import Moments
from torchgeo_cmr.embed.encoder_record import Encoder
from torchgeo_cmr.embed.scenes.archive_plan import make_plan
from torchgeo_cmr.embed.scenes.encoder_scene import EncoderInput
from torchgeo_cmr.embed.scenes.inputs import list_scenes
from torchgeo_cmr.embed.scenes.patch_layout import Layout
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.errors import CMRError, RasterError
from torchgeo_cmr.reading.converting import open_reader
from torchgeo_cmr.scenes.files import Paths
from torchgeo_cmr.scenes.units import BACKSCATTER
from torchgeo_cmr.table.archive.archive_reader import read_record
from torchgeo_cmr.table.archive.folder import is_archive

__all__ = ('measure_pixels',)

#: Width in pixels of the windows that are read, and how many of them at most.
_SIDE = 128
_WINDOWS = 256


def measure_pixels(
    task: Encoder,
    dataset: RasterDataset | XarrayDataset | Paths,
    modality: str,
    *,
    units: str | None = None,
    scale: float | None = None,
    nodata: float | None = None,
    out: str | os.PathLike[str] | None = None,
    remote: bool = False,
) -> dict[str, Any]:
    """Measure the bands of scenes, as an encoder with ``normalize='data'`` needs them.

    At most 256 windows of 128 pixels are read, spread evenly over the scenes: the same in every
    run over the same scenes. Scenes that cannot be used are left out; :func:`embed` reports them.

    Args:
        task: The encoder, which knows its bands.
        dataset: Scenes, as in :func:`embed`.
        modality: Which encoder of the task.
        units: As in :func:`embed`.
        scale: As in :func:`embed`.
        nodata: As in :func:`embed`.
        out: Archive that will be completed: what its rows were normalised by is taken, so that
            all of its rows are alike.
        remote: As in :func:`embed`.

    Returns:
        ``mean`` and ``std`` of each band, and ``units`` of radar that states them, for
        :meth:`~torchgeo_cmr.tasks.CrossModalTask.set_specs`; empty if no scene can be used.

    Raises:
        RasterError: If there are scenes, and none has a valid pixel of each band that can be read.
    """
    if out is not None and is_archive(out):
        begun = read_record(out).get('normalisation')
        if begun:
            return dict(begun)
    wanted = EncoderInput.of(task, modality, False, units, scale)

    errors: list[str] = []

    @contextmanager
    def trying(_: str) -> Generator[None]:
        try:
            yield
        except (CMRError, OSError) as error:
            errors.append(str(error))

    items: Sequence[WorkItem] = ()
    moments = Moments()
    with warnings.catch_warnings(action='ignore'), trying(''):
        bands = wanted.spec.get('bands')
        scenes = list_scenes(dataset, bands, nodata, trying, remote=remote)
        layout = Layout(_SIDE, edges='pad', gsd='ignore')
        items = make_plan(scenes, wanted, layout, None, trying, []).items
        each = max(1, _WINDOWS // max(1, len(items)))
        for item in items[:: -(-len(items) // _WINDOWS) or 1]:
            windows = item.windows
            spread = np.linspace(0, len(windows) - 1, min(each, len(windows)))
            reader = open_reader(item.scene)
            with trying(item.id):
                for window in windows[spread.round().astype(int)]:
                    moments.add(reader.start(window[None])()[0])
    if not len(moments.count) or not moments.count.all():
        if items:
            raise RasterError(_unmeasured(items, errors))
        return {}
    found = {'mean': moments.mean(), 'std': moments.std()}
    kinds = {item.scene.read_as or item.scene.units for item in items}
    if len(kinds) == 1 and kinds <= BACKSCATTER:
        found['units'] = kinds.pop()
    return found


def _unmeasured(items: Sequence[WorkItem], errors: Sequence[str]) -> str:
    """Say why bands have no mean."""
    why = (
        f'for example {errors[-1]}'
        if errors
        else 'no pixel that was read is valid in each band: check the nodata value of the files'
    )
    return f'the bands of {len(items)} scenes cannot be measured: {why}'
