"""Summary of a STAC collection that ``export`` wrote."""

from os import PathLike
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from torchgeo_cmr.typed_json import read_json


class _Spatial(TypedDict):
    bbox: list[list[float]]


class _Temporal(TypedDict):
    interval: list[list[str | None]]


class _Extent(TypedDict):
    spatial: _Spatial
    temporal: _Temporal


class _Link(TypedDict):
    rel: str


class _Collection(TypedDict):
    id: str
    stac_version: str
    description: str
    license: NotRequired[str]
    extent: _Extent
    links: list[_Link]


def describe_collection(path: str | PathLike[str]) -> dict[str, Any]:
    """Say what a STAC collection lists; its items are not read.

    Args:
        path: The collection.

    Returns:
        JSON-able: ``kind``, ``path``, ``id``, ``stac_version``, ``description``, ``license``,
        ``bounds`` (of all of it), ``time``, ``items`` (their number) and ``bytes``.

    Raises:
        ArchiveError: If it is not a collection.
    """
    file = Path(path)
    found = read_json(file, _Collection, 'export the archive again')
    boxes, spans = (
        found['extent']['spatial']['bbox'],
        found['extent']['temporal']['interval'],
    )
    return {
        'kind': 'STAC collection',
        'path': str(path),
        'id': found['id'],
        'stac_version': found['stac_version'],
        'description': found['description'],
        'license': found.get('license'),
        'bounds': boxes[0] if boxes else None,
        'time': spans[0] if spans else None,
        'items': sum(link['rel'] == 'item' for link in found['links']),
        'bytes': file.stat().st_size,
    }
