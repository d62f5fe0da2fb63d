"""Quality masks: which pixels are missing, and which show cloud.

=========  ==================================================  ===============================
Mask       Missing                                             Cloud
=========  ==================================================  ===============================
SCL        0 no data, 1 saturated or defective                 8, 9 cloud of medium and high
                                                               probability, 10 thin cirrus
QA_PIXEL   bit 0 fill                                          bits 1 dilated cloud, 2 cirrus,
                                                               3 cloud
Fmask      255 fill                                            bits 0 cirrus, 1 cloud
UDM2       band *unusable*: any bit except 1, which is cloud   band *cloud*
=========  ==================================================  ===============================

SCL is the scene classification of Sentinel-2 level 2A, QA_PIXEL of Landsat collection 2,
Fmask of HLS 2.0, UDM2 the mask of usable data of PlanetScope. Shadows and haze are not
cloud, as in ``eo:cloud_cover`` of STAC.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.bands import is_udm2, mask_name
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.mask_files import mask_next_to
from torchgeo_cmr.scenes.scene import Scene, assemble


@dataclass(frozen=True)
class Coding:
    """What the codes of one band of a mask mean."""

    #: Codes of pixels that are missing, and of those that show cloud.
    missing: tuple[int, ...] = ()
    cloud: tuple[int, ...] = ()
    #: Bits that are set in the codes of such pixels.
    missing_bits: int = 0
    cloud_bits: int = 0
    #: Whether a pixel that the file declares as nodata has code 0, and is not missing.
    zero_counts: bool = False


#: Band of a mask -> its codes.
CODINGS = {
    'SCL': Coding(missing=(0, 1), cloud=(8, 9, 10)),
    'QA_PIXEL': Coding(missing_bits=0b1, cloud_bits=0b1110),
    'FMASK': Coding(missing=(255,), cloud_bits=0b11),
    'UDM2_CLOUD': Coding(cloud=(1,), zero_counts=True),
    'UDM2_UNUSABLE': Coding(missing_bits=0b11111101, zero_counts=True),
}

#: Bands of UDM2 that are read: position and names, of which older masks have others.
_UDM2 = {
    'UDM2_CLOUD': (6, ('cloud',)),
    'UDM2_UNUSABLE': (8, ('unusable', 'udm1', 'unusable_data_mask', 'unusable_data')),
}


def judged(scene: Scene, next_to: bool = True) -> Scene:
    """Find the quality mask of a scene: one of its bands, or a file next to its files.

    Args:
        scene: Any scene.
        next_to: Whether to look for files; a STAC item lists what it has.

    Returns:
        The scene with its mask, and without it among the bands; the same scene if no mask
        is found or it has one already.
    """
    rest = [i for i, band in enumerate(scene.bands) if mask_name(band) is None]
    mask = scene.quality
    if rest and len(rest) < len(scene.bands):
        i = next(i for i in range(len(scene.bands)) if i not in rest)
        mask = mask or scene.pick([i], [mask_name(scene.bands[i]) or ''])
        scene = scene.pick(rest)
    files = (
        []
        if scene.layers or not next_to
        else list(dict.fromkeys(f for f, _ in scene.sources))
    )
    while mask is None and files:
        found = mask_next_to(files.pop(0))
        mask = found and open_mask(*found)
    if mask is None:
        return scene
    # The codes say themselves what is missing, and mean no reflectance.
    return replace(
        scene, quality=replace(mask, nodata=None, units='dn', scales=None, quality=None)
    )


def open_mask(file: str, mask: str) -> Scene:
    """Open the file of a quality mask.

    Args:
        file: Path of the mask.
        mask: Which it is, a key of :data:`torchgeo_cmr.scenes.bands.MASKS`.

    Returns:
        A scene of the bands that say what is missing and cloud.

    Raises:
        RasterError: If it cannot be read or lacks those bands.
    """
    if mask != 'UDM2':
        return assemble([(file, 1)], [mask])
    header = read_header(file)
    positions = [
        (name or '').strip().lower().replace(' ', '_') for name in header.descriptions
    ]
    sources = {
        band: next(
            (positions.index(name) + 1 for name in names if name in positions), position
        )
        for band, (position, names) in _UDM2.items()
    }
    if max(sources.values()) > header.count:
        raise RasterError(
            f'{file} has {header.count} bands, but a UDM2 mask has 8: replace or remove it'
        )
    return assemble([(file, i) for i in sources.values()], list(sources))


def is_mask(scene: Scene, wanted: Sequence[str] = ()) -> bool:
    """Say whether a scene is a quality mask, and no image that an encoder takes.

    Args:
        scene: Any scene.
        wanted: Bands of the encoder: one that names a mask takes it as an image.

    Returns:
        True if all its bands are masks, or those of UDM2.
    """
    masks = is_udm2(scene.bands) or all(map(mask_name, scene.bands))
    return masks and not any(map(mask_name, wanted))
