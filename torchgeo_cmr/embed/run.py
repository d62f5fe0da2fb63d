"""Scenes to rows: a run that can be stopped at any time and resumed."""

import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

import torch
from torchgeo.datasets import RasterDataset, XarrayDataset

from torchgeo_cmr.embed.encoder_record import Encoder
from torchgeo_cmr.embed.inference import Precision
from torchgeo_cmr.embed.run_options import EncoderOptions, PatchOptions, WriteOptions
from torchgeo_cmr.embed.run_report import PACKAGE, Errors, Report
from torchgeo_cmr.embed.scenes.archive_plan import Plan, make_plan
from torchgeo_cmr.embed.scenes.encoder_scene import EncoderInput
from torchgeo_cmr.embed.scenes.inputs import list_scenes
from torchgeo_cmr.embed.scenes.patch_layout import Edges, Gsd, Layout
from torchgeo_cmr.embed.scenes.work import Engine, Local, Run
from torchgeo_cmr.embed.scenes.work_item import WorkItem
from torchgeo_cmr.errors import ArchiveError, CMRError, QueryError
from torchgeo_cmr.scenes.bands import MASKS
from torchgeo_cmr.scenes.catalogue import header_catalogue
from torchgeo_cmr.scenes.files import Paths, readable_folders
from torchgeo_cmr.table import EmbeddingTable

#: Who may work through the scenes.
ENGINES = ('local', 'lightning', 'ray')


@dataclass(frozen=True)
class _Catalogue:
    """Scenes, what identifies them, and what is stated of their pixels where files do not."""

    dataset: RasterDataset | XarrayDataset | Paths
    nodata: float | None
    headers: str | os.PathLike[str] | None
    root: str | os.PathLike[str] | None
    remote: bool = False

    @property
    def folders(self) -> tuple[str, ...]:
        """Real paths of folders that could be listed."""
        paths = getattr(self.dataset, 'paths', self.dataset)
        if not isinstance(paths, str | os.PathLike | Iterable):
            return ()  # the plan refuses it
        return tuple(readable_folders(cast(Paths, paths)))


