"""Whether coordinates in a CRS are places on a map, and the part of it that says where they are."""

from collections.abc import Sequence

from pyproj import CRS

from torchgeo_cmr.errors import CMRError

#: Degrees beyond a pole that are rounding: a centimetre.
_ROUNDING = 1e-7


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


def may_be_degrees(bounds: Sequence[float], crs: CRS) -> bool:
    """Decide whether coordinates can be what a CRS of degrees says they are.

    GeoJSON that names no CRS is in degrees by its standard, though some of it is in metres.

    Args:
        bounds: West, south, east, north. Longitudes may run on beyond 180.
        crs: Their CRS; True if it is not one of degrees.
    """
    if not (crs.is_geographic and crs.axis_info[0].unit_name == 'degree'):
        return True
    west, south, east, north = bounds
    limit = 90 + _ROUNDING
    return south >= -limit and north <= limit and west >= -540 and east <= 540


def check_degrees(
    bounds: Sequence[float], crs: CRS, what: str, cure: str, kind: type[CMRError]
) -> None:
    """Refuse coordinates that cannot be degrees, as :func:`may_be_degrees` decides.

    Args:
        bounds: West, south, east, north.
        crs: Their CRS.
        what: What they are of, for the message.
        cure: What to do, for the message.
        kind: What to raise.

    Raises:
        CMRError: Of the kind *kind*.
    """
    if not may_be_degrees(bounds, crs):
        west, south, east, north = bounds
        raise kind(
            f'{what} reaches from {west:.6g}, {south:.6g} to {east:.6g}, {north:.6g}, which are '
            f'not longitudes and latitudes; {cure}'
        )


__all__ = ('check_degrees', 'check_places', 'may_be_degrees', 'without_heights')
