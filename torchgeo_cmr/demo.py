"""The whole journey on one world: train, embed, search, score, draw.

On the synthetic landscape every right answer is known, so the scores mean something; on a
user's own rasters the same steps run, and what is unknown (dates, land cover) is
skipped with a note. The module is long because it is a whole application: each step is a few
calls of the library, and the scores follow one protocol that is spelt out here.
"""

import copy
import json
import logging
import os
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from shapely import Polygon
from torchgeo.datasets import RasterDataset, Sentinel1, Sentinel2

from torchgeo_cmr import __version__
from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datasets import SyntheticLandscape
from torchgeo_cmr.drafts import check_folder, check_free, new_draft
from torchgeo_cmr.embed import embed, measure_pixels
from torchgeo_cmr.errors import LARGEST_SEED, PairingError, check_seed
from torchgeo_cmr.evaluate import (
    evaluate,
    labels_from_raster,
    near_place,
    same_label,
    same_place,
)
from torchgeo_cmr.export import PatchReader, to_geojson, to_sheet
from torchgeo_cmr.models.weights import band_key
from torchgeo_cmr.processors import cores
from torchgeo_cmr.progress.bars import bar, is_drawn
from torchgeo_cmr.scenes.scene import from_paths
from torchgeo_cmr.search import Alignment, RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import SSCMRSIR, CrossModalTask, Pretrained, load_task
from torchgeo_cmr.tasks.frozen.named_models import read_models, usual_bands
from torchgeo_cmr.tasks.networks import Normalize
from torchgeo_cmr.tasks.sscmrsir import Preset

_LOG = logging.getLogger(__name__)

#: Column that holds the land cover of a patch while the demo scores.
_LABEL = 'land_cover'


@dataclass(frozen=True)
class Settings:
    """What the demo does; one set for every world.

    The recipe of ``preset='best'``: with the few thousand pairs that a minute of two cores can
    show, the published settings have hardly begun to learn.
    """

    #: Rows and columns of a scene of the synthetic world, in pixels of 10 m.
    size: int = 1248
    model: str = 'resnet10t'
    preset: Preset = 'best'
    patch_size: int = 32
    batch_size: int = 128
    epochs: int = 14
    steps: int = 15
    lr: float = 2e-3
    temperature: float | None = None
    val_split: float = 0.1
    test_split: float = 0.25
    queries: int = 6
    hits: int = 10
    #: Both synthetic sensors pass once in this window.
    during: tuple[str, str] | None = ('2024-06-01', '2024-07-01')


#: Bands of the synthetic world, which are known before it is drawn.
_WORLD = {'s1': SyntheticLandscape.s1_bands, 's2': SyntheticLandscape.s2_bands}

#: Epochs after each of which a line is written where no bar is drawn.
_SPOKEN = 3

#: What the demo does with a frozen model, which sees more of a place at once.
_FROZEN = Settings(patch_size=96)


@dataclass(frozen=True)
class Journey:
    """What the demo wrote."""

    #: Folder of everything below.
    out: Path
    #: Name -> path of each file or folder.
    files: dict[str, Path]
    #: The content of ``metrics.json``.
    metrics: dict[str, Any]
    #: Sentences about what was skipped, and why.
    notes: list[str] = field(default_factory=list)


