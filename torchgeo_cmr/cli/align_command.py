"""The command align: archives of two sensors brought into one space by linear maps."""

import sys
from typing import TYPE_CHECKING

from torchgeo_cmr.cli.transform_file import TransformFile

if TYPE_CHECKING:
    from torchgeo_cmr.evaluate.held_out import Gain


def align(
    archives: list[str],
    *,
    out: str,
    using: str,
    method: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Bring the vectors of two sensors into one space by linear maps, without training.

    Frozen encoders place each sensor in a corner of its own. Maps are fitted on patches of the
    same ground; a quarter of the ground is held out, and the scores before and after are those of
    patches there, at most 2,000 of each sensor. The maps are kept in a file, for archives to come:

        torchgeo-cmr align radar optical --out aligned --using maps.npz --method ridge
        torchgeo-cmr align more-radar --out more-aligned --using maps.npz
        torchgeo-cmr search aligned --query more-aligned

    Centring needs no pairs:

        torchgeo-cmr align radar optical --out centred --using means.npz --method center

    Args:
        archives: Archive folders that embed wrote; several become one archive.
        out: Archive folder to write.
        using: File of the maps (.npz). An existing one is used; else it is made, with --method,
            and written.
        method: How maps are made: center (subtract the mean of each sensor), whiten (and give all
            directions the same variance), or fitted on pairs: procrustes (turn), ridge
            (regularised least squares), contrastive (symmetric InfoNCE).
        seed: Seed of the ground that is held out, and of contrastive.
        overwrite: Replace the folder, and with --method the file of the maps.
    """
    from torchgeo_cmr.evaluate.held_out import METHODS, fit_alignment
    from torchgeo_cmr.search import Alignment, open_archives
    from torchgeo_cmr.table import EmbeddingTable

    file = TransformFile(using, '--method', method, 'maps', overwrite)
    file.check(out, METHODS, 'ridge')
    tables = [open_archives([archive]).table for archive in archives]
    maps, gains = (
        (Alignment.load(using), [])
        if method is None
        else fit_alignment(tables, method, seed=seed)
    )
    aligned = EmbeddingTable.concat([maps.table(table) for table in tables])
    lines = _lines(gains)
    # Maps of archives that cannot be joined leave no file.
    if method is not None and file.keep(maps):
        lines.append(f'{using}: {maps.name}')
    for line in lines:
        sys.stdout.write(line + '\n')
    aligned.save(out, overwrite=overwrite)
    sys.stdout.write(f'{out}: {len(aligned)} rows\n')


def _lines(gains: 'list[Gain] | None') -> list[str]:
    """Write the scores as a table; None if too little ground could be held out."""
    if gains is None:
        return ['too little ground to hold some out: not scored']
    if not gains:
        return []
    lines = [
        f'{"held-out ground":<16}{"before":>10}{"after":>10}{"chance":>10}  recall@10 of one place'
    ]
    for gain in gains:
        numbers = (gain.before, gain.after, gain.chance)
        words = ''.join(f'{"-" if n is None else f"{n:.3f}":>10}' for n in numbers)
        lines.append(f'{gain.direction:<16}{words}  of {gain.queries} queries')
    return lines
