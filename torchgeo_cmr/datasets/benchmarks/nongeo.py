"""Benchmarks whose samples hold several sensors, seen as pairs of chips."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torchgeo.datasets import SEN12MS, MMEarth, NonGeoDataset, So2Sat, TreeSatAI
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.benchmarks.chips import ChipPairs, band_name, channel_numbers
from torchgeo_cmr.errors import PairingError, RasterError
from torchgeo_cmr.scenes.units import UNITS

_MMEARTH_NAMES = {
    'sentinel1_asc': 's1',
    'sentinel1_desc': 's1_desc',
    'sentinel2': 's2',
    'aster': 'dem',
    'canopy_height_eth': 'canopy',
}


class _Part(NamedTuple):
    """Where a sample of TorchGeo holds a modality."""

    key: str
    #: Channel -> position below the key.
    channels: dict[str, int]
    units: str | None
    gsd: float


class NonGeoPairs(ChipPairs):
    """A TorchGeo benchmark whose samples hold several sensors, as pairs.

    The dataset keeps its own arguments; only the samples are rearranged:

    =========== ============================================ ======================
    Dataset     Modalities                                   ``label``
    =========== ============================================ ======================
    `SEN12MS`   ``s1`` (2, dB), ``s2`` (13)                  commonest IGBP class
    `So2Sat`    ``s1`` (8, mixed), ``s2`` (10)               climate zone, 0 to 16
    `TreeSatAI` ``s1`` (3), ``s2`` (12), ``aerial`` (4)      15 genera, multi-hot
    `MMEarth`   ``s1``, ``s1_desc``, ``s2``, ``dem``,        none
                ``canopy``
    =========== ============================================ ======================

    Bands of Sentinel-2 are named ``B01`` to ``B12`` whatever the dataset calls them; those of
    So2Sat's radar keep their names, ``S1_B1`` to ``S1_B8``. Units that TorchGeo does not state
    are None, and have to be given. MMEarth comes standardised: do not use a model trained on
    it on scenes in their own units. SEN12MS and TreeSatAI know their places; So2Sat and
    MMEarth, HDF5 files, do not.

    Relations: Sentinel-1 and Sentinel-2 of SSL4EO-S12 are two datasets, so it has
    :class:`~torchgeo_cmr.datasets.SSL4EOS12Pairs`.
    """

    def __init__(
        self,
        dataset: NonGeoDataset,
        bands: Mapping[str, Sequence[str]] | None = None,
        units: Mapping[str, str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new NonGeoPairs instance.

        Args:
            dataset: One of the datasets above; its own transforms see its own samples.
            bands: Modalities wanted -> their bands in the order wanted (default: all).
            units: Modality -> 'db', 'power', 'amplitude', 'reflectance' or 'dn', where
                TorchGeo does not say it.
            transforms: Called with each rearranged sample.

        Raises:
            PairingError: If the dataset is not one of these, or holds fewer than two sensors.
            RasterError: If a band, a modality or a unit is unknown.
        """
        parts = _parts(dataset)
        if len(parts) < 2:
            raise PairingError(
                f'{type(dataset).__name__} was opened with {", ".join(parts) or "none"} of '
                'its sensors, and a pair needs two: open it with the bands of both'
            )
        known = {modality: tuple(part.channels) for modality, part in parts.items()}
        self.bands = {m: tuple(b) for m, b in (bands or known).items()}
        unknown = [m for m in (*self.bands, *(units or {})) if m not in parts]
        if unknown:
            raise RasterError(
                f'{type(dataset).__name__} has the modalities {", ".join(parts)}, found '
                f'{", ".join(unknown)}'
            )
        wrong = sorted(set((units or {}).values()) - set(UNITS))
        if wrong:
            raise RasterError(
                f'units are one of {", ".join(UNITS)}, found {", ".join(wrong)}'
            )
        self.dataset = dataset
        self.transforms = transforms
        self._taken: dict[str, tuple[str, list[int]]] = {}
        for modality, names in self.bands.items():
            part = parts[modality]
            channel_numbers(modality, names, known[modality])
            self._taken[modality] = part.key, [part.channels[name] for name in names]
        self.units = {m: (units or {}).get(m, parts[m].units) for m in self.bands}
        self.gsd = {m: parts[m].gsd for m in self.bands}

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Read one pair.

        Args:
            index: Number of the pair.

        Returns:
            ``image_<m>`` for each modality, float32, and ``label``.
        """
        theirs = self.dataset[index]
        sample: Sample = {}
        for modality, (key, channels) in self._taken.items():
            sample[f'image_{modality}'] = theirs[key][channels].float()
        if 'label' in theirs:
            sample['label'] = theirs['label']
        elif isinstance(self.dataset, SEN12MS):
            sample['label'] = theirs['mask'].flatten().mode().values
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def patch_id(self, index: int) -> str:
        """Return the name that the dataset has for a pair, or its split and number.

        Args:
            index: Number of the pair.
        """
        names = {SEN12MS: 'ids', TreeSatAI: 'files'}
        for kind, attribute in names.items():
            if isinstance(self.dataset, kind):
                return str(getattr(self.dataset, attribute)[index])
        # Every split counts from 0.
        split = getattr(self.dataset, 'split', None)
        name = type(self.dataset).__name__
        return f'{name}:{split}:{index}' if split else f'{name}:{index}'

    def georeference(self, index: int) -> Path | None:
        """Return the file that holds the place of a pair; None for So2Sat and MMEarth.

        Args:
            index: Number of the pair.
        """
        dataset = self.dataset
        if isinstance(dataset, SEN12MS):
            rois, season, _, scene, patch = dataset.ids[index].split('_')
            name = f'{rois}_{season}_s2_{scene}_{patch}'
            return Path(dataset.root, f'{rois}_{season}', f's2_{scene}', name)
        if isinstance(dataset, TreeSatAI):
            # The coarsest sensor of those read covers the whole 60 m.
            sensor = 's2' if 's2' in self.bands else next(iter(self.bands))
            return Path(dataset.root, sensor, '60m', dataset.files[index])
        return None


def _parts(dataset: NonGeoDataset) -> dict[str, _Part]:
    """Where the samples of a dataset hold which modality."""
    if isinstance(dataset, SEN12MS):
        return _split(list(dataset.bands), SEN12MS.BAND_SETS['s1'], 'db')
    if isinstance(dataset, So2Sat):
        # TorchGeo puts radar first, whatever the requested order.
        names = [*dataset.s1_band_names, *dataset.s2_band_names]
        return _split(names, So2Sat.all_s1_band_names, None)
    if isinstance(dataset, TreeSatAI):
        pixel = {'aerial': 0.2, 's1': 10.0, 's2': 10.0}
        return {
            sensor: _Part(
                f'image_{sensor}',
                {b: i for i, b in enumerate(TreeSatAI.all_bands_dict[sensor])},
                None if sensor == 's1' else 'reflectance' if sensor == 's2' else 'dn',
                pixel[sensor],
            )
            for sensor in dataset.sensors
        }
    if isinstance(dataset, MMEarth):
        parts = {}
        for theirs, ours in _MMEARTH_NAMES.items():
            if theirs in dataset.modality_bands:
                wanted = dataset.modality_bands[theirs]
                every = MMEarth.all_modality_bands[theirs]
                names = [band_name(band) for band in every if band in wanted]
                channels = {name: i for i, name in enumerate(names)}
                parts[ours] = _Part(f'image_{theirs}', channels, 'dn', 10.0)
        return parts
    known = 'SEN12MS, So2Sat, TreeSatAI and MMEarth'
    raise PairingError(
        f'{type(dataset).__name__} is not known to hold pairs: NonGeoPairs takes {known}; '
        'a dataset whose samples have image_<modality> goes to ChipDataModule as it is'
    )


def _split(
    names: Sequence[str], radar: Sequence[str], units: str | None
) -> dict[str, _Part]:
    """Divide the channels of one `image` into radar and the rest."""
    first = {band_name(name): i for i, name in enumerate(names) if name in radar}
    rest = {band_name(name): i for i, name in enumerate(names) if name not in radar}
    parts = {
        's1': _Part('image', first, units, 10.0),
        's2': _Part('image', rest, 'reflectance', 10.0),
    }
    return {modality: part for modality, part in parts.items() if part.channels}


__all__ = ('NonGeoPairs',)
