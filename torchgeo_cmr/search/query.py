"""What is asked: rows of a table that is there already, by name or by place."""

from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .filters import Where, distance, no_place

_SHOWN = 3
_COMPARED = 20_000


def from_ids(table: EmbeddingTable, ids: str | Iterable[str]) -> EmbeddingTable:
    """Ask with patches of a table that are known by name.

    Args:
        table: Where the patches are; often the archive that is searched.
        ids: One ``patch_id`` or several; one that is named twice is taken once.

    Returns:
        The table of these patches, in the order asked.

    Raises:
        QueryError: If no id is given, or one is not in the table; the message names similar
            ones.

    .. versionadded:: 0.1
    """
    asked = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
    if not asked:
        raise QueryError('no patch_id is asked for; name at least one')
    known = dict(zip(table.frame['patch_id'], range(len(table)), strict=True))
    for one in asked:
        if one not in known:
            raise QueryError(f'there is no patch_id {one!r}; {similar_ids(table, one)}')
    return table.select([known[one] for one in asked])


def similar_ids(table: EmbeddingTable, word: str) -> str:
    """Name the ids of a table that a mistyped one may have meant.

    Args:
        table: Where the ids are.
        word: What was asked for.

    Returns:
        Half a sentence: the ids that hold the word, else those spelled alike (looked for
        among the first twenty thousand), else the first of all.

    .. versionadded:: 0.1
    """
    ids = table.frame['patch_id'].tolist()
    if not ids:
        return 'the archive is empty, embed some scenes first'
    near = [one for one in ids if word and word in one][:_SHOWN]
    near = near or get_close_matches(word, ids[:_COMPARED], n=_SHOWN)
    if near:
        return f'similar ones are {", ".join(near)}'
    return f'ids of the archive look like {ids[0]}'


def at(table: EmbeddingTable, lon: float, lat: float) -> EmbeddingTable:
    """Ask with what a table knows about a place.

    What this does not know: footprints are planar in longitude and latitude, so a place
    close to the edge of a large one may be counted on the other side.

    Args:
        table: Where the patches are; often the archive that is searched.
        lon: Longitude in degrees (EPSG:4326), -180 to 180.
        lat: Latitude in degrees, -90 to 90.

    Returns:
        The table of all patches that cover the position, edges included, whatever their
        date or modality, in the order of the table.

    Raises:
        QueryError: If these are no longitude and latitude, or no patch covers them; the
            message says how far away the nearest one is.

    .. versionadded:: 0.1
    """
    # Written so that NaN is refused too.
    if not (abs(lon) <= 180 and abs(lat) <= 90):
        raise QueryError(
            f'{lon:.8g},{lat:.8g} is no position; give longitude (-180 to 180), then '
            'latitude (-90 to 90), in degrees'
        )
    if not len(table):
        raise QueryError('the archive is empty; embed some scenes first')
    if not table.placed.any():
        raise no_place(table)
    place = shapely.Point(lon, lat)
    rows = Where(place, 'EPSG:4326').rows(table)
    if not len(rows):
        shapes = table.frame.geometry.to_numpy()
        west, south = np.nanmin(table.boxes[:, :2], axis=0)
        east, north = np.nanmax(table.boxes[:, 2:], axis=0)
        raise QueryError(
            f'no patch covers {lon:.8g},{lat:.8g}: the nearest is '
            f'{distance(shapes, place) / 1000:,.1f} km away, and the archive lies within '
            f'longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}'
        )
    return table.select(rows)
