"""The command index: built from an archive once, then searched."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torchgeo_cmr.cli.options import ParquetOptions

if TYPE_CHECKING:
    from torchgeo_cmr.search import RetrievalIndex


def index(
    archives: list[str] | None = None,
    *,
    out: str,
    vectors: str = 'float32',
    approximate: list[str] | None = None,
    recall: float = 0.95,
    no_codes: bool = False,
    append: bool = False,
    delete: list[str] | None = None,
    delete_where: str | None = None,
    overwrite: bool = False,
    parquet: ParquetOptions,
) -> None:
    """Build an index of an archive, which opens in a moment, or change one.

    An archive is read whole; an index is memory-mapped, so that a search in a million
    patches begins at once and several programs share one copy in memory. Search takes an index
    folder wherever it takes an archive. An index may be deleted and built again.

    Build one, for exact answers:

        torchgeo-cmr index archive --out index
        torchgeo-cmr search index --query -98.49,29.43

    Scan a quarter of the memory, answers still exact; or search faster, with approximate
    answers:

        torchgeo-cmr index archive --out index --vectors int8 --approximate ivf --recall 0.98
        torchgeo-cmr search index --query queries --approximate

    Add newly embedded patches in place of an older scene:

        torchgeo-cmr index new --out index --append --delete-where 'source == "old.tif"'

    Embeddings that others have published as Parquet; the columns that were taken are printed:

        torchgeo-cmr index theirs.parquet --metres 320 --space softcon --out index

    Args:
        archives: Archive folders that embed wrote; several become one index. An index folder
            also works: rebuild it after many changes. Or Parquet files of others, or folders
            of them.
        out: Folder of the index.
        vectors: How a search reads each number: float32 (4 bytes), float16 (2), int8 (1)
            or binary (a bit). Full vectors are kept alongside the last three and read for the
            best, so answers stay exact; only search --approximate ranks by the small ones.
        approximate: Approximate part to build as well: ivf, ivf_pq or rabitq; may be
            repeated, the preferred one first. Used only with search --approximate, and only if
            enough patches pass the filters.
        recall: Share of the ten best that an approximate part should find; measured while it
            is built.
        no_codes: Write no codes of one byte per number, which exact searches read before float32
            vectors; the index is a fifth smaller and slower to search.
        append: Add the archives to the existing index.
        delete: patch_id to delete from the existing index; may be repeated.
        delete_where: Condition on columns, such as 'source == "old.tif"': patches to
            delete from the existing index.
        overwrite: Replace an existing index.
    """
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import RetrievalIndex, Where
    from torchgeo_cmr.table.archive.folder import is_archive

    if not (append or delete or delete_where):
        if not archives:
            raise QueryError('nothing to index: name an archive folder')
        alone = len(archives) == 1 and is_archive(archives[0]) and not parquet.names
        made = RetrievalIndex.build(
            archives[0] if alone else _opened(archives, parquet).table,
            out,
            vectors=vectors,
            approximate=approximate or (),
            recall=recall,
            codes=not no_codes,
            overwrite=overwrite,
        )
        sys.stdout.write(f'{out}: {len(made)} rows\n')
        return
    if vectors != 'float32' or approximate or recall != 0.95 or overwrite or no_codes:
        raise QueryError(
            'an index keeps its kind when it is changed: drop --vectors, '
            '--approximate, --recall, --no-codes and --overwrite, or build it again'
        )
    if append and not archives:
        raise QueryError('--append adds archives: name at least one')
    if archives and not append:
        raise QueryError(
            f'say what to do with {archives[0]}: --append adds it to the index'
        )
    made = RetrievalIndex.open(out)
    before = len(made)
    if delete:
        made.delete(delete)
    if delete_where:
        made.delete(Where(where=delete_where))
    left = len(made)
    if archives:
        made.append(_opened(archives, parquet).table)
    summary = f'{before - left} deleted, {len(made) - left} added'
    sys.stdout.write(f'{out}: {len(made)} rows, {summary}\n')


def _opened(names: list[str], parquet: ParquetOptions) -> 'RetrievalIndex':
    """Open archives and indexes, and Parquet files of others, as one."""
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import open_archives

    theirs = [name for name in names if _is_parquet(name)]
    if not theirs:
        if parquet.names:
            flag = parquet.names[0].replace('_', '-')
            raise QueryError(
                f'--{flag} is for Parquet files of others, and none is named: drop it'
            )
        return open_archives(names)
    ours = [name for name in names if name not in theirs]
    return open_archives([*ours, parquet.read(theirs)])


def _is_parquet(name: str) -> bool:
    """Say whether a path is a file of others, or a folder that holds such files and no archive."""
    from torchgeo_cmr.search.store.index_summary import is_index
    from torchgeo_cmr.table.archive.folder import is_archive
    from torchgeo_cmr.table.others.parquet_rows import SUFFIXES

    path = Path(name)
    if not path.is_dir():
        return path.suffix.lower() in SUFFIXES
    if is_archive(path) or is_index(path):
        return False
    return any(file.suffix.lower() in SUFFIXES for file in path.rglob('*'))
