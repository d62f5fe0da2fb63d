"""The command load: an archive goes into PostgreSQL, where many may search it."""

import sys


def load(
    archive: str,
    address: str,
    *,
    role: str | None = None,
    half: bool = False,
    approximate: bool = False,
    prune: bool = False,
    divide: str | None = None,
    shard: list[str] | None = None,
) -> None:
    r"""Load an archive into PostgreSQL with PostGIS and pgvector, for many to search.

    Each part of the archive is one transaction: whoever searches meanwhile sees all of it
    or nothing. Load again after embed: parts that are there are kept, changed ones replaced, and
    a load that was killed goes on where it was. Wherever a command takes an archive to search in,
    the address works as well. Install with pip install "torchgeo-cmr[postgres]".

        torchgeo-cmr load archive postgresql://gis@server/gis --role readers
        torchgeo-cmr search postgresql://gis@server/gis --query -98.49,29.43 --out hits.gpkg

    Several archives, such as those of two models, have a name each:

        torchgeo-cmr load archive 'postgresql://gis@server/gis?archive=dofa'

    An archive for several servers is divided, and slices go to them in turn:

        torchgeo-cmr load archive postgresql://gis@one/gis --divide month \
            --shard postgresql://gis@two/gis --shard postgresql://gis@three/gis

    In QGIS, the table of that name (without one: patch) in the schema torchgeo_cmr is a layer.

    Args:
        archive: Archive folder that embed wrote.
        address: postgresql://USER@HOST/DATABASE, with ?archive=NAME for a name other than
            patch. A password belongs in the file .pgpass, not into the address.
        role: Role that may then search and change nothing; made if it is missing, without a
            right to log in.
        half: Keep vectors at half precision: half the space, scores differ in the fourth digit.
            The first load of an archive decides.
        approximate: Build an HNSW index too; used only by searches without a filter, with
            search --approximate.
        prune: Also remove what the archive folder does not have.
        divide: Divide the tables by source, year or month. The first load of an archive decides.
        shard: postgresql://USER@HOST:PORT/DATABASE of another server that holds slices of a divided
            archive, as the first server reaches it; may be repeated. Slices that are there stay.
    """
    from torchgeo_cmr.search import load_archive

    counts = load_archive(
        archive,
        address,
        role=role,
        half=half,
        approximate=approximate,
        prune=prune,
        divide=divide,
        shards=shard or (),
    )
    sys.stdout.write(
        f'{counts["rows"]} rows; {counts["parts"]} parts loaded, {counts["kept"]} kept, '
        f'{counts["removed"]} removed\n'
    )
