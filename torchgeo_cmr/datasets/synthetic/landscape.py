"""SyntheticLandscape: a seeded paired world, written as georeferenced scenes with its truth.

The module writes files and keeps the list of them; the map is drawn in ``landcover``, what
sensors see of it in ``optical`` and ``radar``, and the figures stand in ``signatures``.
It is longer than most because the one public class brings its file table and its plot.
"""

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from torchgeo_cmr.errors import OutputExistsError, check_seed
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.typed_json import convert, decode

from . import signatures as sig
from .writer import SceneWriter, Tile, World

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ('SyntheticLandscape', 'Tile')

logger = logging.getLogger(__name__)

#: Sensors that can be written, in writing order.
SENSORS = ('s1', 's2', 'pan', 'ms')

_MANIFEST = 'world.json'
_VERSION = 1
_CURE = 'choose another folder or delete that one.'


class _Manifest(TypedDict):
    files: list[str]
    sensors: list[str]


#: Two neighbouring tiles of central Italy on either side of the border of two UTM zones.
#: The places are real, the landscape is not.
SCENES = (
    Tile('32TQM', 32632, 739980.0, 4660020.0),
    Tile('33TUG', 32633, 330000.0, 4655040.0),
)

#: Days around which the sensors pass: winter crops green, then ripe.
DATES = ('2024-04-15', '2024-06-14')


