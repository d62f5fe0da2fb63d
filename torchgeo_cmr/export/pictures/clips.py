"""The pixels under each hit, in every sensor, cut from the scenes as they are.

Nothing is resampled: a clip holds whole pixels of its source, on the source's own grid, in
the source's own type. Bands on different grids, or with different values of missing pixels,
become files of their own.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from torchgeo_cmr.drafts import check_folder, disk_faults
from torchgeo_cmr.errors import ArchiveError, OutputExistsError, QueryError
from torchgeo_cmr.export.file_names import safe_name
from torchgeo_cmr.export.layers.extent import (
    check_drawable,
    moved,
    placed,
    with_geometry,
)
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.rasters.alpha import unused_alpha
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.search.results import check_result
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.typed_json import read_json

from .named_pixels import Band, is_cube, parse_window
from .sheet import to_sheet
from .similarity_raster import write_cog
from .thumbnails import PatchReader, is_masked, on

_INDEX = 'clips.json'
_SHEET = 'contact_sheet.png'
#: Numbers of one clip.
_LARGEST = 2**28
#: Share of a pixel by which an edge may miss a grid line and still lie on it.
_SNAP = 1e-3


class _Listed(TypedDict):
    name: str


@dataclass(frozen=True)
class Clip:
    """One file of pixels."""

    #: File in the folder.
    name: str
    query_id: str
    rank: int
    patch_id: str
    modality: str
    #: Scene id.
    source: str
    #: (path, band number from 1) of each band.
    bands: tuple[tuple[str, int], ...]
    #: Name of each band.
    band_names: tuple[str, ...]
    #: Row, column, height and width in pixels of the source.
    window: tuple[int, int, int, int]


def clip_hits(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Cut the pixels of each hit from the scenes of every modality.

    In a hit's own modality that is the window its ``patch_id`` names; in another one, the
    ground under it in the scene that covers most of it, out to whole pixels. Each clip is a
    cloud-optimised GeoTIFF with the source's CRS, grid, type, nodata and band names, called
    ``<query>_<rank>_<modality>.tif``, both numbers from 1; what is not fit for a file name in a
    modality becomes ``_``. Stopped halfway, the same call
    goes on with the clips that are missing. Hits without a place are passed over.

    A mask of the bands becomes one inside the clip; scale and offset are kept.

    Args:
        results: What a search gave.
        path: Folder to write into; made if missing.
        queries: The queries, for a contact sheet ``contact_sheet.png``; none is drawn
            without them.
        area: Not used; taken so that all writers are called in the same way.
        record: How the search was made; its ``scenes`` say where the rasters are.
        overwrite: Cut every clip again and replace what is there.

    Returns:
        The folder. ``clips.json`` in it lists the hit, scene and window of each file.

    Raises:
        QueryError: If the record knows no scenes, no hit has a place, a hit's own scene is
            not among those known, or a file cannot be opened.
        OutputExistsError: If the folder holds something else, or clips of another search.
    """
    check_clips(results, record)
    folder, scenes = Path(path), (record or {})['scenes']
    results = with_geometry(results[placed(results)])
    reader = PatchReader(scenes, north_up=True)
    clips = list(_planned(results, reader, scenes))
    _claim(folder, clips, overwrite)
    for clip in steps(clips, 'clip', 'cut'):
        if overwrite or not (folder / clip.name).exists():
            stated = (scenes[clip.modality].get('nodata') or {}).get(clip.source)
            nodata = {} if stated is None else {'stated': stated}
            _cut(clip, folder / clip.name, **nodata)
            if not (folder / _INDEX).exists():  # the clip made the folder anew
                (folder / clip.name).unlink(missing_ok=True)
                with suppress(OSError):
                    folder.rmdir()
                _check_there(folder, _INDEX)
    _check_there(folder, _INDEX, *(clip.name for clip in clips))
    sheet = folder / _SHEET
    if queries is not None and len(results) and (overwrite or not sheet.exists()):
        to_sheet(results, sheet, queries=queries, read=reader, overwrite=overwrite)
    return folder


def check_clips(results: gpd.GeoDataFrame, record: Mapping[str, Any] | None) -> None:
    """Refuse hits that cannot be cut from any scene.

    Args:
        results: What a search gave.
        record: How the search was made.

    Raises:
        QueryError: If the frame is not a result, the record knows no scenes, or no hit has a
            place.
    """
    check_result(results)
    if not (record or {}).get('scenes'):
        raise QueryError(
            'the record does not say where the scenes are, so no clips can be cut: archives '
            "of pairs, sound and plain images name none; for others give record={'scenes': "
            'scenes_of([archive, queries])}'
        )
    if len(results):
        check_drawable(results)


