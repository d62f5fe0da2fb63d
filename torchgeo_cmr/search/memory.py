"""Memory that is left to this process, and the refusal of what would not fit."""

import os
from pathlib import Path

from torchgeo_cmr.errors import QueryError

#: Bytes that are not worth a look at what is left.
_SMALL = 1 << 28
#: What to do about a result that does not fit.
FEWER = 'give a smaller k, a min_score or a narrower filter, or search for a few queries at a time'


def check_fits(size: float, what: str, cure: str) -> None:
    """Refuse what needs more memory than is left, before it is made.

    Args:
        size: Bytes that it needs.
        what: What it is, for the message.
        cure: What to do instead.

    Raises:
        QueryError: If it does not fit.
    """
    if size < _SMALL:
        return
    left = free_bytes()
    if left is not None and size > left:
        raise QueryError(
            f'{what} would need about {size / 1e9:.3g} GB of memory and {left / 1e9:.3g} GB are '
            f'left; {cure}'
        )


def free_bytes() -> int | None:
    """Say how much memory this process can still take; None where the system does not say.

    That is the least of what the machine, the container and the limit of the process leave.
    """
    found = [_of_machine(), _of_container(), _of_process()]
    return min((left for left in found if left is not None), default=None)


def _of_machine() -> int | None:
    for line in _lines('/proc/meminfo'):
        if line.startswith('MemAvailable:'):
            return int(line.split()[1]) << 10
    return None


def _of_container() -> int | None:
    limit = ''.join(_lines('/sys/fs/cgroup/memory.max')).strip()
    used = ''.join(_lines('/sys/fs/cgroup/memory.current')).strip()
    return int(limit) - int(used) if limit.isdecimal() and used.isdecimal() else None


def _of_process() -> int | None:
    if os.name != 'posix':
        return None
    import resource  # of Unix only

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = ''.join(_lines('/proc/self/statm')).split()
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return limit - int(pages[0]) * resource.getpagesize()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
