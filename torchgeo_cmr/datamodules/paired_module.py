"""Paired rasters as loaders: random disjoint patches to train on, a grid to evaluate on."""

from collections.abc import Mapping, Sequence
from itertools import batched, chain
from typing import TYPE_CHECKING, Any, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from shapely import STRtree
from shapely.geometry.base import BaseGeometry
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets import GeoDataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datamodules.collate import collate
from torchgeo_cmr.datamodules.flips import Flips
from torchgeo_cmr.datamodules.patches import ListedPatches, Patches
from torchgeo_cmr.datamodules.prefetch import EarlyLoader
from torchgeo_cmr.datamodules.split import (
    SPLITS,
    Tiles,
    check_shares,
    near_ground,
    split_ground,
)
from torchgeo_cmr.datamodules.statistics import Moments, check_units, sample_keys
from torchgeo_cmr.datamodules.tiling import grid, has_chips, zone_areas
from torchgeo_cmr.datasets.label_map import LabelFromMask
from torchgeo_cmr.datasets.paired import PairedDataset
from torchgeo_cmr.datasets.zones import paired_zones
from torchgeo_cmr.errors import PairingError, RasterError
from torchgeo_cmr.samplers import Area, DisjointBatchSampler
from torchgeo_cmr.samplers.patch_area import PatchKey, sides
from torchgeo_cmr.scenes.catalogue import header_catalogue
from torchgeo_cmr.scenes.units import BACKSCATTER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Splits by place need at least as many cells: cells are halved until there are as many, or
#: until a cell is a single patch.
_MIN_CELLS = 16

#: Least value of each number that a user can set.
_LEAST = {
    'patch_size': 1,
    'block': 1,
    'margin': 0,
    'min_valid': 0,
    'seed': 0,
    'batch_size': 1,
    'length': 1,
    'gather': 1,
    'stat_patches': 1,
}


