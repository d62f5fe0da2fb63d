"""The command embed: what is embedded, and which options that takes."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchgeo_cmr.cli.chosen_encoder import (
    check_encoder,
    naming_bands,
    read_encoder,
    set_measured,
)
from torchgeo_cmr.cli.signature import read_arguments, spread

if TYPE_CHECKING:
    from torchgeo_cmr.tasks import CrossModalTask


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """Patches: how scenes are divided, and which patches are kept.

    Args:
        size: Patch width in pixels of each scene's own grid; without it, the width that the
            checkpoint was trained with.
        size_metres: Patch width in metres, in place of size; each scene has the nearest whole
            number of its pixels.
        stride: Step between patches in pixels; without it patches lie side by side.
        overlap: Share of a patch that the next one shows again, 0 to below 1, in place of
            stride; 0.5 for every place twice along each axis.
        edges: What happens at the right and lower edge and to scenes smaller than a patch:
            drop, or pad with missing pixels (give a low min-valid to keep those patches).
        gsd: What happens to scenes whose pixels are more than a tenth wider or narrower than
            those of the training: warn, resample (bilinear) to the training's, error, ignore.
        min_valid: Share of valid pixels that a patch must hold, 0 to 1; the others are skipped
            and counted.
        max_cloud: Percentage of the valid pixels that may be cloud, 0 to 100, where a mask
            (SCL, QA_PIXEL, Fmask, UDM2) is found; patches with more are skipped and counted.
            One warning counts the scenes without a mask, which keep all their patches.
    """

    size: int | None = None
    size_metres: float | None = None
    stride: int | None = None
    overlap: float = 0.0
    edges: str = 'drop'
    gsd: str = 'warn'
    min_valid: float = 0.5
    max_cloud: float = 100.0


@dataclass(frozen=True, kw_only=True)
class PixelOptions:
    """Pixels: what files do not state, and how they are opened.

    Args:
        units: What radar pixels are where files do not say it: db, power or amplitude. They are
            converted to what the training had. Or dn: numbers as the training had them.
        scale: Physical value of one step of the pixels, such as 0.0001, where neither files nor
            metadata state it. Pixels are read in the steps of the training.
        nodata: Value that marks missing pixels, besides those that files state.
        root: Folder to which scene names in the archive are relative; without it, the deepest
            folder that holds every file.
        dataset: Python path of a TorchGeo raster dataset to open the scenes with, such as
            torchgeo.datasets.Sentinel2.
        catalogue: Of scenes: GeoParquet in which the headers of rasters are kept, so that the
            next run over the same files opens none to plan; made if it is not there.
        remote: Of scenes: read rasters from servers, whose addresses (http://, https://, s3://) are
            among the scenes or in lists of STAC items; without it nothing is fetched.
        seconds: Of sound: length to which it is cut or padded, where the checkpoint does not say
            how long that of the training was.
    """

    units: str | None = None
    scale: float | None = None
    nodata: float | None = None
    root: str | None = None
    dataset: str | None = None
    catalogue: str | None = None
    remote: bool = False
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Pairs: of a YAML only.

    Args:
        split: Of a YAML: train, val or test; may be repeated. Without it, all there are.
        fusion: How a row such as s1+s2 is made: concat, mean, sum or max.
        raw: Of a YAML: fuse features before any scaling, and keep their length in the column
            length, for evaluate --features length.
    """

    split: list[str] | None = None
    fusion: str = 'concat'
    raw: bool = False


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """Model: how the encoder runs.

    Args:
        task: Python path of the task's class, if it is not one of torchgeo_cmr.
        device: Where to run, such as cpu, cuda or cuda:1; auto takes the fastest present.
        precision: Of scenes and pairs: what the encoder computes with, 32, bf16 or 16; auto
            takes what the archive was begun with, else what is fastest on the device.
        batch_size: Patches given to the encoder at once; fewer need less memory. Or auto, which
            finds the smallest number about as fast as any larger one (64 for files without a
            place); the archive keeps it for the runs that complete it.
        flips: Of scenes and pairs: give each patch the mean of the vectors of its four flips,
            which takes four times as long.
        compile: Of scenes and pairs: compile the encoder first, which pays for many scenes.
        runtime: Of scenes and pairs: torch, or onnx to run the encoder with ONNX Runtime on the
            CPU, which starts slowly and pays for many scenes; auto does so for many scenes if
            the extra onnx is installed and both give the same vectors, to 1e-5.
        engine: Of scenes: who works through them: local, this process; lightning, the processes
            that torchrun has started; ray, actors of Ray on this machine, or on the cluster
            that RAY_ADDRESS names.
        workers: With --engine ray: how many actors; without it, one per GPU or core.
    """

    task: str | None = None
    device: str = 'auto'
    precision: str = 'auto'
    batch_size: str = '64'
    flips: bool = False
    compile: bool = False
    runtime: str = 'auto'
    engine: str = 'local'
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class ArchiveOptions:
    """Archive: what is completed, replaced or stacked.

    Args:
        update: Complete an archive whose scenes or pairs are no longer those it was begun with;
            scenes whose files changed are embedded again.
        prune: With --update, drop the rows of scenes whose files are gone. Rows stay of files
            that are there but refused or not named, and of folders that are not mounted.
        errors: Of scenes, images and sound: refuse skips broken ones and reports them at the
            end; raise stops at the first.
        over_dates: Of scenes and pairs: write a second archive with one row per place, from all
            its dates: mean, or attention, in which a date unlike the others counts less. Its
            rows have the span of their dates as time, all their scenes as source and their
            number in the column dates.
        min_dates: With --over-dates, skip places with fewer dates.
        center: Write a second archive, named OUT-centred, without the mean of its vectors, which
            makes frozen encoders of two sensors comparable; archives that were centred one by
            one can be searched with each other.
        overwrite: Replace an archive that is there instead of completing it; the old one stays
            until the new one is complete.
    """

    update: bool = False
    prune: bool = False
    errors: str = 'refuse'
    over_dates: str | None = None
    min_dates: int = 1
    center: bool = False
    overwrite: bool = False


def embed(
    scenes: list[str],
    *,
    ckpt: str | None = None,
    model: str | None = None,
    out: str,
    modality: list[str] | None = None,
    bands: str | None = None,
    normalize: str | None = None,
    patches: PatchOptions,
    pixels: PixelOptions,
    pairs: PairOptions,
    compute: ComputeOptions,
    archive: ArchiveOptions,
    quiet: bool = False,
) -> int:
    r"""Turn rasters into an archive: one vector and one exact footprint per patch.

    Each scene is read in its own CRS, on its own grid and at its own date. Stop the command
    at any time; the same command resumes where it stopped.

    Rasters need no more than their paths. Sentinel-1, Sentinel-2 (also .SAFE folders), Landsat,
    HLS and NAIP are known by their file names, with dates and one file per band; so are
    files whose names differ only in a band. The cloud masks SCL, QA_PIXEL, Fmask and UDM2 are
    found next to them and never embedded:

        torchgeo-cmr embed scenes/*.tif --ckpt best.ckpt --modality s2 --out archive

    Cubes (.nc, .zarr) give one scene per date. A list of STAC items (.json, .parquet) names
    files with their dates and bands:

        torchgeo-cmr embed cube.nc items.json --ckpt best.ckpt --modality s2 --out archive

    Rasters on servers, and those that a list of STAC items names there, are read in parts, and
    only with --remote:

        torchgeo-cmr embed https://example.com/scene.tif items.json --remote --ckpt best.ckpt \
            --modality s2 --out archive

    Patches can be as wide on the ground as those of the training though the pixels are not:

        torchgeo-cmr embed landsat --ckpt best.ckpt --modality ms --size-metres 1920 --overlap 0.5 \
            --gsd ignore --edges pad --max-cloud 20 --out archive

    A folder that grows: only new scenes and those whose files changed are embedded, and what
    is gone is dropped:

        torchgeo-cmr embed scenes --ckpt best.ckpt --modality s2 --out archive --update --prune

    One row per place instead of one per date, to search by place: the archive stays as it is,
    and a stacked archive is written next to it after each run, as archive-over-dates:

        torchgeo-cmr embed scenes --ckpt best.ckpt --modality s2 --out archive \
            --over-dates attention --min-dates 3

    A scene that cannot be used (no CRS, other bands, a truncated file) is refused with a
    sentence, and the others are embedded; so are sound and images without a place. What was
    done with each is written next to the archive, as archive-report.json. The exit code is 0
    if all were embedded or were skipped for a reason you gave, 1 if some were refused, 2 if
    none could be used or an argument is wrong.

    Names that are not known are opened by a TorchGeo dataset:

        torchgeo-cmr embed products --dataset torchgeo.datasets.Sentinel2 --ckpt best.ckpt \
            --modality s2 --out archive

    The pairs of a benchmark, or of paired scenes, come from the YAML of the training run;
    all splits and sensors go into one archive, with the columns split, pair and label:

        torchgeo-cmr embed examples/03_bigearthnet.yaml --ckpt best.ckpt --out archive

    The same with one row per place, fused from both sensors:

        torchgeo-cmr embed examples/03_bigearthnet.yaml --ckpt best.ckpt --modality s1+s2 \
            --fusion mean --out fused

    In several processes or on several machines that share the folders, the same archive: ranks
    of torchrun, or actors of Ray (of a cluster, if RAY_ADDRESS names one). If any is killed, the
    same command goes on:

        torchrun --nproc-per-node 2 -m torchgeo_cmr embed scenes --ckpt best.ckpt \
            --modality s2 --out archive --engine lightning
        torchgeo-cmr embed scenes --ckpt best.ckpt --modality s2 --out archive --engine ray

    Without training, with a foundation model that TorchGeo has, whose weights it fetches once;
    archives of two sensors by one such model can be searched with each other:

        torchgeo-cmr embed S1 --model panopticon_vitb14:Panopticon_Weights.VIT_BASE14 \
            --modality s1 --out radar
        torchgeo-cmr embed S2 --model croma_base:CROMA_base.pt --modality s2 --out optical

    Pictures for display, or another sensor, whose bands are known by their wavelengths:

        torchgeo-cmr embed rgb --model panopticon_vitb14:Panopticon_Weights.VIT_BASE14 \
            --modality s2 --bands B04,B03,B02 --normalize data --size 224 --out shown
        torchgeo-cmr embed ms.tif --model dofa_base_patch16_224:DOFABase16_Weights.DOFA_MAE \
            --modality ms --bands 655,561,482,865 --normalize data --size 64 --out landsat

    Sound, and images without a known place, give one row per file and no footprint:

        torchgeo-cmr embed speech --ckpt best.ckpt --out spoken

    Args:
        scenes: Rasters, products, cubes (.nc, .zarr), lists of STAC items (.json, .parquet),
            WAV files, plain images, folders or patterns of them (patterns in quotes, if they
            match very many); or one YAML file of a training run, of which only the section data
            is read.
        ckpt: Checkpoint of a trained task; it knows its bands, statistics and patch size. A folder
            that save_pretrained wrote, or ORGANISATION/NAME of the Hugging Face Hub, will do.
        model: In place of a checkpoint: MODEL or MODEL:WEIGHTS, a model of TorchGeo or timm and
            weights that TorchGeo knows or a file of them, which embed without training.
        out: Archive folder to write or to complete.
        modality: Which sensor the scenes are from, by the name used in training, such as s2.
            Sound and plain images need none if one encoder alone can take them. For a YAML it
            may be repeated, or name several joined with +, such as s1+s2, for one row per
            place; without it, every sensor is embedded on its own.
        bands: With --model: names of the bands in order, such as B02,B03,B04,B08; without it those
            of the weights, or VV and VH of s1 and all but B10 of s2. Of sensors other than
            Sentinel-1 and Sentinel-2 their wavelengths in nanometres, such as 655,561,482.
        normalize: With --model: weights for pixels in the units that the model was trained with,
            decibels or reflectance; data for pixels of any kind, such as 8-bit pictures, which are
            normalised by their own mean and deviation.
        quiet: Show no progress bar.
    """
    given = spread(locals())
    paired = scenes[0].endswith(('.yaml', '.yml'))
    _check_words(scenes, paired, pixels)
    check_encoder(ckpt, model, bands, normalize)

    from torchgeo_cmr import embed as library
    from torchgeo_cmr.errors import QueryError

    _check_derived(out, archive)
    kind = 'pair' if paired else 'raster' if pixels.dataset else library.kind_of(scenes)
    known: dict[str, tuple[Callable[..., Any], str]] = {
        'pair': (library.embed_pairs, 'the pairs of a YAML'),
        'raster': (library.embed, 'scenes'),
        'image': (library.embed_images, 'images without a place'),
        'sound': (library.embed_sounds, 'sound'),
    }
    function, description = known[kind]
    if kind == 'sound' and model is not None:
        raise QueryError(
            '--model names encoders of pictures, and nobody published one that hears what they '
            'show: embed sound with --ckpt of a task that was trained on pairs of images and speech'
        )
    options = _taken(function, given, description, placed=kind in ('pair', 'raster'))
    task = read_encoder(ckpt, model, modality, bands, compute.task, normalize)
    options |= {'progress': not quiet, 'out': out, 'load': False}
    if kind == 'pair':
        data = library.open_data(scenes[0])
        if normalize == 'data':
            set_measured(task, data.describe())  # ty: ignore[missing-attribute]
        function(task, data, modality, splits=pairs.split, **options)
    elif kind == 'raster':
        _embed_scenes(task, given, options)
    else:
        if normalize == 'data':
            raise QueryError(f'--normalize data has no meaning for {description}')
        sensor = _one(modality, task.keys) if modality else None
        function(task, scenes, sensor, **options)
    if compute.engine == 'lightning' and int(os.environ.get('RANK', '0')):
        return 0  # what follows, the first rank does
    _derive(out, archive)
    return int(kind != 'pair' and bool(library.read_report(out)['refused']))


def _check_words(words: Sequence[str], paired: bool, pixels: PixelOptions) -> None:
    """Refuse what is not there, or is not to be fetched, before torch is loaded."""
    from torchgeo_cmr.errors import QueryError, RasterError
    from torchgeo_cmr.regular_files import is_address
    from torchgeo_cmr.scenes.files import check_words

    if paired and len(words) > 1:
        raise QueryError(
            f'a YAML is embedded alone, found {len(words)} words: give one'
        )
    if paired or pixels.dataset is not None:
        return
    addresses = [word for word in words if is_address(word)]
    if addresses and not pixels.remote:
        from torchgeo_cmr.scenes.remote_files import unallowed

        raise RasterError(unallowed(addresses[0]))
    check_words([word for word in words if not is_address(word)])


def _check_derived(out: str, options: ArchiveOptions) -> None:
    """Refuse now what would be refused after hours of embedding."""
    from torchgeo_cmr.embed.centred import centred_folder
    from torchgeo_cmr.embed.time_stack import stack_folder
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.table.dates import check_stack

    if options.over_dates is not None:
        check_stack(options.over_dates, options.min_dates)
        stack_folder(out)
    elif options.min_dates != 1:
        raise QueryError('--min-dates is for --over-dates: give that as well')
    if options.center:
        centred_folder(out)


def _derive(out: str, options: ArchiveOptions) -> None:
    """Write the archives that are made from the archive."""
    from torchgeo_cmr import embed as library

    if options.over_dates is not None:
        library.stack_dates(out, options.over_dates, min_dates=options.min_dates)  # ty: ignore[invalid-argument-type]
    if options.center:
        library.center_archive(out)


def _embed_scenes(
    task: 'CrossModalTask', given: Mapping[str, Any], options: dict[str, Any]
) -> None:
    """Embed scenes, each on its own grid.

    Args:
        task: The encoder.
        given: Arguments of the command.
        options: Those of the library.
    """
    from torchgeo_cmr import embed as library

    sensor = _one(given['modality'], task.keys)
    spec, rasters = task.specs.get(sensor, {}), given['scenes']
    if given['size'] is None and given['size_metres'] is None:
        options['size'] = _width(spec, str(given['ckpt'] or given['model']))
    if given['dataset']:
        rasters = library.open_dataset(given['dataset'], rasters, spec.get('bands'))
    if given['normalize'] == 'data':
        names = ('units', 'scale', 'nodata', 'remote')
        known = {name: given[name] for name in names}
        out = None if given['overwrite'] else given['out']
        measured = library.measure_pixels(task, rasters, sensor, out=out, **known)
        set_measured(task, {sensor: measured})
    with naming_bands(given['model'] if given['bands'] is None else None):
        library.embed(task, rasters, sensor, **options)


#: Arguments of the command that are not options of the library, or have another name there.
_OWN = {
    'scenes',
    'ckpt',
    'model',
    'out',
    'modality',
    'bands',
    'normalize',
    'task',
    'quiet',
}
#: Arguments of the command that only some kinds have -> the parameter that those kinds take.
_OF_KIND = {'split': 'splits', 'dataset': 'size_metres'}


def _one(modality: Sequence[str] | None, known: Iterable[str]) -> str:
    """Give the one sensor that scenes and files are from."""
    from torchgeo_cmr.errors import QueryError

    if not modality or len(modality) > 1:
        raise QueryError(
            f'scenes are of one sensor: give one --modality of {", ".join(known)}'
        )
    return modality[0]


def _width(spec: Mapping[str, Any], ckpt: str) -> int | None:
    """Give the patch width of the training; encoders that take any width have none."""
    from torchgeo_cmr.errors import RasterError

    width = spec.get('patch_size')
    if spec and width is None:
        raise RasterError(f'{ckpt} does not say how wide its patches were: give --size')
    return width


def _taken(
    function: Callable[..., Any],
    given: dict[str, Any],
    description: str,
    *,
    placed: bool,
) -> dict[str, Any]:
    """Pick the options that a function takes; refuse others that were given."""
    from torchgeo_cmr.errors import QueryError

    known = inspect.signature(function).parameters
    names = {name for name, p in known.items() if p.default is not p.empty}
    options, strange = {}, []
    for argument in read_arguments(embed, explained=False):
        name = argument.name
        if name in _OWN:
            continue
        if name in names:
            options[name] = given[name]
        elif name == 'center' or (name in ('over_dates', 'min_dates') and placed):
            continue
        elif _OF_KIND.get(name) not in names and given[name] != argument.default:
            strange.append(argument.flag)
    if strange:
        raise QueryError(
            f'{", ".join(strange)} has no meaning for {description}: drop it; '
            'torchgeo-cmr embed --help explains it'
        )
    return options