class SyntheticLandscape:
    """A seeded world of paired scenes on disk, and the catalogue of what was written.

    Every scene has a hidden map of relief, water, woods, fields, towns and roads. Sentinel-1-like
    and Sentinel-2-like files show it on two dates each, a Landsat-like PAN and MS pair on one,
    and the land cover is written as truth. Use it for demonstrations and for tests that need a
    known answer; results on it say nothing about real places.

    Files (GeoTIFF, tiled, deflate; all of a scene share its CRS and upper left corner)::

        s1/S1A_IW_20240611T052811_DVP_RTC10_G_gduned_4F2A_VV.tif   float32 dB, nodata NaN, 10 m
        s2/T32TQM_20240614T101559_B02.tif         uint16 reflectance x 10000, nodata 0, 10 m
        pan/PAN_T32TQM_20240528T094512.tif        uint16 reflectance x 10000, nodata 0, 15 m
        ms/MS_T32TQM_20240528T094512.tif          the same, four bands, 30 m
        truth/landcover_T32TQM.tif                uint8 class codes, nodata 0, 10 m
        dem/dem_T32TQM.tif                        float32 metres, nodata NaN, 10 m
        clouds/clouds_T32TQM_20240614T101559.tif  uint8 0 clear, 1 thin, 2 thick, 3 shadow
        world.json                                seed, parameters and list of files

    All twelve Sentinel-2 bands lie on the 10 m grid; those measured at 20 m and 60 m are averaged
    to their own ground sample distance and interpolated back, so they hold no finer detail.

    TorchGeo's ``Sentinel1(world.s1)`` and ``Sentinel2(world.s2, bands=world.s2_bands)`` read them.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     world = SyntheticLandscape(folder, size=128, sensors=('s1',))
        ...     world.classes[1]
        'water'
    """

    #: Sentinel-2 bands that are written, in spectral order (no B10 in Level-2A).
    s2_bands: tuple[str, ...] = sig.S2_BANDS

    #: Polarisations that are written.
    s1_bands: tuple[str, ...] = ('VV', 'VH')

    #: Land-cover code to class name; 0 is nodata and has none.
    classes: Mapping[int, str] = sig.CLASSES

    def __init__(
        self,
        out: str | os.PathLike[str],
        seed: int = 0,
        *,
        size: int = 1248,
        scenes: Sequence[Tile] = SCENES,
        dates: Sequence[str] = DATES,
        clouds: float = 0.045,
        sensors: Sequence[str] = SENSORS,
    ) -> None:
        """Write the world, or open it if the same one is there already.

        Args:
            out: folder to write to; made if missing.
            seed: seed of everything random: equal seeds and parameters give equal pixels
                (with equal versions of NumPy and GEOS on one kind of machine).
            size: rows and columns of a scene in pixels of 10 m, at least 128; from 384 a scene
                holds every class. PAN and MS stop at the last whole pixel of 30 m.
            scenes: where the scenes lie; at least one.
            dates: days as ``YYYY-MM-DD`` around which both sensors pass; at least one.
            clouds: mean share of a Sentinel-2 scene under clouds, 0 to 0.5.
            sensors: which of ``s1``, ``s2``, ``pan``, ``ms`` to write. More may be added to the
                same folder later; they show the same world.

        Raises:
            OutputExistsError: if `out` holds something else, or another world.
            ValueError: if a parameter is out of range (OptionError for the seed).
        """
        check_seed(seed)
        _check(size, scenes, dates, clouds, sensors)
        self.root = Path(out)
        self.seed = int(seed)
        self.size = int(size)
        self.scenes = tuple(scenes)
        self.dates = tuple(dates)
        self.cloud_share = float(clouds)
        self.sensors = tuple(s for s in SENSORS if s in sensors)
        self._open_or_write()

    @property
    def s1(self) -> Path:
        """Folder of the Sentinel-1-like files."""
        return self.root / 's1'

    @property
    def s2(self) -> Path:
        """Folder of the Sentinel-2-like files."""
        return self.root / 's2'

    @property
    def pan(self) -> Path:
        """Folder of the panchromatic files."""
        return self.root / 'pan'

    @property
    def ms(self) -> Path:
        """Folder of the multispectral files."""
        return self.root / 'ms'

    @property
    def truth(self) -> Path:
        """Folder of the land-cover rasters."""
        return self.root / 'truth'

    @property
    def dem(self) -> Path:
        """Folder of the terrain models."""
        return self.root / 'dem'

    @property
    def clouds(self) -> Path:
        """Folder of the cloud masks, one per Sentinel-2 acquisition."""
        return self.root / 'clouds'

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the land-cover classes in code order, the first has code 1."""
        return tuple(self.classes.values())

    def files(self, folder: str) -> list[Path]:
        """List the rasters of one folder.

        Args:
            folder: ``s1``, ``s2``, ``pan``, ``ms``, ``truth``, ``dem`` or ``clouds``.

        Returns:
            paths in order of their names.
        """
        return sorted((self.root / folder).glob('*.tif'))

    # Writing.

    def _parameters(self) -> dict[str, Any]:
        """Return what must be equal for two worlds to be the same."""
        return {
            'version': _VERSION,
            'seed': self.seed,
            'size': self.size,
            'scenes': [asdict(scene) for scene in self.scenes],
            'dates': list(self.dates),
            'clouds': self.cloud_share,
        }

    def _open_or_write(self) -> None:
        """Write those of the requested sensors that are missing."""
        manifest = self.root / _MANIFEST
        done: list[str] = []
        if manifest.is_file():
            record = self._read(manifest)
            for name, value in self._parameters().items():
                if record.get(name) != value:
                    msg = (
                        f"'{self.root}' holds a world with another {name} "
                        f'({record.get(name)!r:.80}, requested {value!r}): choose another folder '
                        'or delete that one.'
                    )
                    raise OutputExistsError(msg)
            convert(record, _Manifest, str(manifest), _CURE, OutputExistsError)
            files = record['files']
            done = [
                s
                for s in record['sensors']
                if all((self.root / f).is_file() for f in files)
            ]
        elif self.root.exists() and (
            not self.root.is_dir() or any(self.root.iterdir())
        ):
            msg = (
                f"'{self.root}' exists and is not a synthetic world (no {_MANIFEST}): choose "
                'an empty or a new folder.'
            )
            raise OutputExistsError(msg)
        missing = [sensor for sensor in self.sensors if sensor not in done]
        if not missing and manifest.is_file():
            return
        self.root.mkdir(parents=True, exist_ok=True)
        self._record(done)
        world = World(self.root, self.seed, self.size, self.dates, self.cloud_share)
        # In turn: rasterio mutes a warning of its own while it draws, for all threads of a process.
        for index, scene in enumerate(self.scenes):
            logger.info('drawing scene %s of seed %d', scene.tile, self.seed)
            SceneWriter(world, index, scene).write(missing)
        self._record([s for s in SENSORS if s in done or s in missing])

    def _read(self, manifest: Path) -> dict[str, Any]:
        """Read the manifest of a folder that holds one."""
        try:
            text = manifest.read_bytes()
        except OSError as error:
            raise OutputExistsError(f'{manifest} cannot be read: {_CURE}') from error
        source = f'{manifest} cannot be read as the manifest of a synthetic world: it'
        return decode(text, dict[str, Any], source, _CURE, OutputExistsError)

    def _record(self, sensors: Sequence[str]) -> None:
        """Write the manifest atomically."""
        files = sorted(
            p.relative_to(self.root).as_posix() for p in self.root.glob('*/*.tif')
        )
        record = {**self._parameters(), 'sensors': list(sensors), 'files': files}
        path = self.root / _MANIFEST
        part = path.with_suffix('.part')
        part.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
        part.replace(path)

    def plot(self, scene: int = 0, window: int = 512) -> 'Figure':
        """Show one corner of a scene through every sensor that was written.

        Args:
            scene: number of the scene.
            window: side of the square shown, in pixels of 10 m, from the middle of the scene.

        Returns:
            a matplotlib Figure with the truth and one panel a sensor and date.
        """
        from matplotlib.figure import Figure

        panels = list(self._panels(scene, min(window, self.size)))
        cols = min(4, len(panels))
        rows = math.ceil(len(panels) / cols)
        figure = Figure(figsize=(4 * cols, 4.2 * rows), layout='constrained')
        for axes, panel in zip(
            figure.subplots(rows, cols, squeeze=False).flat, panels, strict=False
        ):
            axes.imshow(panel[1], interpolation='nearest')
            axes.set_title(panel[0], fontsize=9)
        for axes in figure.axes:
            axes.set_axis_off()
        return figure

    def _panels(
        self, scene: int, window: int
    ) -> Iterator[tuple[str, NDArray[np.floating]]]:
        """Yield a title and an RGB image, 0..1, for each panel of the plot."""
        files = self.scenes[scene]
        tile = f'T{files.tile}'
        start = (self.size - window) // 2 // 6 * 6

        def read(path: Path, gsd: int) -> NDArray[np.float32]:
            side = window * 10 // gsd
            corner = start * 10 // gsd
            with open_pixels(path) as source:
                area = Window.from_slices(
                    (corner, corner + side), (corner, corner + side)
                )
                return source.read(window=area).astype(np.float32)

        palette = np.zeros((256, 3))
        for code, colour in sig.COLOURS.items():
            palette[code] = np.array(colour) / 255
        code = read(self.truth / f'landcover_{tile}.tif', 10)[0].astype(int)
        yield f'land cover {tile}', palette[code]
        for path in sorted(self.s2.glob(f'{tile}_*_B04.tif')):
            name = path.name
            rgb = [
                read(path.with_name(name.replace('B04', b)), 10)[0]
                for b in ('B04', 'B03', 'B02')
            ]
            yield f'S2 {name[7:15]}', np.clip(np.stack(rgb, -1) / 2500, 0, 1) ** 0.8
        for path in self.files('s1'):
            if path.name.endswith('VV.tif') and self._belongs(path, scene):
                vv = read(path, 10)[0]
                vh = read(path.with_name(path.name.replace('VV', 'VH')), 10)[0]
                image = np.stack(
                    ((vv + 20) / 20, (vh + 26) / 20, (vv - vh - 2) / 14), -1
                )
                yield f'S1 {path.name[7:15]}', np.clip(np.nan_to_num(image), 0, 1)
        for path in sorted(self.pan.glob(f'PAN_{tile}_*.tif')):
            pan = np.clip(read(path, 15)[0] / 3000, 0, 1)
            yield f'PAN {path.name[11:19]}', np.repeat(pan[..., None], 3, -1)
        for path in sorted(self.ms.glob(f'MS_{tile}_*.tif')):
            image = read(path, 30)[[3, 2, 1]]
            image = np.moveaxis(
                image / np.array((5000, 2500, 2500))[:, None, None], 0, -1
            )
            yield f'MS {path.name[10:18]}', np.clip(image, 0, 1)

    def _belongs(self, path: Path, scene: int) -> bool:
        """Tell whether a Sentinel-1 file shows a scene (its name does not say)."""
        with open_pixels(path) as source:
            return source.tags().get('TILE') == self.scenes[scene].tile


def _check(
    size: int,
    scenes: Sequence[Tile],
    dates: Sequence[str],
    clouds: float,
    sensors: Sequence[str],
) -> None:
    """Refuse parameters that make no world."""
    if size < 128:
        raise ValueError(f'size is {size} pixels; a scene needs at least 128.')
    if not scenes or len({scene.tile for scene in scenes}) != len(scenes):
        raise ValueError(
            'scenes must hold at least one scene, each with a tile of its own.'
        )
    if not dates or len(set(dates)) != len(dates):
        raise ValueError('dates must hold at least one day, each once.')
    for day in dates:
        date.fromisoformat(day)
    if not 0 <= clouds <= 0.5:
        raise ValueError(
            f'clouds is {clouds}; give a share of the scene between 0 and 0.5.'
        )
    unknown = sorted(set(sensors) - set(SENSORS))
    if unknown or not sensors:
        raise ValueError(
            f'sensors has {unknown or "nothing"}; choose from {", ".join(SENSORS)}.'
        )