class PairedDataModule(BaseDataModule):
    """Patches of paired modalities, split by place.

    The ground is divided into square cells; each belongs to training, validation or test,
    with a margin between them, so no training patch touches a test patch. Training draws
    random patches, none overlapping another of its batch; validation and test lay a grid
    and see each place once, at the first of its dates that has enough valid pixels there.
    Pre-cut chips, files exactly one patch wide, are used whole and once per epoch. Each patch
    is read from the pair of scenes in which its valid pixels were counted.

    Members whose files lie in several zones give one
    :class:`~torchgeo_cmr.datasets.PairedDataset` per zone: nothing is warped between zones.

    As in every data module of TorchGeo, ``train_batch_size``, ``val_batch_size``,
    ``test_batch_size`` and ``predict_batch_size`` take precedence over ``batch_size`` if they
    are set, and ``train_aug``, ``val_aug``, ``test_aug`` and ``predict_aug`` over ``aug``.

    Examples:
        >>> import tempfile
        >>> from torchgeo.datasets import Sentinel1, Sentinel2
        >>> from torchgeo_cmr.datasets.synthetic import SyntheticLandscape
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     world = SyntheticLandscape(folder, size=384, sensors=('s1', 's2'))
        ...     members = {
        ...         's1': Sentinel1(world.s1),
        ...         's2': Sentinel2(world.s2, bands=['B04', 'B08']),
        ...     }
        ...     data = PairedDataModule(members, patch_size=32, batch_size=4)
        ...     batch = next(iter(data.train_dataloader()))
        >>> batch['image_s1'].shape, batch['image_s2'].shape
        (torch.Size([4, 2, 32, 32]), torch.Size([4, 2, 32, 32]))
    """

    def __init__(
        self,
        datasets: dict[str, GeoDataset] | None = None,
        *,
        train: dict[str, GeoDataset] | None = None,
        val: dict[str, GeoDataset] | None = None,
        test: dict[str, GeoDataset] | None = None,
        patch_size: int | tuple[int, int] = 64,
        batch_size: int = 64,
        length: int | None = None,
        tolerance: str | None = None,
        val_split: float = 0.1,
        test_split: float = 0.2,
        block: int = 8,
        margin: float = 1.0,
        min_valid: float = 0.5,
        units: dict[str, str] | None = None,
        labels: LabelFromMask | None = None,
        augment: bool = True,
        gather: int = 1,
        stat_patches: int = 256,
        catalogue: str | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Initialize a new PairedDataModule instance.

        Args:
            datasets: Modality name -> dataset, to be split by place. The first modality
                gives the reference grid.
            train: Instead of *datasets*: ready-made training members.
            val: Ready-made validation members.
            test: Ready-made test members.
            patch_size: Patch size in pixels of the first modality, or height and width; the
                others show the same ground in their own pixels.
            batch_size: Patches per batch.
            length: Random patches per epoch (default: enough to cover the ground once). If
                there are only chips, the most of them that an epoch uses.
            tolerance: Largest time between paired acquisitions, such as '5D'; None pairs
                by place and nearest date.
            val_split: Share of the ground for validation.
            test_split: Share of the ground for testing.
            block: Width of a cell in patches.
            margin: Distance between splits in patch widths; 0 lets them touch.
            min_valid: Smallest share of valid pixels of a patch, in every modality; patches
                without any are never used. A pixel is valid if no band misses it. With 0,
                files that mark no pixels as missing are not searched for NaN.
            units: Modality -> 'db', 'power', 'amplitude', 'reflectance' or 'dn', where the
                files do not state it.
            labels: Map of classes, from which each patch gets its ``label``; patches
                without one are not used.
            augment: Whether training patches are flipped, all modalities alike.
            gather: Training patches that are drawn near one another, so that large files
                are read faster; 1 draws each from the whole ground. See
                :class:`~torchgeo_cmr.samplers.DisjointBatchSampler`.
            stat_patches: Training patches from which mean and deviation are taken.
            catalogue: GeoParquet of the headers of rasters, from which the next run and other
                processes pair them without opening any; made if it does not exist.
            num_workers: Worker processes that read.
            seed: Seed of splits, draws and statistics.

        Raises:
            PairingError: If neither *datasets* nor *train* is given, both are, the shares
                leave nothing to train on, a number is too small, or splits have other
                modalities than *train*.
            RasterError: If *units* holds an unknown unit or modality.
        """
        super().__init__(PairedDataset, batch_size, num_workers)
        if (datasets is None) == (train is None):
            raise PairingError(
                'give either `datasets`, to be split by place, or ready-made `train` (with '
                '`val` and `test` if you have them), not both or none'
            )
        check_shares(val_split, test_split)
        _check_names(datasets, {'train': train, 'val': val, 'test': test}, units or {})
        #: Members to be split by place; None if the splits were ready-made.
        self.datasets = datasets
        #: Split -> its ready-made members, None where it has none.
        self.ready = {
            # The first modality gives the grid: in all splits the same.
            split: None if members is None else {m: members[m] for m in train or {}}
            for split, members in (('train', train), ('val', val), ('test', test))
        }
        self.patch_size = patch_size
        self.length = length
        self.tolerance = tolerance
        #: Split -> share of the ground.
        self.shares = {'val': val_split, 'test': test_split}
        self.shares['train'] = 1 - val_split - test_split
        self.block = block
        self.margin = margin
        self.min_valid = min_valid
        self.units = units or {}
        self.labels = labels
        self.gather, self.stat_patches = gather, stat_patches
        self.catalogue = catalogue
        self.seed = seed
        self._check_numbers()
        #: One paired dataset for each zone; empty before :meth:`setup`.
        self.zones: list[PairedDataset] = []
        #: Split -> ground from which patches may be cut.
        self.areas: dict[str, list[Area]] = {}
        self._ground: dict[str, list[tuple[Any, BaseGeometry]]] = {}
        self._described: dict[str, dict[str, Any]] | None = None
        self.collate_fn = collate
        #: Applied to batches of splits without an augmentation of their own: nothing, since
        #: the task knows the statistics of each modality.
        self.aug = nn.Identity()
        if augment:
            #: Applied to training batches after they reach the device.
            self.train_aug = Flips()

    def _check_numbers(self) -> None:
        smallest = min(sides(self.patch_size, 'patch_size'))
        for name, least in _LEAST.items():
            number = smallest if name == 'patch_size' else getattr(self, name)
            if number is not None and number < least:
                raise PairingError(f'{name} is {number}: it must be at least {least}')
        if self.min_valid > 1:
            raise PairingError(f'min_valid is {self.min_valid}: a share is at most 1')

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, the reference first."""
        members = self.datasets or self.ready['train']
        return tuple(cast(Mapping[str, GeoDataset], members))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels; none without `labels`."""
        return () if self.labels is None else self.labels.classes

    def setup(self, stage: str | None = None) -> None:
        """Pair and split the ground; does nothing the second time.

        Args:
            stage: Any stage of the trainer; all need the same ground.

        Raises:
            PairingError: If modalities share no ground or a split has no patch.
        """
        if self.zones:
            return
        try:
            self._divide()
        except BaseException:
            # Otherwise the next call would take what is half done for complete.
            self.zones, self.areas, self._ground = [], {}, {}
            raise
        patches = Patches(self.zones, self.labels)
        self.train_dataset = self.val_dataset = self.test_dataset = patches
        self.predict_dataset = patches

    def _divide(self) -> None:
        """Pair the members and give each split its ground."""
        if self.datasets is not None:
            self.zones = self._pair(self.datasets)
            tiles = self._split(self.zones)
            for split in reversed(SPLITS):
                self._use(split, range(len(self.zones)), [t[split] for t in tiles])
        else:
            for split, members in self.ready.items():
                first = len(self.zones)
                if members is not None:
                    self.zones += self._pair(members)
                zones = range(first, len(self.zones))
                self._use(split, zones, [None] * len(zones))
        for zone in self.zones[1:]:
            zone.share(self.zones[0])

    def _pair(self, members: Mapping[str, GeoDataset]) -> list[PairedDataset]:
        with header_catalogue(self.catalogue):
            return paired_zones(members, self.tolerance)

    def _split(self, zones: Sequence[PairedDataset]) -> list[dict[str, Tiles]]:
        """Tiles of each split in each zone."""
        extents = [np.array(self._extent(zone)) for zone in zones]
        grounds = [(zone.crs, _union(zone)) for zone in zones]
        block = self.block
        while block > 1:
            areas = [np.prod(extent * block) for extent in extents]
            cells = sum(g.area / a for (_, g), a in zip(grounds, areas, strict=True))
            if cells >= _MIN_CELLS:
                break
            block //= 2
        return split_ground(
            grounds,
            [tuple(extent * block) for extent in extents],
            # Touching is overlap for a sampler that rounds: never less than a pixel.
            margins=[
                max(float(max(e)) * self.margin, max(z.res))
                for e, z in zip(extents, zones, strict=True)
            ],
            shares=self.shares,
            # A lone chip may be all that there is in a cell.
            least=[min(0.5, 0.05 * block**2) * float(np.prod(e)) for e in extents],
            seed=self.seed,
        )

    def _use(
        self, split: str, zones: Sequence[int], tiles: Sequence[Tiles | None]
    ) -> None:
        """Give a split its tiles, or all ground of its zones."""
        areas: list[Area] = []
        ground = []
        for number, part in zip(zones, tiles, strict=True):
            zone = self.zones[number]
            others = [] if part is None else self._taken(zone, number)
            found = zone_areas(
                zone,
                number,
                part,
                others,
                size=self._size,
                min_valid=self.min_valid,
                labels=self.labels,
            )
            areas += found
            region = (
                _union(zone)
                if part is None
                else _ground_of(part, found, others, chips=has_chips(zone, self._size))
            )
            ground.append((zone.crs, region))
        self.areas[split] = areas
        self._ground[split] = ground

    def _taken(self, zone: PairedDataset, number: int) -> list[BaseGeometry]:
        """Ground of the splits that already have theirs, in the CRS of a zone."""
        ground = shapely.box(*zone.index.total_bounds).buffer(max(zone.res))
        by_zone: dict[int, list[BaseGeometry]] = {}
        for area in chain.from_iterable(self.areas.values()):
            by_zone.setdefault(area.zone, []).append(area.polygon)
        taken = by_zone.pop(number, [])
        for other, outlines in by_zone.items():
            # Dates of one place have the same outlines.
            different = np.array([*dict.fromkeys(outlines)], object)
            crs = self.zones[other].crs
            taken += near_ground(different, crs, zone.crs, ground).tolist()
        return taken

    @property
    def _size(self) -> tuple[int, int]:
        """Patch height and width in pixels."""
        return sides(self.patch_size)

    def _extent(self, zone: PairedDataset) -> tuple[float, float]:
        """Patch width and height in units of the CRS."""
        height, width = self._size
        return zone.res[0] * width, zone.res[1] * height

    def ground(self, split: str) -> GeoDataFrame:
        """Return the ground of a split.

        Args:
            split: 'train', 'val' or 'test'.

        Returns:
            One row per zone, columns ``split`` and geometry, in EPSG:4326.
        """
        self.setup()
        parts = [
            gpd.GeoSeries([shapely.segmentize(region, 1000)], crs=crs).to_crs(
                'EPSG:4326'
            )
            for crs, region in self._ground[split]
            if not region.is_empty
        ]
        geometry = pd.concat(parts) if parts else gpd.GeoSeries([], crs='EPSG:4326')
        outlines = geometry.reset_index(drop=True)
        return GeoDataFrame(
            {'split': [split] * len(outlines)}, geometry=outlines, crs='EPSG:4326'
        )

    def places(self, split: str) -> list[PatchKey]:
        """Lay the grid of patches over the ground of a split.

        Args:
            split: 'train', 'val' or 'test'.

        Returns:
            Keys of patches that do not overlap, each place once: at the first of its dates
            that has enough valid pixels there.
        """
        self.setup()
        return list(grid(self.areas[split]))

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe each modality, from a seeded sample of training patches.

        Returns:
            Modality -> ``bands`` (names), ``mean`` and ``std`` (one float per band, over
            valid pixels), ``gsd`` (metres), ``patch_size`` (pixels), ``units``,
            ``nodata`` and, if stated, ``scale`` (physical value of one step). Tasks store
            this in their checkpoints. Masks of classes are skipped: they have no mean.

        Raises:
            PairingError: If no patch fits into the training ground.
            RasterError: If the scale of radar bands is unknown, or no pixel is valid.
        """
        self.setup()
        if self._described is None:
            units = {name: self._units(name) for name in self.modalities}
            sums = {name: Moments() for name in self.modalities}
            masks: set[str] = set()
            patches = cast(Patches, self.train_dataset)
            areas = self.areas['train']
            self._check('train', [area for area in areas if area.has_room])
            keys = sample_keys(areas, self.stat_patches, self.seed)
            samples = chain.from_iterable(
                map(patches.__getitems__, batched(keys, self.batch_size))
            )
            for sample in samples:
                for name, moments in sums.items():
                    image = sample.get(f'image_{name}')
                    if image is not None:
                        moments.add(image.numpy())
                    elif f'mask_{name}' in sample:
                        masks.add(name)
            for name in masks:
                del sums[name]
            if not any(len(moments.count) for moments in sums.values()) and not masks:
                raise RasterError(
                    f'no training patch is valid: in each, less than {self.min_valid:g} of the pixels '
                    f'of {" or of ".join(sums)} are, or its class is not known; check nodata and masks '
                    'of all of them, or take a smaller min_valid or other splits'
                )
            for name, moments in sums.items():
                moments.check(name, units[name])
            self._described = {
                name: {
                    'bands': self._bands(name, len(moments.count)),
                    'mean': moments.mean(),
                    'std': moments.std(),
                    'gsd': self.zones[0].gsd(name),
                    'patch_size': self.zones[0].sizes(min(self._size))[name],
                    'units': units[name],
                    'nodata': self.zones[0].members[name].nodata,
                    **self._scale(name),
                }
                for name, moments in sums.items()
            }
        return self._described

    def _bands(self, name: str, count: int) -> list[str]:
        bands = list(self.zones[0].members[name].bands)
        return bands if len(bands) == count else [f'band_{i + 1}' for i in range(count)]

    def _scale(self, name: str) -> dict[str, list[float | None]]:
        """Physical value of one step of each band, if any scene to train on states one."""
        numbers = sorted({area.zone for area in self.areas['train']})
        scales = (self.zones[number].members[name].scale for number in numbers)
        scale = next((each for each in scales if each is not None), None)
        return {} if scale is None else {'scale': scale}

    def _units(self, name: str) -> str:
        found, stated = self.zones[0].members[name].units, self.units.get(name)
        if stated is not None and found in BACKSCATTER and found != stated:
            raise RasterError(
                f'the units of {name} are given as {stated}, but its files state that they '
                f'are in {found}: omit the units'
            )
        stated = stated or found
        if stated is None:
            raise RasterError(
                f"the scale of {name}'s radar bands is unknown: state the units of {name}, "
                f'{name}=db (in YAML units: {{{name}: db}}; or power, or amplitude), since a guess '
                'would be wrong for most'
            )
        return stated

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return random patches, disjoint within each batch.

        With ``overfit_batches`` of the trainer they are the same in every epoch.
        """
        self.setup()
        overfit = getattr(self.trainer, 'overfit_batches', 0) if self.trainer else 0
        self._check('train', self.areas['train'])
        sampler = DisjointBatchSampler(
            self.areas['train'],
            self.train_batch_size or self.batch_size,
            length=self.length,
            gather=self.gather,
            generator=self.seed,
            sampler=_FirstEpoch([]) if overfit else None,
        )
        return self._loader(self.train_dataset, batch_sampler=sampler)

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        """Return the grid of validation patches; nothing if there are none."""
        self.setup()
        if not self.areas['val']:
            return []
        return self._grid_loader('val', self.places('val'))

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return the grid of test patches."""
        return self._grid_loader('test', self.places('test'))

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Return the grids of all splits, one after the other."""
        keys = [key for split in SPLITS for key in self.places(split)]
        return self._grid_loader('predict', keys)

    def _grid_loader(self, split: str, keys: list[PatchKey]) -> DataLoader[Sample]:
        self._check(split, keys)
        size = getattr(self, f'{split}_batch_size') or self.batch_size
        patches = ListedPatches(cast(Patches, self.train_dataset), keys)
        return self._loader(patches, batch_size=size)

    def _check(self, split: str, found: Sequence[Any]) -> None:
        if not found:
            raise PairingError(
                f'no {split} patch of {self.patch_size} pixels has {self.min_valid:.0%} valid '
                'pixels: choose a smaller patch_size or min_valid, or other splits'
            )

    def _loader(self, patches: Any, **kwargs: Any) -> DataLoader[Sample]:
        return EarlyLoader(
            patches,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=self.collate_fn,
            **kwargs,
        )

    def plot(self, *args: Any, **kwargs: Any) -> 'Figure':
        """Plot a sample; see :meth:`torchgeo_cmr.datasets.PairedDataset.plot`."""
        self.setup()
        return self.zones[0].plot(*args, **kwargs)


class _FirstEpoch(SequentialSampler):
    """Stands for the epoch of a sampler of batches in runs that repeat one."""

    epoch = 0


def _check_names(
    datasets: Mapping[str, GeoDataset] | None,
    ready: Mapping[str, Mapping[str, GeoDataset] | None],
    units: Mapping[str, str],
) -> None:
    """Refuse splits and units of other modalities than those to train on."""
    train = ready['train'] or {}
    for split, members in ready.items():
        if members is not None and {*members} != {*train}:
            raise PairingError(
                f'{split} has the modalities {", ".join(members)}, but those to train on '
                f'are {", ".join(train) or "not given as `train`"}: name them alike'
            )
    check_units(units)
    modalities = datasets or train
    for modality in units:
        if modality not in modalities:
            raise RasterError(
                f'units are given for {modality!r}, but the modalities are '
                f'{", ".join(modalities)}'
            )


def _ground_of(
    tiles: Tiles, areas: Sequence[Area], others: Sequence[BaseGeometry], *, chips: bool
) -> BaseGeometry:
    """Ground of a split: its tiles, unless chips reach beyond them or are left out."""
    region = shapely.union_all(tiles)
    close = STRtree(others).query(region, predicate='intersects')
    if not chips and not len(close):
        return region
    # Dates of one place have the same outlines.
    return shapely.union_all([*dict.fromkeys(area.polygon for area in areas)])


def _union(zone: PairedDataset) -> BaseGeometry:
    """Ground of a zone, without comparing chips that lie apart."""
    return shapely.disjoint_subset_union_all(zone.index.geometry.to_numpy())


__all__ = ('PairedDataModule',)