def embed(
    task: Encoder,
    dataset: RasterDataset | XarrayDataset | Paths,
    modality: str,
    size: int | None = None,
    stride: int | None = None,
    *,
    size_metres: float | None = None,
    overlap: float = 0,
    edges: Edges = 'drop',
    gsd: Gsd = 'warn',
    units: str | None = None,
    scale: float | None = None,
    out: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    batch_size: int | Literal['auto'] = 64,
    min_valid: float = 0.5,
    max_cloud: float = 100,
    nodata: float | None = None,
    device: torch.device | str | None = None,
    precision: Precision = 'auto',
    flips: bool = False,
    compile: bool = False,
    runtime: Literal['auto', 'torch', 'onnx'] = 'auto',
    engine: Literal['local', 'lightning', 'ray'] = 'local',
    workers: int | None = None,
    update: bool = False,
    prune: bool = False,
    errors: Errors = 'refuse',
    catalogue: str | os.PathLike[str] | None = None,
    remote: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    load: bool = True,
) -> EmbeddingTable:
    """Embed every patch of every scene, each on the grid and at the date of its own file.

    The dataset is a catalogue of which files belong to a scene, which bands are
    wanted and when they were taken. It is never indexed, because TorchGeo would warp every
    file into the zone of the first and merge dates. Two dates of one place give two rows.

    With *out*, each scene is committed to the archive as soon as it is done; the same call
    made again goes on where it stopped, whatever stopped it, and ends with the same rows.
    Without, everything stays in memory. A report of what was done with each scene is written
    next to the archive, as ``<out>-report.json``.

    Patches lie side by side from the upper left corner of a scene; what is left at its
    right and lower edge is dropped, and so is a scene smaller than one patch, unless *edges*
    pads them. Sides of footprints are straight in longitude and latitude between the four
    corners.

    The frame has two columns besides the standard ones: ``cloud``, the percentage of the
    valid pixels that a quality mask (see ``torchgeo_cmr.scenes.quality``) calls cloud,
    and ``sensor``; null where unknown.

    Args:
        task: A trained task, used in evaluation mode and left as it was.
        dataset: A TorchGeo dataset of raster files or cubes; or files, folders or glob
            patterns of rasters, products, cubes (``.nc``, ``.zarr``) or lists of STAC items
            (``.json``, ``.parquet``).
        modality: Which encoder of the task to use, such as ``'s2'``.
        size: Patch height and width in pixels of each scene's own grid, unless
            *size_metres* is given.
        stride: Step between patches in pixels (default: side by side).
        size_metres: Patch height and width in metres; each scene has the nearest whole
            number of its pixels.
        overlap: Share of a patch that the next one shows again, 0 to below 1; in place of
            *stride*.
        edges: ``'drop'`` what is left at the right and lower edge, or ``'pad'`` it with
            missing pixels to whole patches.
        gsd: What happens to scenes whose pixels are more than a tenth wider or narrower
            than those of the training: ``'warn'``, ``'resample'`` (bilinear) to the
            training's, ``'error'`` or ``'ignore'``.
        units: Unit of the pixels where files do not state it, ``'db'``, ``'power'`` or
            ``'amplitude'``. Backscatter is converted to the unit of the training.
        scale: Physical value of one step of the pixels, such as 0.0001, where nothing states
            it: see ``torchgeo_cmr.scenes.scales``. Pixels are read in the steps of the
            training.
        out: Archive folder to write or to complete.
        root: Folder to which scene ids are relative (default: the deepest folder that
            holds every file). Give it if the archive is to grow alongside another.
        batch_size: Patches given to the encoder at once, part of the plan; ``'auto'`` for the
            smallest number about as fast as any larger one, found at the first run and kept
            in the archive.
        min_valid: Patches with a smaller share of valid pixels are skipped, and those
            without any always; 0 to 1.
        max_cloud: Patches of whose valid pixels a larger percentage is cloud are skipped,
            where a quality mask tells, and one warning counts the scenes without; 0 to
            100.
        nodata: Value that marks missing pixels, besides those that files state.
        device: Where to run, ``'auto'`` for the fastest present (default: where the task
            is).
        precision: What the encoder computes with, ``'32'``, ``'bf16'`` or ``'16'``; ``'auto'``
            for what the device is fastest with, or what the archive was begun with. Part of
            the plan. Vectors are float32 in any case.
        flips: Give each patch the mean of the vectors of its four flips, scaled to length 1;
            takes four times as long. Part of the plan.
        compile: Compile the encoder with ``torch.compile``: it starts slowly and vectors
            change in their last digits.
        runtime: ``'onnx'`` runs the encoder with ONNX Runtime, on the CPU in float32; it starts
            slowly, and vectors change in their last digits, by at most 1e-5 for random pixels.
            Needs the extra ``onnx``. ``'auto'`` does so where the extra is installed, the device
            is the CPU and there is enough to do, unless the two differ by more; else, and with
            ``'torch'``, torch runs it.
        engine: Who works through the scenes: ``'local'``, this process; ``'lightning'``, the
            processes that ``torchrun`` has started, which all make this call and all return the
            whole; ``'ray'``, actors of Ray, on this machine or, with ``RAY_ADDRESS`` set, on a
            cluster (needs the extra ``ray``). Rows, report and what a killed run leaves are the
            same.
        workers: Actors of Ray (default: one per GPU of the cluster, or per core where the device
            is the CPU).
        update: Complete an archive whose scenes are no longer those it was begun with: only
            new scenes are embedded, and those whose files changed (see
            ``torchgeo_cmr.embed.scenes.content.fingerprint``).
        prune: With *update*, drop the rows of scenes whose files are gone from folders that
            could be listed.
        errors: ``'refuse'`` skips scenes that cannot be used and goes on, with a warning
            and a sentence for each in the report; the next run tries them again. ``'raise'``
            ends at the first.
        catalogue: GeoParquet in which the headers of rasters are kept, so that the next run
            over the same files opens none to plan; it is made if it is not there.
        remote: Read rasters from servers, whose addresses (``http(s)://``, ``s3://``) are among the paths or
            in lists of STAC items. Without it nothing is fetched.
        overwrite: Replace an archive at *out* instead of completing it.
        progress: Show a bar on stderr where that is a terminal or a notebook.
        load: Read the whole archive and return it. With False the table has no rows, so that a run
            needs no memory for the rows of *out*, however many there are.

    Returns:
        One row per patch: scenes in the order of their ids, patches row by row within each;
        from disk, in the archive's order.

    Raises:
        CMRError: If the device is not there.
        ArchiveError: If *out* holds an archive made with other settings, weights or scenes,
            or there is none to update.
        OutputExistsError: If *out* is to be replaced but holds no archive.
        RasterError: If no raster has a CRS and can be read (or, by *errors*, one cannot),
            bands are not those of the training, nothing is left to embed, the task does not
            know the modality, or a number is out of range.
        TypeError: If *dataset* does not list raster images.

    Warns:
        UserWarning: If scenes smaller than a patch are skipped, pixels are not as wide as
            in training, or *max_cloud* is given and scenes have no quality mask.
        RefusedWarning: If scenes were refused.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import rasterio
        >>> folder = tempfile.TemporaryDirectory()
        >>> profile = {
        ...     'driver': 'GTiff',
        ...     'width': 64,
        ...     'height': 48,
        ...     'count': 1,
        ...     'dtype': 'uint8',
        ... }
        >>> place = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
        >>> with rasterio.open(
        ...     f'{folder.name}/a.tif',
        ...     'w',
        ...     **profile,
        ...     crs='EPSG:32632',
        ...     transform=place,
        ... ) as file:
        ...     file.write(np.ones((1, 48, 64), np.uint8))
        >>> class MeanAndSpread(torch.nn.Module):
        ...     keys, in_channels, specs = {'s2': 'image'}, {'s2': 1}, {}
        ...     space = 'mean-and-spread'
        ...
        ...     def embed(self, batch, modality):
        ...         pixels = batch['image'].flatten(1)
        ...         rows = torch.stack([pixels.mean(1), pixels.std(1)], dim=1)
        ...         return torch.nn.functional.normalize(rows)
        >>> table = embed(MeanAndSpread(), [folder.name], 's2', 32, progress=False)
        >>> table.frame['patch_id'].tolist()
        ['s2:a.tif:0_0_32x32', 's2:a.tif:0_32_32x32']
        >>> table.vectors.tolist()
        [[1.0, 0.0], [1.0, 0.0]]
        >>> folder.cleanup()
    """
    transforms = getattr(dataset, 'transforms', None)
    wanted = EncoderInput.of(task, modality, transforms is not None, units, scale)
    patches = PatchOptions(
        min_valid=min_valid, max_cloud=max_cloud, transforms=transforms
    )
    running = EncoderOptions(batch_size, device, precision, flips, compile, runtime)
    writing = WriteOptions(out, overwrite, update, prune, progress, load)
    report = Report(errors)
    layout = Layout(size, stride, size_metres, overlap, edges, gsd)
    begun = writing.begun
    if update and root is None:
        # New scenes must not move the folder that all ids are relative to.
        root = begun.get('root')
    scenes = _Catalogue(dataset, nodata, catalogue, root, remote)
    with _opened(engine, writing, workers) as hired:
        running = replace(running, device=hired.device(device))
        with running.running(task) as where:
            plan = partial(_plan, scenes, wanted, layout, max_cloud, report)
            run = Run(
                task, where, plan, running, patches, writing, report, scenes.folders
            )
            return run.complete(hired)


