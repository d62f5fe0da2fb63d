"""Pairs that are laid out already: which there are in a split, and where each lies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datamodules import ChipDataModule, PairedDataModule
from torchgeo_cmr.datasets.benchmarks.chips import ChipPairs
from torchgeo_cmr.embed.scenes.window_footprints import crs_code, footprints
from torchgeo_cmr.errors import PairingError

_DAY = pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)


class Ground(Protocol):
    """What a data module whose pairs become rows provides.

    Relations: :func:`ground_of` gives the right one.
    """

    def dataset(self, split: str) -> Dataset[Sample]:
        """Return what is read with the keys of a split."""
        ...

    def keys(self, split: str) -> list[Any]:
        """Return the pairs of a split in order; none if the data has no such split."""
        ...

    def names(self, split: str, keys: Sequence[Any]) -> list[str]:
        """Return a name for each pair, unique in the data."""
        ...

    def classes(self, split: str) -> tuple[str, ...]:
        """Return the names of the classes of a multi-hot label; none if unknown."""
        ...

    def frame(
        self, split: str, keys: Sequence[Any]
    ) -> tuple[gpd.GeoDataFrame, dict[str, pd.DataFrame]]:
        """Say where pairs lie and what they are made of.

        Returns:
            One row per pair: ``pair`` (its name), ``src_crs``, ``native_corners`` and the
            outline, null where a pair has no place; and for a modality what is known of
            ``source``, ``time_start`` and ``time_end`` of its side of each pair.
        """
        ...


def ground_of(data: BaseDataModule) -> Ground:
    """Find the pairs of a data module.

    Args:
        data: A data module of this package; it is set up if it is not yet.

    Returns:
        Its pairs.

    Raises:
        PairingError: If it is not one of this package.
    """
    if isinstance(data, ChipDataModule):
        return _Chips(data)
    if isinstance(data, PairedDataModule):
        return _Grid(data)
    raise PairingError(
        f'{type(data).__name__} does not say where its pairs lie: give a ChipDataModule or '
        'a PairedDataModule'
    )


class _Chips:
    """Chips, by their number in a split."""

    def __init__(self, data: ChipDataModule) -> None:
        data.setup('predict')
        self.data = data

    def dataset(self, split: str) -> Dataset[Sample]:
        return getattr(self.data, f'{split}_dataset')

    def keys(self, split: str) -> list[int]:
        dataset = self.dataset(split)
        return [] if dataset is None else list(range(len(cast(Any, dataset))))

    def names(self, split: str, keys: Sequence[int]) -> list[str]:
        pairs, numbers = self._pairs(split, keys)
        if not isinstance(pairs, ChipPairs):
            return [f'{split}:{number}' for number in keys]
        return [pairs.patch_id(number) for number in numbers]

    def classes(self, split: str) -> tuple[str, ...]:
        pairs, _ = self._pairs(split, ())
        return tuple(getattr(pairs, 'classes', ()))

    def frame(
        self, split: str, keys: Sequence[int]
    ) -> tuple[gpd.GeoDataFrame, dict[str, pd.DataFrame]]:
        pairs, numbers = self._pairs(split, keys)
        if not isinstance(pairs, ChipPairs):
            names = pd.DataFrame({'pair': self.names(split, keys)})
            return gpd.GeoDataFrame(
                names, geometry=[None] * len(names), crs='EPSG:4326'
            ), {}
        frame = pairs.footprints(numbers, placeless=True)
        frame['pair'] = frame.pop('patch_id')
        frame.pop('index')
        sides: dict[str, pd.DataFrame] = {}
        for modality in pairs.bands:
            side = sides[modality] = pd.DataFrame(index=frame.index)
            if (name := f'{modality}_name') in frame:
                side['source'] = frame.pop(name)
            if (day := f'{modality}_date') in frame:
                # The day is all that is known, so the patch spans it.
                side['time_start'] = frame.pop(day)
                side['time_end'] = side['time_start'] + _DAY
        return frame, sides

    def _pairs(self, split: str, keys: Sequence[int]) -> tuple[Any, list[int]]:
        """Look through what was held out, down to the benchmark itself."""
        dataset, numbers = cast(Any, self.dataset(split)), list(keys)
        while isinstance(dataset, Subset):
            numbers = [int(dataset.indices[number]) for number in numbers]
            dataset = dataset.dataset
        return dataset, numbers


class _Grid:
    """Patches of paired scenes, on the grid by which a split is judged."""

    def __init__(self, data: PairedDataModule) -> None:
        data.setup('predict')
        self.data = data

    def dataset(self, split: str) -> Dataset[Sample]:
        return cast(Dataset[Sample], self.data.train_dataset)

    def keys(self, split: str) -> list[Any]:
        return list(self.data.places(split))

    def names(self, split: str, keys: Sequence[Any]) -> list[str]:
        corners, codes = self._corners(keys)
        return [
            f'{code if len(code) < 20 else f"zone {zone}"}:{x:.3f}_{y:.3f}'
            for (zone, _), code, (x, y, *_) in zip(
                keys, codes, corners.tolist(), strict=True
            )
        ]

    def classes(self, split: str) -> tuple[str, ...]:
        return ()

    def frame(
        self, split: str, keys: Sequence[Any]
    ) -> tuple[gpd.GeoDataFrame, dict[str, pd.DataFrame]]:
        corners, codes = self._corners(keys)
        outlines = np.empty(len(keys), object)
        for code in set(codes):
            rows = np.array([code == other for other in codes])
            outlines[rows] = footprints(corners[rows], code)
        columns: dict[str, Any] = {
            'pair': self.names(split, keys),
            'src_crs': codes,
            'native_corners': list(corners),
        }
        scenes = [self.data.zones[zone].scenes_at(place) for zone, place in keys]
        sides: dict[str, pd.DataFrame] = {}
        for modality in self.data.modalities:
            found = [pair[modality] for pair in scenes]
            facts: dict[str, Any] = {
                'source': [s and Path(s.path).name for s in found],
                'time_start': pd.to_datetime(
                    [s and s.time_start for s in found], utc=True
                ),
                'time_end': pd.to_datetime([s and s.time_end for s in found], utc=True),
            }
            sides[modality] = pd.DataFrame(facts)
        return gpd.GeoDataFrame(columns, geometry=outlines, crs='EPSG:4326'), sides

    def _corners(self, keys: Sequence[Any]) -> tuple[NDArray[np.float64], list[str]]:
        """Corners (n, 8) of the slices themselves, never of a float32 sample."""
        corners = [
            (x.start, y.stop, x.stop, y.stop, x.stop, y.start, x.start, y.start)
            for _, (x, y, _) in keys
        ]
        codes = [crs_code(zone.crs) for zone in self.data.zones]
        return np.array(corners, np.float64).reshape(-1, 8), [codes[z] for z, _ in keys]
