"""Errors that a user can fix.

::

    CMRError
    ├── RasterError        a raster cannot be used: no CRS, wrong bands, unreadable
    ├── AudioError         sound cannot be used: empty, cut short, no WAV, a label unspoken
    ├── PairingError       two modalities have no ground or no time in common
    ├── ArchiveError       vectors and footprints do not form a table, or not this one
    ├── OptionError        options of a task do not go with each other or with the run
    ├── QueryError         a search cannot be answered as given: k, area, time, words
    └── OutputExistsError  the output exists already and may not be replaced

Each leaf is a :class:`ValueError` or :class:`FileExistsError` as well, so callers who do
not know this module can still catch what they expect. The command line turns any of them
into one line on stderr and exit code 2.
"""

from numbers import Integral
from typing import Any, NamedTuple, get_args

__all__ = (
    'ArchiveError',
    'AudioError',
    'CMRError',
    'Finding',
    'OptionError',
    'OutputExistsError',
    'PairingError',
    'QueryError',
    'RasterError',
)


class CMRError(Exception):
    """Root of every error that torchgeo_cmr raises on purpose."""


class RasterError(CMRError, ValueError):
    """A raster cannot be used as it is: no CRS, other bands than requested, unreadable."""


class AudioError(CMRError, ValueError):
    """Sound cannot be used: empty, cut short, no WAV; or a label that nobody speaks."""


class PairingError(CMRError, ValueError):
    """Modalities share no ground, or no date within the tolerance."""


class ArchiveError(CMRError, ValueError):
    """An embedding table or archive is broken, incomplete or made by another model."""


class OptionError(CMRError, ValueError):
    """Options do not go with each other, or with the run in which they are used."""


class QueryError(CMRError, ValueError):
    """A search cannot be answered as it was given."""


class OutputExistsError(CMRError, FileExistsError):
    """An output exists already; nothing was written."""


class Finding(NamedTuple):
    """What a check of one file found.

    Args:
        file: The file, or the folder of which something is missing.
        fault: What is wrong; empty if nothing is.
        cure: What to do about it.
    """

    file: str
    fault: str = ''
    cure: str = ''


#: Largest seed of generators of 32 bits, which Lightning seeds, too.
LARGEST_SEED = 2**32 - 1


def check_seed(
    seed: object,
    error_class: type[CMRError] = OptionError,
    *,
    name: str = 'seed',
    most: int | None = None,
) -> None:
    """Refuse a seed that no generator takes.

    Args:
        seed: The seed.
        error_class: Raised.
        name: What it is called, for the message.
        most: The largest that is taken.

    Raises:
        CMRError: If it is not a whole number of at least 0, or too large.

    Examples:
        >>> check_seed(-1)
        Traceback (most recent call last):
        torchgeo_cmr.errors.OptionError: seed is -1: give a whole number of at least 0
    """
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not whole or seed < 0:
        raise error_class(f'{name} is {seed!r:.80}: give a whole number of at least 0')
    if most is not None and int(seed) > most:
        raise error_class(f'{name} is {seed}: give a whole number of at most {most}')


#: Characters of a value that a message repeats; a file of others may hold any length.
_LONGEST = 200


def check_choice(option: str, value: object, choices: Any) -> None:
    """Refuse a value that is not one of a ``Literal`` type.

    Args:
        option: Name of the option, for the message.
        value: Its value.
        choices: The ``Literal`` type.

    Raises:
        OptionError: If *value* is not one of them.

    Examples:
        >>> from typing import Literal
        >>> check_choice('kind', 'round', Literal['square', 'flat'])
        Traceback (most recent call last):
        torchgeo_cmr.errors.OptionError: kind must be 'square' or 'flat', found 'round'
    """
    known = get_args(choices)
    if value not in known:
        *names, last = map(repr, known)
        names = f'{", ".join(names)} or {last}' if names else last
        found = repr(value)
        found = found if len(found) <= _LONGEST else f'{found[:_LONGEST]}...'
        raise OptionError(f'{option} must be {names}, found {found}')