def _opened(
    name: str, writing: WriteOptions, workers: int | None
) -> AbstractContextManager[Engine]:
    """Give the engine of a name, as a context in which it can work."""
    if name not in ENGINES:
        hint = ": ONNX Runtime is runtime='onnx'" if name == 'onnx' else ''
        raise QueryError(
            f'there is no engine {name!r}: choose one of {", ".join(ENGINES)}{hint}'
        )
    if workers is not None and (name != 'ray' or workers < 1):
        raise QueryError(
            f'workers is {workers} with the engine {name!r}: give 1 or more, of Ray alone; '
            'torchrun says how many processes there are'
        )
    if name == 'local':
        return nullcontext(Local())
    if writing.out is None:
        raise ArchiveError(
            f'the engine {name!r} writes from several processes: name an archive with out'
        )
    if name == 'lightning':
        from torchgeo_cmr.embed.lightning import Ranks

        return Ranks()
    try:
        from torchgeo_cmr.embed.ray import Actors
    except ImportError as error:
        raise CMRError(
            f'the engine needs a package that is not installed ({error.name}): install '
            "torchgeo-cmr[ray], or use the engine 'local'"
        ) from error
    return nullcontext(Actors(workers))


def _plan(
    scenes: _Catalogue,
    wanted: EncoderInput,
    layout: Layout,
    max_cloud: float,
    report: Report,
) -> Plan:
    """List scenes and lay patches over them; what cannot be used stands in the report."""
    with header_catalogue(scenes.headers):
        bands = wanted.spec.get('bands')
        found = list_scenes(
            scenes.dataset, bands, scenes.nodata, report.trying, remote=scenes.remote
        )
    if not found:
        report.check()
    # Files that could not be opened count for the common folder: ids stay when they can be.
    broken = [path for path in report.refused if os.path.exists(path)]
    plan = make_plan(found, wanted, layout, scenes.root, report.trying, broken)
    if not plan.items:
        report.check()
    report.too_small += plan.too_small
    if max_cloud < 100:
        _warn_of_clouds(plan.items, max_cloud)
    return plan


def _warn_of_clouds(items: Sequence[WorkItem], max_cloud: float) -> None:
    """Warn once that scenes without a mask are kept, however cloudy they are."""
    blind = [item.id for item in items if item.scene.quality is None]
    if blind:
        warnings.warn(
            f'max_cloud is {max_cloud:g}, but {len(blind)} of {len(items)} scenes have no '
            f'quality mask, for example {blind[0]}: all their patches are kept; put the mask '
            f'({", ".join(MASKS)}) next to the files, or do not set max_cloud',
            UserWarning,
            skip_file_prefixes=(PACKAGE,),
        )
