"""The command align: archives of two sensors brought into one space by linear maps."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchgeo_cmr.search import Alignment
    from torchgeo_cmr.table import EmbeddingTable

_ALONE = ('center', 'whiten')
_PAIRED = ('procrustes', 'ridge', 'contrastive')
#: Width of the blocks of ground of which some are held out, in metres; and their share.
_BLOCK, _HELD_OUT = 2_000, 0.25


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
    patches there. The maps are kept in a file, for archives to come:

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
    from torchgeo_cmr.errors import OutputExistsError, QueryError
    from torchgeo_cmr.search import Alignment, open_archives

    file = Path(using)
    if method is None and not file.exists():
        raise QueryError(
            f'--using {using} is not there: name maps, or make them with --method ridge'
        )
    if method is not None and method not in (*_ALONE, *_PAIRED):
        raise QueryError(
            f'--method {method} is not known: use one of {", ".join((*_ALONE, *_PAIRED))}'
        )
    for path, made in ((out, True), (using, method is not None)):
        if made and Path(path).exists() and not overwrite:
            raise OutputExistsError(
                f'{path} is there already; choose another name or add --overwrite'
            )
    tables = [open_archives([archive]).table for archive in archives]
    if method is None:
        maps = Alignment.load(file)
    else:
        maps, scores = _fitted(tables, method, seed)
        for line in scores:
            sys.stdout.write(line + '\n')
        maps.save(file, overwrite=overwrite)
        sys.stdout.write(f'{file}: {maps.name}\n')
    aligned = _together([maps.table(table) for table in tables])
    aligned.save(out, overwrite=overwrite)
    sys.stdout.write(f'{out}: {len(aligned)} rows\n')


def _together(tables: 'list[EmbeddingTable]') -> 'EmbeddingTable':
    from torchgeo_cmr.table import EmbeddingTable

    return tables[0] if len(tables) == 1 else EmbeddingTable.concat(tables)


def _fitted(
    tables: 'list[EmbeddingTable]', method: str, seed: int
) -> 'tuple[Alignment, list[str]]':
    """Fit maps on all ground, and score maps of three quarters of it on the rest."""
    from torchgeo_cmr.errors import QueryError

    sensors = _by_sensor(tables)
    if method in _PAIRED and len(sensors) != 2:
        raise QueryError(
            f'--method {method} is fitted on pairs of two sensors, found '
            f'{", ".join(sensors) or "none"}: give the archives of both, or use --method center'
        )
    maps = _fit(sensors, method, seed)
    if len(sensors) != 2:
        return maps, []
    seen, held = _split(sensors, seed)
    if any(len(table) < 2 for part in (seen, held) for table in part.values()):
        return maps, ['too little ground to hold some out: not scored']
    return maps, _scored(held, _fit(seen, method, seed))


def _by_sensor(tables: 'list[EmbeddingTable]') -> 'dict[str, EmbeddingTable]':
    """Divide tables by modality."""
    import numpy as np

    found: dict[str, list[EmbeddingTable]] = {}
    for table in tables:
        column = table.frame['modality']
        for name in column.dropna().unique():
            rows = np.flatnonzero(column == name)
            found.setdefault(str(name), []).append(table.select(rows))
    return {name: _together(parts) for name, parts in found.items()}


def _fit(sensors: 'dict[str, EmbeddingTable]', method: str, seed: int) -> 'Alignment':
    from torchgeo_cmr.search import Alignment

    if method == 'center':
        return Alignment.center(sensors.values())
    if method == 'whiten':
        return Alignment.whiten(sensors.values())
    first, second = sensors.values()
    kind: Any = method
    return Alignment.fit(first, second, kind, seed=seed)


def _split(
    sensors: 'dict[str, EmbeddingTable]', seed: int
) -> 'tuple[dict[str, EmbeddingTable], dict[str, EmbeddingTable]]':
    """Hold out a quarter of the blocks of ground, the same of both sensors."""
    import numpy as np

    from torchgeo_cmr.evaluate.blocks import cells

    blocks = {name: cells(table, _BLOCK) for name, table in sensors.items()}
    names = sorted({block for found in blocks.values() for block in found})
    number = max(1, round(_HELD_OUT * len(names)))
    drawn = np.random.default_rng(seed).permutation(len(names))[:number]
    chosen = {names[i] for i in drawn}
    held = {name: found.isin(chosen).to_numpy() for name, found in blocks.items()}
    return (
        {n: t.select(np.flatnonzero(~held[n])) for n, t in sensors.items()},
        {n: t.select(np.flatnonzero(held[n])) for n, t in sensors.items()},
    )


def _scored(held: 'dict[str, EmbeddingTable]', maps: 'Alignment') -> list[str]:
    """Give lines with recall before and after, on ground that the maps did not see."""
    from dataclasses import replace

    from torchgeo_cmr.evaluate import evaluate, same_place

    plain = {
        # Vectors of two encoders are compared here to show that they cannot be.
        name: replace(table, frame=table.frame.assign(space=None))
        for name, table in held.items()
    }
    mapped = {name: maps.table(table) for name, table in held.items()}
    lines = [
        f'{"held-out ground":<16}{"before":>10}{"after":>10}{"chance":>10}  recall@10 of one place'
    ]
    first, second = held
    for queries, archive in ((first, second), (second, first)):
        rule = same_place(held[queries], held[archive])
        comparable = held[first].dim == held[second].dim
        before = (
            evaluate(plain[queries], plain[archive], relevance=rule)
            if comparable
            else None
        )
        after = evaluate(mapped[queries], mapped[archive], relevance=rule)
        numbers = [
            None if before is None else before['recall@10'],
            after['recall@10'],
            after['chance']['recall@10'],
        ]
        words = ''.join(f'{"-" if n is None else f"{n:.3f}":>10}' for n in numbers)
        lines.append(
            f'{f"{queries}->{archive}":<16}{words}  of {after["queries"]} queries'
        )
    return lines