def run(
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    rasters: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    model: str | None = None,
    bands: Mapping[str, Sequence[str]] | None = None,
    normalize: Normalize = 'weights',
    settings: Settings | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Journey:
    """Run the journey.

    Args:
        out: Folder to write into; made if missing.
        seed: Seed of the world, the splits, the weights and the draws.
        rasters: Modality name -> files (path, folder or pattern) of two modalities, instead
            of the synthetic world. The first is the query, the second the archive.
        units: Modality -> scale of its radar bands, where the files do not state it.
        model: ``MODEL`` or ``MODEL:WEIGHTS``, see :class:`~torchgeo_cmr.tasks.Pretrained`: embed
            with it as it is, in place of training.
        bands: Modality -> bands that *model* sees, by name or wavelength; by default what it
            takes of Sentinel-1 and Sentinel-2, else those of the files.
        normalize: As in :class:`~torchgeo_cmr.tasks.Pretrained`.
        settings: What to do (default: a few minutes on two cores).
        overwrite: Replace what an earlier run left.
        progress: Show bars on stderr where that is a terminal or a notebook.

    Returns:
        Paths, scores and notes.

    Raises:
        OutputExistsError: If the folder holds files and *overwrite* is off.
        PairingError: If there are not two modalities with common ground.
        RasterError: If a raster cannot be used.
        OptionError: If the seed is negative or beyond 32 bits.
    """
    out = Path(out)
    check_seed(seed, most=LARGEST_SEED)
    _check(out, rasters, overwrite=overwrite)
    settings = settings or (_FROZEN if model else Settings())
    task, bands = None, bands or {}
    if model is not None and rasters is None:
        # Before a world is drawn for it.
        task = _frozen(model, _WORLD, bands, normalize)
    members, truth = _members(out, seed, rasters, settings.size)
    data = _pairs(members, settings, seed, units or {})
    during = settings.during if rasters is None else None
    notes = _notes(truth, during, model)
    # What is wrong with the rasters shows here, before anything is written.
    specs = data.describe()
    if model is not None:
        if task is None:
            known = {name: spec['bands'] for name, spec in specs.items()}
            task = _frozen(model, known, bands, normalize)
        _measure(task, members, units or {}, normalize)
    out.mkdir(parents=True, exist_ok=True)
    tables = _tables(
        task,
        members,
        data,
        settings,
        during,
        seed,
        out,
        overwrite,
        progress,
        units or {},
    )
    _LOG.info('scoring every direction, and searching inside an area')
    shown = next(iter(tables))
    ground = data.ground('test')
    galleries = {
        name: {m: _gallery(t, ground, during, truth) for m, t in pair.items()}
        for name, pair in tables.items()
    }
    metrics = _metrics(galleries, data, settings, seed, during, notes, model)
    files = _answer(
        out, tables[shown], galleries[shown], truth, settings, during, overwrite
    )
    files |= {'checkpoint': out / 'checkpoint.ckpt', 'archive': out / 'archive'}
    files['metrics'] = out / 'metrics.json'
    _write_json(metrics, files['metrics'])
    return Journey(out, files, metrics, notes)


def _check(out: Path, rasters: Mapping[str, str] | None, *, overwrite: bool) -> None:
    """Refuse a folder that holds files, and other than two modalities."""
    check_folder(out)
    if not overwrite:
        check_free(out)
    if rasters is not None and len(rasters) != 2:
        raise PairingError(
            f'the demo pairs two modalities, {len(rasters)} given: say for example '
            "--raster s1='S1/*.tif' --raster s2='S2/*.tif'"
        )


def _notes(
    truth: Sequence[Path], during: tuple[str, str] | None, model: str | None
) -> list[str]:
    """Say what is left out, and why."""
    notes = [] if truth else ['no land cover is known: map is null']
    if during is None:
        notes.append(
            'without known dates pairs are made by place and no time window is used'
        )
    if model is not None:
        weights = '' if ':' in model else ', with random weights'
        notes.append(f'nothing was trained: {model} embedded as it is{weights}')
    return notes


def _members(
    out: Path, seed: int, rasters: Mapping[str, str] | None, size: int
) -> tuple[dict[str, RasterDataset], list[Path]]:
    """Datasets of the two modalities, and the land-cover truth if there is one."""
    if rasters is not None:
        return {name: from_paths(paths) for name, paths in rasters.items()}, []
    _LOG.info('drawing a world of two scenes, each seen twice by two sensors')
    world = SyntheticLandscape(out / 'world', seed, size=size, sensors=('s1', 's2'))
    members: dict[str, RasterDataset] = {
        's1': Sentinel1(str(world.s1)),
        's2': Sentinel2(str(world.s2), bands=world.s2_bands),
    }
    return members, sorted(Path(world.truth).glob('landcover_*.tif'))


def _pairs(
    members: Mapping[str, RasterDataset],
    settings: Settings,
    seed: int,
    units: Mapping[str, str],
) -> PairedDataModule:
    """Pair the two modalities and divide their ground."""
    return PairedDataModule(
        dict(members),
        patch_size=settings.patch_size,
        batch_size=settings.batch_size,
        length=settings.steps * settings.batch_size,
        val_split=settings.val_split,
        test_split=settings.test_split,
        units=dict(units),
        seed=seed,
    )


def _tables(
    task: Pretrained | None,
    members: Mapping[str, RasterDataset],
    data: PairedDataModule,
    settings: Settings,
    during: tuple[str, str] | None,
    seed: int,
    out: Path,
    overwrite: bool,
    progress: bool,
    units: Mapping[str, str],
) -> dict[str, dict[str, EmbeddingTable]]:
    """Embed with a trained encoder and its untrained twin, or with a frozen one."""
    checkpoint = out / 'checkpoint.ckpt'
    archives = {[*members][1]: out / 'archive'}
    embedded = partial(
        _embed,
        members=members,
        data=data,
        settings=settings,
        during=during,
        overwrite=overwrite,
        progress=progress,
    )
    if task is None:
        _LOG.info(
            'training for %d steps of %d pairs',
            settings.epochs * settings.steps,
            settings.batch_size,
        )
        untrained = _train(data, settings, seed, checkpoint, progress)
        _LOG.info('embedding with the trained encoder and with the untrained one')
        return {
            'trained': embedded(load_task(checkpoint), archives=archives),
            'untrained': embedded(untrained),
        }
    task.save(checkpoint, overwrite=True)
    _LOG.info('embedding with the frozen model')
    frozen = embedded(task, archives=archives, units=units)
    return {'frozen': frozen, 'centred': _centred(frozen)}


def _train(
    data: PairedDataModule,
    settings: Settings,
    seed: int,
    checkpoint: Path,
    progress: bool,
) -> SSCMRSIR:
    """Train, keep the best epoch by validation recall; return the untrained twin."""
    seed_everything(seed, verbose=False)
    description = data.describe()
    task = SSCMRSIR(
        {name: len(spec['bands']) for name, spec in description.items()},
        settings.model,
        preset=settings.preset,
        temperature=settings.temperature,
        lr=settings.lr,
        warmup_epochs=1,
    )
    task.set_specs(description)
    untrained = copy.deepcopy(task).eval()
    best = ModelCheckpoint(
        checkpoint.parent,
        filename=checkpoint.stem,
        monitor=task.monitor,
        mode=task.mode,
        save_weights_only=True,
        enable_version_counter=False,
    )
    trainer = Trainer(
        max_epochs=settings.epochs,
        callbacks=[best, _Bar(settings.epochs * settings.steps, shown=progress)],
        accelerator='auto',
        devices=1,
        precision=_precision(),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    with warnings.catch_warnings(), _fewer_threads():
        # One process reads as fast as the two cores of a small machine can train.
        warnings.filterwarnings('ignore', message='.*does not have many workers')
        # The checkpoint of an earlier run is meant to be replaced.
        warnings.filterwarnings('ignore', message='Checkpoint directory .* exists')
        trainer.fit(task, data)
    return untrained


@contextmanager
def _fewer_threads() -> Generator[None]:
    """Train on half of the cores; the others read the next batch, or belong to others.

    Threads of one product wait for each other, so a core that something else uses delays all.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(1, cores() // 2)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _precision() -> Literal['bf16-mixed', '32-true']:
    """How numbers are kept while training: half as long where the CPU has tiles for them.

    Without tiles, AVX-512 with bf16 took longer than float32, and without bf16 three times as
    long. GPUs were not measured.
    """
    known = getattr(torch.cpu, 'get_capabilities', dict)()
    tiles = known.get('amx_bf16', False) and not torch.cuda.is_available()
    return 'bf16-mixed' if tiles else '32-true'


def _frozen(
    model: str,
    present: Mapping[str, Sequence[str]],
    bands: Mapping[str, Sequence[str]],
    normalize: Normalize,
) -> Pretrained:
    """Build a model for the bands that the files have."""
    chosen: dict[str, Sequence[str] | None] = {}
    for modality, known in present.items():
        chosen[modality] = bands.get(modality)
        if chosen[modality] is None and not modality.startswith(('s1', 's2')):
            chosen[modality] = known
        elif chosen[modality] is None:
            usual = usual_bands(model.partition(':')[0], modality)
            if not {*map(band_key, known)}.issuperset(map(band_key, usual)):
                chosen[modality] = known
    return read_models(model, chosen, normalize)


def _measure(
    task: Pretrained,
    members: Mapping[str, RasterDataset],
    units: Mapping[str, str],
    normalize: Normalize,
) -> None:
    """Take mean and deviation of the pixels of the files, if they are wanted."""
    if normalize != 'data':
        return
    task.set_specs(
        {
            m: measure_pixels(task, member, m, units=units.get(m))
            for m, member in members.items()
        }
    )


def _centred(tables: Mapping[str, EmbeddingTable]) -> dict[str, EmbeddingTable]:
    """Take the mean of each modality from its vectors."""
    mean = Alignment.center(list(tables.values()))
    return {modality: mean.table(table) for modality, table in tables.items()}


class _Bar(Callback):
    """A bar of training steps on stderr, with the recall of the last validation."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self.bar = bar(total, 'step', 'train', wanted=shown)
        self.drawn = is_drawn(shown)

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        self.bar.update()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        recall = trainer.callback_metrics.get('val_recall@10')
        if recall is not None:
            self.bar.set_postfix({'val_recall@10': f'{recall:.3f}'})
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs or 0
        # Where no bar is drawn, a word in between says that it goes on.
        if (
            recall is not None
            and not self.drawn
            and epoch % _SPOKEN == 0
            and epoch < last
        ):
            _LOG.info(
                'epoch %d of %d: recall@10 of the validation is %.3f',
                epoch,
                last,
                recall,
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.close()


def _embed(
    task: CrossModalTask,
    members: Mapping[str, RasterDataset],
    data: PairedDataModule,
    settings: Settings,
    during: tuple[str, str] | None,
    archives: Mapping[str, Path] = MappingProxyType({}),
    units: Mapping[str, str] = MappingProxyType({}),
    *,
    overwrite: bool,
    progress: bool,
) -> dict[str, EmbeddingTable]:
    """Embed each modality, in memory where it has no archive."""
    sizes = data.zones[0].sizes(settings.patch_size)
    # What is not kept is scored alone, and only scenes of the window are.
    return {
        modality: embed(
            task,
            dataset if modality in archives else _dated(dataset, during),
            modality,
            sizes[modality],
            batch_size=settings.batch_size,
            units=units.get(modality),
            root=_root(dataset),
            out=archives.get(modality),
            overwrite=overwrite,
            progress=progress,
        )
        for modality, dataset in members.items()
    }


def _dated(dataset: RasterDataset, during: tuple[str, str] | None) -> RasterDataset:
    """Give the scenes of a time window."""
    if during is None:
        return dataset
    start, end = map(pd.Timestamp, during)
    found = copy.copy(dataset)
    times = cast(pd.IntervalIndex, dataset.index.index)
    found.index = dataset.index[(times.left < end) & (times.right >= start)]
    return found


def _root(dataset: RasterDataset) -> Path:
    files = [os.path.abspath(path) for path in dataset.index['filepath']]
    return Path(os.path.commonpath([os.path.dirname(file) for file in files]))


def _gallery(
    table: EmbeddingTable,
    ground: gpd.GeoDataFrame,
    during: tuple[str, str] | None,
    truth: list[Path],
) -> EmbeddingTable:
    """Rows on test places, at one date, with their land cover."""
    # A millionth of a degree: the ground came here through another CRS.
    area = ground.geometry.union_all().buffer(1e-6)
    rows = Where(area, crs='EPSG:4326', predicate='within', during=during).rows(table)
    table = table.select(rows)
    frame = table.frame.copy()
    frame[_LABEL] = _land_cover(frame, truth)
    return EmbeddingTable.from_frame(
        frame, table.vectors, metric=table.metric, record=table.record
    )


def _land_cover(frame: gpd.GeoDataFrame, truth: list[Path]) -> pd.Series:
    """Class of more than half of a patch's pixels; null where no class has as many."""
    return labels_from_raster(frame, truth, share=0.5)


def _metrics(
    galleries: Mapping[str, Mapping[str, EmbeddingTable]],
    data: PairedDataModule,
    settings: Settings,
    seed: int,
    during: tuple[str, str] | None,
    notes: list[str],
    model: str | None,
) -> dict[str, Any]:
    """Score every direction for the trained and the untrained encoder, and by chance."""
    shown = next(iter(galleries.values()))
    modalities = list(shown)
    first = shown[modalities[0]]
    directions = {
        f'{a}->{b}': _direction(galleries, a, b) for a in modalities for b in modalities
    }
    alone = {name: scores.pop('alone') for name, scores in directions.items()}
    alone = {name: count for name, count in alone.items() if count}
    for name, count in alone.items():
        notes.append(
            f'{count} queries of {name} have no relevant place in the gallery: not counted in '
            'recall@10'
        )
    labelled = {m: int(t.frame[_LABEL].notna().sum()) for m, t in shown.items()}
    return {
        'protocol': {
            'gallery': 'patches on test places only, one date per sensor',
            'recall@10': 'own place (footprint IoU >= 0.5); within one modality the own patch '
            'is excluded and a neighbour (touching or within one patch width) counts; '
            'hits among the first 10 divided by the number of relevant patches',
            'map': 'same land cover (class of more than half of the pixels); average '
            'precision over the full ranking divided by the number of relevant patches; '
            'patches without such a class are left out',
            'chance': 'expectation of a random ranking',
            'ties': 'archive row',
            'similarity': 'cosine',
            'during': during,
            'patch_size': settings.patch_size,
            **({} if model is None else {'model': model}),
            'split': 'square cells of ground with a margin of one patch',
            'notes': notes,
            'version': __version__,
        },
        'seed': seed,
        'counts': {
            'train_steps': 0 if model else settings.epochs * settings.steps,
            'batch_size': settings.batch_size,
            'zones': len(data.zones),
            'gallery': {m: len(t) for m, t in shown.items()},
            'without_land_cover': {m: len(t) - labelled[m] for m, t in shown.items()},
            'without_relevant_place': alone,
            'land_cover_classes': int(first.frame[_LABEL].nunique()),
        },
        'directions': directions,
    }


def _direction(
    galleries: Mapping[str, Mapping[str, EmbeddingTable]], a: str, b: str
) -> dict[str, Any]:
    rule: Callable[..., Any] = near_place if a == b else same_place
    scores: dict[str, Any] = {}
    for name, pair in galleries.items():
        queries, archive = pair[a], pair[b]
        by_place = evaluate(queries, archive, relevance=rule)
        query_table, found = (
            t.select(t.frame[_LABEL].notna()) for t in (queries, archive)
        )
        by_label: dict[str, Any] = {'map': None, 'chance': {'map': None}}
        if len(query_table) and len(found):
            relevant = same_label(query_table, found, _LABEL)
            by_label = evaluate(query_table, found, relevance=relevant)
        scores[name] = {'recall@10': by_place['recall@10'], 'map': by_label['map']}
        scores['alone'] = by_place['empty']
        scores['chance'] = {
            'recall@10': by_place['chance']['recall@10'],
            'map': by_label['chance']['map'],
        }
    return scores


def _answer(
    out: Path,
    tables: Mapping[str, EmbeddingTable],
    galleries: Mapping[str, EmbeddingTable],
    truth: list[Path],
    settings: Settings,
    during: tuple[str, str] | None,
    overwrite: bool,
) -> dict[str, Path]:
    """Search the archive with held-out patches inside a polygon; write layers and a sheet."""
    asking, answering = tables
    area = _asked_area(galleries[asking], settings.queries)
    inside = Where(area, crs='EPSG:4326', predicate='within').rows(galleries[asking])
    step = max(1, len(inside) // settings.queries)
    queries = galleries[asking].select(inside[::step][: settings.queries])
    where = Where(area, crs='EPSG:4326', predicate='within', during=during)
    index = RetrievalIndex(tables[answering])
    results = index.search(queries, k=settings.hits, where=where)
    outline = gpd.GeoDataFrame(
        {'name': ['search area']}, geometry=[area], crs='EPSG:4326'
    )
    files = {
        'hits': to_geojson(results, out / 'hits.geojson', overwrite=overwrite),
        'area': to_geojson(outline, out / 'area.geojson', overwrite=overwrite),
        'queries': to_geojson(
            queries.frame, out / 'queries.geojson', overwrite=overwrite
        ),
    }
    # Only the scenes of the window: a place should be shown at one time in all sensors.
    reader = PatchReader(
        {name: _seen(table) for name, table in galleries.items()}, north_up=True
    )
    files['contact_sheet'] = to_sheet(
        _judged(results, queries, truth),
        out / 'contact_sheet.png',
        queries=queries,
        read=reader,
        overwrite=overwrite,
    )
    return files


def _seen(table: EmbeddingTable) -> dict[str, Any]:
    """Record of a table without the scenes of which it has no row."""
    scenes = set(table.frame['source'])
    sources = {s: files for s, files in table.record['sources'].items() if s in scenes}
    return {**table.record, 'sources': sources}


def _judged(
    results: gpd.GeoDataFrame, queries: EmbeddingTable, truth: list[Path]
) -> gpd.GeoDataFrame:
    """Fill in ``relevant`` for the sheet: the own place, or the same known land cover."""
    query_rows = queries.frame.set_index('patch_id').loc[results['query_id']]
    centres = shapely.centroid(query_rows.geometry.to_numpy())
    is_own = pd.Series(shapely.intersects(results.geometry.to_numpy(), centres))
    mine = query_rows[_LABEL].reset_index(drop=True)
    theirs = _land_cover(results, truth).reset_index(drop=True)
    # A comparison with an unknown class stays unknown.
    judged = results.copy()
    judged['relevant'] = (mine == theirs).astype('boolean').mask(is_own, True)
    return judged


def _asked_area(queries: EmbeddingTable, wanted: int) -> Polygon:
    """A round polygon, in EPSG:4326, that holds some of the held-out queries whole."""
    # One zone: a circle round places of two continents holds no place at all.
    codes = queries.frame['src_crs']
    frame = queries.frame[codes == codes.mode().iloc[0]]
    local = frame.geometry.to_crs(frame.estimate_utm_crs())
    centres = local.centroid
    middle = shapely.Point(centres.x.median(), centres.y.median())
    centre = centres.iloc[centres.distance(middle).argmin()]
    # Four times the queries wanted: the answer should have something to choose from.
    enough = min(len(local), 4 * wanted)
    reach = np.sort(shapely.hausdorff_distance(local.to_numpy(), centre))[enough - 1]
    circle = gpd.GeoSeries([centre.buffer(1.01 * float(reach))], crs=local.crs)
    (area,) = circle.to_crs('EPSG:4326')
    return area


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    with new_draft(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + '\n')


__all__ = ('Journey', 'Settings', 'run')
