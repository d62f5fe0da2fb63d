"""Freed memory that stays with the process, where arrays of some MiB come and go."""

import numpy as np

#: Just below the largest size from which the C library of Linux learns.
_LEARNT = 2**25 - 2**16


def keep() -> None:
    """Let the C library keep up to 64 MiB of what is freed, in place of giving it back at once.

    Given back, each page must be made anew by the system when memory is taken again, which took a
    tenth to a third of the time of a search. glibc keeps twice the size of the largest
    array that was freed, from arrays of less than 32 MiB; one that is never touched takes no
    memory and no time. Other libraries are not affected.
    """
    np.empty(_LEARNT, dtype=np.uint8)
