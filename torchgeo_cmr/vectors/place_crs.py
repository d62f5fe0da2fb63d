"""Whether coordinates in a CRS are places on a map, and the part of it that says where they are."""

from pyproj import CRS

from torchgeo_cmr.errors import CMRError


def without_heights(crs: CRS) -> CRS:
    """Leave heights out of a CRS that has them along with a place.

    They are of coordinates, which are used without them, and the way to another CRS may not know them.
    """
    return crs.to_2d() if crs.is_compound else crs


def check_places(crs: CRS, what: str, kind: type[CMRError]) -> None:
    """Refuse a CRS without places on a map.

    Args:
        crs: As :func:`without_heights` gives it.
        what: What is in it, for the message.
        kind: What to raise.

    Raises:
        CMRError: Of the kind *kind*, if it is geocentric, of heights alone, or of a building site.
    """
    if crs.is_geocentric or crs.is_vertical or crs.is_engineering:
        raise kind(
            f'{what} is in {crs.name[:60]}, which has no place on a map; check its CRS'
        )


__all__ = ('check_places', 'without_heights')
