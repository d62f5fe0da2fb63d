"""Cores that this process may use."""

import os


def cores() -> int:
    """Count the cores that this process may use: with torchrun its share of the machine's."""
    present = os.cpu_count() or 1
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        found = present
    ranks = _ranks()
    # Whoever binds ranks to cores has divided them already.
    return found if found * ranks <= present else max(1, found // ranks)


def _ranks() -> int:
    """Processes of a torchrun on this machine; 1 without it."""
    word = os.environ.get('LOCAL_WORLD_SIZE', '1')
    return max(1, int(word)) if word.isascii() and word.isdecimal() else 1
