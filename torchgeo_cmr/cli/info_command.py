"""The command info: what something on disk is."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from torchgeo_cmr.cli.terminal import printable

#: How JSON of ours begins.
_MANIFEST = re.compile(rb'"format"\s*:\s*"torchgeo_cmr\.search"')
_COLLECTION = re.compile(rb'"type"\s*:\s*"Collection"')

#: Suffix of what commands write for other programs -> what opens it.
_OPENED_WITH = {
    '.html': 'in a browser',
    '.md': 'in an editor',
    '.png': 'in a viewer of pictures',
    '.tif': 'in QGIS',
}


def info(path: str, *, json_: bool = False) -> None:
    """Describe an archive, an index, a checkpoint, a result or any other file of this program.

    Of an archive: rows, modalities, CRS, dates, bounds, how the vectors were made, size, and
    whether all planned parts exist. Vectors are not loaded.

        torchgeo-cmr info archive

    Of an index folder: rows, what is scanned, which approximate parts it has.

        torchgeo-cmr info index

    Of a checkpoint: task, modalities, bands, patch sizes, units.

        torchgeo-cmr info best.ckpt

    Of a saved search: its results and how it was made; of another layer of a file, that layer.

        torchgeo-cmr info hits.gpkg
        torchgeo-cmr info 'hits.gpkg|layername=query'

    Of what else commands write: an alignment or a hash (.npz), the manifest of a search (.json), a
    STAC collection, a QGIS project (.qgz), the plugin for QGIS (.zip):

        torchgeo-cmr info means.npz
        torchgeo-cmr info hits.json

    Of an archive in PostgreSQL: rows, parts, slices and the servers that hold them, size.

        torchgeo-cmr info postgresql://gis@server/gis

    As JSON, for a script:

        torchgeo-cmr info archive --json

    Args:
        path: Archive folder, index folder, checkpoint (.ckpt), layer of results, another file that
            a command wrote, or address of a database.
        json_: Print JSON instead of lines.
    """
    facts = _tell(path)
    if json_:
        sys.stdout.write(json.dumps(facts, indent=1) + '\n')
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        sys.stdout.write(printable(f'{name.ljust(width)}  {_words(value)}') + '\n')


def _tell(word: str) -> dict[str, Any]:
    """Describe this kind of file; only a checkpoint needs torch."""
    from torchgeo_cmr.errors import ArchiveError
    from torchgeo_cmr.search.store.origin import is_server

    if is_server(word):
        from torchgeo_cmr.search import describe_server

        return describe_server(word)
    path = Path(word)
    if not path.exists() and not Path(word.split('|')[0]).is_file():
        raise ArchiveError(
            f'there is no {path}: name an archive, an index, a checkpoint or a layer'
        )
    if path.is_dir():
        from torchgeo_cmr.search import describe_index
        from torchgeo_cmr.search.store.index_summary import is_index
        from torchgeo_cmr.table import describe

        return describe_index(path) if is_index(path) else describe(path)
    if path.suffix == '.ckpt':
        from torchgeo_cmr.tasks import describe_checkpoint

        return describe_checkpoint(path)
    facts = _describe_file(path) if path.is_file() else None
    if facts is not None:
        return facts
    from torchgeo_cmr.export import describe_layer

    return describe_layer(word)


def _describe_file(path: Path) -> dict[str, Any] | None:
    """Describe a file by its kind; None of a layer, or of what is not known."""
    from torchgeo_cmr.errors import ArchiveError
    from torchgeo_cmr.regular_files import head_of

    suffix = path.suffix.lower()
    if path.name in ('_archive.json', 'index.json'):
        raise ArchiveError(f'{path} belongs to the folder it is in: name {path.parent}')
    if suffix == '.npz':
        from torchgeo_cmr.search.transform_summary import describe_transform

        return describe_transform(path)
    if suffix in ('.zip', '.qgz'):
        from torchgeo_cmr.cli.package_files import describe_package

        return describe_package(path)
    if suffix in _OPENED_WITH:
        raise ArchiveError(
            f'{path} has nothing that info describes: open it {_OPENED_WITH[suffix]}'
        )
    if suffix != '.json':
        return None
    head = head_of(path)
    if _MANIFEST.search(head):
        from torchgeo_cmr.export.record.record_summary import describe_manifest

        return describe_manifest(path)
    if _COLLECTION.search(head):
        from torchgeo_cmr.export.vector.collection_summary import describe_collection

        return describe_collection(path)
    return None


def _words(value: Any) -> str:
    """Write a value for reading on one line."""
    if isinstance(value, dict):
        return (
            '; '.join(f'{name}: {_words(item)}' for name, item in value.items()) or '-'
        )
    if isinstance(value, list):
        return ', '.join(_words(item) for item in value) or '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if value is None:
        return '-'
    return f'{value:g}' if isinstance(value, float) else str(value)
