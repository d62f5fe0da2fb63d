"""The command plan: what an archive of some size takes, before it is made."""

import json
import math
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchgeo_cmr.search import Way

_HEADS = ('way', 'disk', 'memory', 'fits', 'set up', 'a query', 'of 1 %')


def plan(
    *,
    patches: float,
    dim: int = 256,
    memory: float | None = None,
    rate: float | None = None,
    json_: bool = False,
) -> None:
    """Say what an archive of some size takes: disk, memory, time, for each way to search it.

    Bytes follow from the formats. How quickly memory is read is measured on this machine, the
    rates of building, loading and of PostgreSQL were measured with two cores (page scale.md of the
    documentation). Every way answers exactly unless it says otherwise.

        torchgeo-cmr plan --patches 1e8 --dim 256

    With the rate that embed prints, how long embedding takes too:

        torchgeo-cmr plan --patches 1e8 --dim 256 --rate 120

    The columns: disk; memory that a search without a filter reads and whether this machine (or
    --memory) holds it; time to build or load; time of one query in all rows, and where a filter
    leaves a hundredth.

    Args:
        patches: How many, such as 1e8.
        dim: Numbers of a vector; embed and info print it.
        memory: Memory of the machine that searches, in GiB; that of this one if not given.
        rate: Patches a second that are embedded, on all machines together.
        json_: Print JSON instead of a table.
    """
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import capacity

    if not 1 <= patches <= 1e15:
        raise QueryError(f'--patches {patches:g} is not a number of patches, 1 to 1e15')
    if rate is not None and not rate > 0:
        raise QueryError(f'--rate {rate:g} is not a rate; give patches a second')
    if memory is not None and not memory > 0:
        raise QueryError(f'--memory {memory:g} holds nothing; give GiB')
    held = None if memory is None else memory * 2**30
    ways = capacity(round(patches), dim, memory=held)
    embedding = None if rate is None else patches / rate
    if json_:
        facts = {'patches': round(patches), 'dim': dim, 'embedding_seconds': embedding}
        rows = [vars(way) for way in ways]
        sys.stdout.write(json.dumps({**facts, 'ways': rows}, indent=1) + '\n')
        return
    if embedding is not None:
        sys.stdout.write(f'embedding takes {_time(embedding)}\n')
    sys.stdout.write(_table(ways))


def _table(ways: 'Sequence[Way]') -> str:
    lines = [
        _HEADS,
        *(
            (
                way.name,
                _size(way.disk),
                _size(way.memory),
                'yes' if way.fits else 'no',
                _time(way.setup),
                _time(way.seconds),
                _time(way.filtered),
            )
            for way in ways
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ''.join(
        f'{line[0].ljust(widths[0])}  '
        + '  '.join(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))
        + '\n'
        for line in lines
    )


def _size(count: float) -> str:
    """Write bytes with a unit of 1,024 steps."""
    power = min(int(math.log(max(count, 1), 1024)), 5)
    return (
        f'{count / 1024**power:.3g} {("B", "KiB", "MiB", "GiB", "TiB", "PiB")[power]}'
    )


def _time(seconds: float) -> str:
    """Write a time with a fitting unit."""
    for limit, step, unit in (
        (1, 1e-3, 'ms'),
        (120, 1, 's'),
        (7200, 60, 'min'),
        (172_800, 3600, 'h'),
    ):
        if seconds < limit:
            return f'{seconds / step:.3g} {unit}'
    return f'{seconds / 86_400:.3g} days'