def _claim(folder: Path, clips: Sequence[Clip], overwrite: bool) -> None:
    """Make the folder ours, or see that it is."""
    check_folder(folder)
    listing = json.dumps([asdict(clip) for clip in clips], indent=1) + '\n'
    index = folder / _INDEX
    if (
        index.is_file()
        and not overwrite
        and index.read_text(encoding='utf-8') == listing
    ):
        return
    if folder.exists():
        if not folder.is_dir():
            raise OutputExistsError(f'{folder} is a file; name a folder for the clips')
        if not overwrite and any(folder.iterdir()):
            whose = 'clips of another search' if index.exists() else 'other files'
            raise OutputExistsError(
                f'{folder} holds {whose}; choose another folder or overwrite it'
            )
        _sweep(index, {clip.name for clip in clips})
    with disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with new_file(index, overwrite=True) as temporary:
        temporary.write_text(listing, encoding='utf-8')


def _check_there(folder: Path, *names: str) -> None:
    """See that nobody has removed the folder, or what was written into it."""
    for name in names:
        if not (folder / name).exists():
            raise OutputExistsError(
                f'{folder / name} was removed while clips were cut: run the same again'
            )


def _sweep(index: Path, kept: set[str]) -> None:
    """Remove the clips that an older search left and this one has no name for."""
    try:
        listed = read_json(index, list[_Listed], 'it is written by the next export')
    except (OSError, ArchiveError):
        return
    older = {clip['name'] for clip in listed}
    for name in older - kept:
        # A name, not a path: nothing outside the folder is ours.
        if Path(name).name == name and name.endswith('.tif') and '\0' not in name:
            (index.parent / name).unlink(missing_ok=True)


def _planned(
    results: gpd.GeoDataFrame, reader: PatchReader, scenes: Mapping[str, Any]
) -> Iterator[Clip]:
    """Decide which windows of which scenes are cut."""
    numbers = {query: i for i, query in enumerate(results['query_id'].unique(), 1)}
    for _, hit in results.iterrows():
        hit_modality = hit['modality']
        if (
            hit_modality in scenes
            and hit['source'] not in scenes[hit_modality]['sources']
        ):
            raise QueryError(
                f'scene {hit["source"]!r} of {hit["patch_id"]!r} is not among those of the '
                'record; give the record of the archive that was searched'
            )
        ground = _ground(hit, reader, scenes)
        for modality in dict.fromkeys(
            [m for m in (hit_modality, *sorted(scenes)) if m in scenes]
        ):
            if modality == hit_modality:
                scene = hit['source']
            else:
                scene = reader.scene_at(hit, modality, scenes[modality])
            if scene is None:
                continue
            if is_cube(scenes[modality]['sources'][scene]):
                raise QueryError(
                    f'scene {scene!r} is a date of a cube, of which no clips are cut; leave '
                    'clips out'
                )
            word = safe_name(modality, 'modality')
            stem = f'{numbers[hit["query_id"]]:03d}_{int(hit["rank"]):03d}_{word}'
            grids = _grids(scenes[modality], scene, reader, ground)
            names = _names(stem, [bands for bands, _ in grids])
            for name, (bands, window) in zip(names, grids, strict=True):
                yield Clip(
                    name,
                    str(hit['query_id']),
                    int(hit['rank']),
                    str(hit['patch_id']),
                    str(modality),
                    str(scene),
                    tuple(
                        (str(reader.path_of(scenes[modality], band)), int(band[1]))
                        for band in bands
                    ),
                    tuple(str(band[2]) for band in bands),
                    window,
                )


def _names(stem: str, grids: Sequence[Sequence[Band]]) -> list[str]:
    """Name the files of one scene: by pixel size if there are several, or by number."""
    sizes = [f'_{bands[0][3]:g}m' if bands[0][3] else '' for bands in grids]
    if len(sizes) == 1:
        return [f'{stem}.tif']
    if len({*sizes}) < len(sizes):
        sizes = [f'{size}_{i}' for i, size in enumerate(sizes, start=1)]
    return [f'{stem}{size}.tif' for size in sizes]


