"""Draws one scene of the synthetic world and writes its files, each atomically."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from . import optical, radar
from . import signatures as sig
from .landcover import Landscape, build_landscape


@dataclass(frozen=True)
class Tile:
    """Where one scene of the world lies.

    Attributes:
        tile: five-character tile name such as ``32TQM``, used in the file names.
        epsg: code of the projected CRS in metres that the scene is written in.
        left: easting of the upper left corner in metres, a multiple of 60.
        top: northing of the upper left corner in metres, a multiple of 60.
    """

    tile: str
    epsg: int
    left: float
    top: float


@dataclass(frozen=True)
class World:
    """What all scenes of a world share.

    Attributes:
        root: folder of the world.
        seed: seed of everything random.
        size: rows and columns of a scene in pixels of 10 m.
        dates: days as ``YYYY-MM-DD`` around which the sensors pass.
        clouds: mean share of a Sentinel-2 scene under clouds, 0 to 0.5.
    """

    root: Path
    seed: int
    size: int
    dates: tuple[str, ...]
    clouds: float


class SceneWriter:
    """Draws one scene and writes its files."""

    def __init__(self, world: World, index: int, scene: Tile) -> None:
        """Draw the hidden map of a scene.

        Args:
            world: what the scenes share.
            index: number of the scene; equal maps need equal numbers.
            scene: where it lies.
        """
        self.world, self.index, self.scene = world, index, scene
        self.tile = f'T{scene.tile}'
        self.land: Landscape = build_landscape(world.size, self._rng(0))

    def _rng(self, *key: int) -> Generator:
        """Return the generator of one component, independent of what else is written."""
        return np.random.default_rng(
            SeedSequence(self.world.seed, spawn_key=(self.index, *key))
        )

    def _moment(self, day: str, shift: int, clock: tuple[int, int, int]) -> datetime:
        """Return the time of a pass, some days after `day`."""
        at = datetime.fromisoformat(day) + timedelta(days=shift)
        return at.replace(hour=clock[0], minute=clock[1], second=clock[2])

    def write(self, sensors: Sequence[str]) -> None:
        """Write the truth and the given sensors."""
        self._truth()
        for number, day in enumerate(self.world.dates):
            if 's1' in sensors:
                self._sentinel1(number, day)
            if 's2' in sensors:
                self._sentinel2(number, day)
        if {'pan', 'ms'} & set(sensors):
            self._landsat(sensors)

    def _truth(self) -> None:
        """Write land cover and terrain."""
        names = {f'CLASS_{code}': name for code, name in sig.CLASSES.items()}
        self._save(
            f'truth/landcover_{self.tile}.tif',
            self.land.truth[None],
            ('land cover',),
            10,
            0,
            {'TILE': self.scene.tile, **names},
            colours={0: (0, 0, 0), **sig.COLOURS},
        )
        tags = {'TILE': self.scene.tile, 'UNITS': 'm'}
        dem = np.round(self.land.dem, 1)
        self._save(
            f'dem/dem_{self.tile}.tif', dem[None], ('height',), 10, math.nan, tags
        )

    def _sentinel1(self, number: int, day: str) -> None:
        """Write one Sentinel-1 acquisition; orbits alternate between dates and scenes."""
        ascending = (number + self.index) % 2 == 1
        clock = (17, 6, 42) if ascending else (5, 28, 11)
        at = self._moment(day, -2 if ascending else -3, clock)
        image = radar.sentinel1(
            self.land, at.timetuple().tm_yday, self._rng(1, number), ascending
        )
        # Rounded to 1/128 dB, far below the radiometric accuracy; the swath may end.
        image = np.round(image * 128) / 128
        if self.index % 2 == 1 and number == 0:
            image[:, self._wedge(0.10, right=True)] = math.nan
        key = f'{self.scene.tile}{at:%Y%m%d}{self.world.seed}'.encode()
        product = hashlib.sha256(key).hexdigest()[:4].upper()
        stem = f'S1A_IW_{at:%Y%m%dT%H%M%S}_DVP_RTC10_G_gduned_{product}'
        tags = {
            **self._tags(at),
            'UNITS': 'dB',
            'QUANTITY': 'gamma nought, radiometrically terrain corrected',
            'ORBIT_DIRECTION': 'ASCENDING' if ascending else 'DESCENDING',
            'EQUIVALENT_NUMBER_OF_LOOKS': str(sig.ENL),
        }
        for band, name in zip(image, ('VV', 'VH'), strict=True):
            self._save(f's1/{stem}_{name}.tif', band[None], (name,), 10, math.nan, tags)

    def _sentinel2(self, number: int, day: str) -> None:
        """Write one Sentinel-2 acquisition and its cloud mask."""
        at = self._moment(day, 0, (10, 15, 59) if self.index % 2 == 0 else (10, 5, 51))
        rng = self._rng(2, number)
        cube = optical.optical(self.land, at.timetuple().tm_yday, rng)
        # Passes differ in their clouds around the requested mean.
        swing = 0.3 if (number + self.index) % 2 else -0.3
        share = self.world.clouds * (1 + swing)
        opacity, shadow = optical.clouds(cube.shape[1:], share, rng)
        image = optical.sentinel2(cube, opacity, shadow, rng)
        mask = np.select((opacity > 0.6, opacity > 0.2, shadow > 0.2), (2, 1, 3), 0)
        if self.index % 2 == 0 and number == 0:
            outside = self._wedge(0.12, right=False)
            image[:, outside] = 0
            mask[outside] = 0
        stem = f'{self.tile}_{at:%Y%m%dT%H%M%S}'
        tags = {
            **self._tags(at),
            'UNITS': 'surface reflectance x 10000',
            'ADD_OFFSET': '0',
        }
        for band, name, gsd in zip(image, sig.S2_BANDS, sig.S2_GSD, strict=True):
            facts = {**tags, 'MEASURED_GSD': f'{gsd} m'}
            self._save(f's2/{stem}_{name}.tif', band[None], (name,), 10, 0, facts)
        self._save(
            f'clouds/clouds_{stem}.tif',
            mask.astype(np.uint8)[None],
            ('clouds',),
            10,
            None,
            {
                **self._tags(at),
                'LEGEND': '0 clear, 1 thin cloud, 2 thick cloud, 3 cloud shadow',
            },
        )

    def _landsat(self, sensors: Sequence[str]) -> None:
        """Write the PAN and MS files of one clear pass."""
        at = self._moment(self.world.dates[-1], -17, (9, 45, 12))
        rng = self._rng(3)
        cube = optical.optical(self.land, at.timetuple().tm_yday, rng)
        pan, multi = optical.landsat(cube, rng)
        stem = f'{self.tile}_{at:%Y%m%dT%H%M%S}'
        tags = {**self._tags(at), 'UNITS': 'top-of-atmosphere reflectance x 10000'}
        if 'pan' in sensors:
            self._save(f'pan/PAN_{stem}.tif', pan, ('panchromatic',), 15, 0, tags)
        if 'ms' in sensors:
            names = ('blue', 'green', 'red', 'near infrared')
            self._save(f'ms/MS_{stem}.tif', multi, names, 30, 0, tags)

    def _wedge(self, share: float, right: bool) -> NDArray[np.bool_]:
        """Return the mask of a slanting strip beyond the edge of a swath."""
        n = self.world.size
        row, col = np.indices((n, n), sparse=True)
        reach = share * (1.2 * n - 0.4 * row)
        return (n - 1 - col if right else col) < reach

    def _tags(self, at: datetime) -> dict[str, str]:
        """Return the tags that every acquisition carries."""
        return {
            'TILE': self.scene.tile,
            'ACQUISITION_TIME': f'{at:%Y-%m-%dT%H:%M:%SZ}',
            'DESCRIPTION': f'synthetic, SyntheticLandscape seed {self.world.seed}',
        }

    def _save(
        self,
        name: str,
        image: NDArray[Any],
        bands: Sequence[str],
        gsd: int,
        nodata: float | None,
        tags: dict[str, str],
        colours: dict[int, tuple[int, int, int]] | None = None,
    ) -> None:
        """Write one raster atomically."""
        path = self.world.root / name
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f'.{path.name}.part')
        profile = {
            'driver': 'GTiff',
            'dtype': image.dtype,
            'count': image.shape[0],
            'height': image.shape[1],
            'width': image.shape[2],
            'crs': f'EPSG:{self.scene.epsg}',
            'transform': Affine(gsd, 0, self.scene.left, 0, -gsd, self.scene.top),
            'nodata': nodata,
            'tiled': True,
            'blockxsize': 256,
            'blockysize': 256,
            'compress': 'deflate',
            'zlevel': 1,
            'predictor': 3
            if image.dtype.kind == 'f'
            else 1
            if image.dtype.itemsize == 1
            else 2,
            # Set at creation: libtiff refuses a colour map on a band that began as grey.
            'photometric': 'minisblack' if colours is None else 'palette',
        }
        with rasterio.open(part, 'w', **profile) as target:
            target.write(image)
            target.update_tags(**tags)
            for number, band in enumerate(bands, 1):
                target.set_band_description(number, band)
            if colours is not None:
                target.write_colormap(
                    1, {code: (*rgb, 255) for code, rgb in colours.items()}
                )
        part.replace(path)
