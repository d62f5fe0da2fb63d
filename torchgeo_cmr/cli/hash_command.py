"""The command hash: the vectors of an archive as a few hundred bits each."""

import sys

from torchgeo_cmr.cli.transform_file import TransformFile

_KINDS = ('sign', 'lsh', 'itq')


def hash(
    archives: list[str],
    *,
    out: str,
    using: str,
    kind: str | None = None,
    bits: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Turn the vectors of an archive into packed codes, compared by how many bits differ.

    Codes are small, 32 bytes for 256 bits, and lose recall; evaluate shows how much. Queries
    must use the same hash, which is kept in a file:

        torchgeo-cmr hash archive --out codes --using itq.npz --kind itq --bits 256
        torchgeo-cmr hash queries --out query-codes --using itq.npz
        torchgeo-cmr search codes --query query-codes

    If one sensor searches another, learn from both together:

        torchgeo-cmr hash radar optical --out all --using itq.npz --kind itq

    To keep the vectors and let bits only propose, build an index instead:

        torchgeo-cmr index archive --out index --vectors binary

    Args:
        archives: Archive folders that embed wrote; several become one archive of codes.
        out: Archive folder to write, for search, evaluate and export.
        using: File of the hash (.npz). An existing one is used; else it is made, with
            --kind, and written.
        kind: Kind of a hash that is made: sign (the sign of each number), lsh (the side of
            random planes) or itq (a rotation learned from the archives, best for its length).
        bits: Bits of a code, a multiple of 8; by default as many as a vector has numbers.
        seed: Seed of random planes and of the first rotation.
        overwrite: Replace the folder, and with --kind the file of the hash.
    """
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import Hash, open_archives

    file = TransformFile(using, '--kind', kind, 'a hash', overwrite)
    if kind is None and (bits is not None or seed):
        raise QueryError('--bits and --seed are for a hash that is made: add --kind')
    file.check(out, _KINDS, 'itq')
    table = open_archives(archives).table
    if kind is None:
        chosen = Hash.load(using)
    elif kind == 'sign':
        if bits not in (None, table.dim):
            raise QueryError(
                f'--kind sign keeps one bit per number, {table.dim} of them: drop --bits'
            )
        chosen = Hash.sign(table.dim)
    elif kind == 'lsh':
        chosen = Hash.lsh(table.dim, bits or table.dim, seed=seed)
    else:
        chosen = Hash.itq(table, bits, seed=seed)
    made = chosen.table(table)
    if kind is not None and file.keep(chosen):
        sys.stdout.write(f'{using}: {chosen.name}\n')
    made.save(out, overwrite=overwrite)
    sys.stdout.write(f'{out}: {len(made)} rows of {chosen.bits} bits\n')