def _ground(
    hit: pd.Series, reader: PatchReader, scenes: Mapping[str, Any]
) -> gpd.GeoDataFrame:
    """Give the outline of a hit, as exactly as it is known."""
    corners = hit.get('native_corners')
    if isinstance(corners, np.ndarray) and isinstance(hit['src_crs'], str):
        ring = shapely.Polygon(corners.reshape(4, 2))
        return gpd.GeoDataFrame(geometry=[ring], crs=hit['src_crs'])
    record = scenes.get(hit['modality'])
    window = parse_window(hit['patch_id'])
    resampled = record is not None and hit['source'] in (record.get('grids') or {})
    if record is not None and window is not None and not resampled:
        bands = record['sources'][hit['source']]
        finest = min(bands, key=lambda band: band[3] or np.inf)
        with reader.open(record, finest) as file:
            row, col, height, width = window
            corners = [(col, row), (col + width, row), (col + width, row + height)]
            corners.append((col, row + height))
            ring = shapely.Polygon(on(file.transform, np.array(corners)))
            return gpd.GeoDataFrame(geometry=[ring], crs=file.crs.to_wkt())
    return gpd.GeoDataFrame(geometry=[hit['geometry']], crs='EPSG:4326')


def _grids(
    record: Mapping[str, Any], scene: str, reader: PatchReader, ground: gpd.GeoDataFrame
) -> list[tuple[list[Band], tuple[int, int, int, int]]]:
    """Divide the bands of a scene by their grid, and give the window of each."""
    found: dict[Any, tuple[list[Band], tuple[int, int, int, int]]] = {}
    for band in record['sources'][scene]:
        with reader.open(record, band) as file:
            if file.crs is None:
                raise QueryError(
                    f'{file.name} has no CRS; declare it in the program that wrote it'
                )
            crs = CRS.from_wkt(file.crs.to_wkt())
            outline = moved(ground, crs)[0]
            pixels = on(~file.transform, shapely.get_coordinates(outline))
            first = np.floor(pixels.min(axis=0) + _SNAP)
            last = np.ceil(pixels.max(axis=0) - _SNAP)
            # What lies beyond the scene has no pixels.
            first = np.clip(first, 0, [file.width, file.height]).astype(int)
            last = np.clip(last, 0, [file.width, file.height]).astype(int)
            (col, row), (width, height) = first.tolist(), (last - first).tolist()
            if width < 1 or height < 1:
                continue
            # A GeoTIFF has one type and one nodata value. NaN is not equal to itself.
            key = (
                crs.to_wkt(),
                tuple(file.transform),
                file.dtypes[band[1] - 1],
                repr(file.nodatavals[band[1] - 1]),
            )
            bands, _ = found.setdefault(key, ([], (row, col, height, width)))
            bands.append(band)
    return list(found.values())


def _cut(clip: Clip, target: Path, stated: float | None = None) -> None:
    """Copy the pixels of a clip, and what the source states of them.

    Args:
        clip: The clip.
        target: File to write.
        stated: Value that was missing besides, for a source that has none.
    """
    row, col, height, width = clip.window
    if height * width * len(clip.bands) > _LARGEST:
        raise QueryError(
            f'the clip of {clip.patch_id!r} would have {len(clip.bands)} x {height} x {width} '
            'pixels, too many for one patch; check the archive or the saved search'
        )
    window = Window(col, row, width, height)  # ty: ignore[too-many-positional-arguments]
    planes, scales, offsets, mask = [], [], [], None
    for path, number in clip.bands:
        with open_pixels(path) as file:
            planes.append(file.read(number, window=window))
            crs, nodata = file.crs, file.nodatavals[number - 1]
            transform = file.window_transform(window)
            scales.append(file.scales[number - 1])
            offsets.append(file.offsets[number - 1])
            taken = [i for other, i in clip.bands if other == path]
            beside = MaskFlags.per_dataset in file.mask_flag_enums[number - 1]
            if beside and is_masked(file, number, taken):
                mask = file.read_masks(number, window=window)
            alpha = unused_alpha(file)
            if alpha is not None and alpha not in taken:
                mask = np.where(file.read(alpha, window=window) == 0, 0, 255)
                mask = mask.astype(np.uint8)
    names = ('query_id', 'rank', 'patch_id', 'modality', 'source')
    with new_file(target, overwrite=True) as temporary:
        write_cog(
            temporary,
            np.stack(planes),
            crs=crs,
            transform=transform,
            nodata=stated if nodata is None and mask is None else nodata,
            names=clip.band_names,
            tags={name.upper(): str(getattr(clip, name)) for name in names},
            mask=mask,
            scales=scales,
            offsets=offsets,
        )
