"""Parse numbers, places and times of the command line."""

import re
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

from torchgeo_cmr.errors import QueryError


def numbers(word: str) -> list[float]:
    """Read numbers between commas or spaces; none if a part is not a number."""
    try:
        return [float(part) for part in word.strip('[]() ').replace(',', ' ').split()]
    except ValueError:
        return []


def area(word: str) -> str | tuple[float, ...]:
    """Read --within: a box W,S,E,N, or the path of a file, perhaps with a layer."""
    sides = numbers(word)
    if not sides or Path(word).exists():
        return word
    if len(sides) != 4:
        raise QueryError(
            f'--within {word} has {len(sides)} numbers: give W,S,E,N or a vector file'
        )
    return tuple(sides)


def place(word: str) -> tuple[tuple[float, float], float]:
    """Read --near: LON,LAT,METRES, or kilometres as 5km."""
    text, unit = word.strip().lower(), 1.0
    if text.endswith('km'):
        text, unit = text.removesuffix('km'), 1000.0
    parsed = numbers(text.removesuffix('m'))
    if len(parsed) != 3:
        raise QueryError(
            f'--near {word} is not LON,LAT,METRES: write it like 9.19,45.46,5000 or '
            '9.19,45.46,5km'
        )
    return (parsed[0], parsed[1]), parsed[2] * unit


def months(word: str) -> list[int]:
    """Read --months: 6,7,8 or 6-8, and 11-2 over the new year."""
    found: list[int] = []
    for part in word.split(','):
        first, dash, last = part.strip().partition('-')
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise QueryError(
                f'--months {word} is not a list of months: write them like 6,7,8 or 6-8'
            )
        a, b = int(first), int(last) if dash else int(first)
        if not (1 <= a <= 12 and 1 <= b <= 12):
            raise QueryError(f'--months {word}: give numbers from 1 to 12')
        found += [(a + i - 1) % 12 + 1 for i in range((b - a) % 12 + 1)]
    return found


def window(word: str) -> str | tuple[str | None, str | None]:
    """Read --during: START/END, either may be empty or two dots; or one date, as it is."""
    from torchgeo_cmr.search.where.times import read_sides

    sides = read_sides(word)
    if sides == (None, None):
        raise QueryError(f'--during {word!r} limits nothing: give a start or an end')
    return sides or word


def several(given: list[str] | None) -> list[str] | None:
    """Read an option that may be repeated, or given once with commas between."""
    if given is None:
        return None
    return [part.strip() for word in given for part in word.split(',') if part.strip()]


def condition(where: str | None, modality: list[str] | None) -> str | None:
    """Read --where and --modality as one condition."""
    if not modality:
        return where
    from torchgeo_cmr.search.where.conditions.tokens import quoted

    sensors = f'modality IN ({", ".join(map(quoted, modality))})'
    return sensors if where is None else f'({where}) AND {sensors}'


@contextmanager
def as_flags(names: Collection[str]) -> Generator[None]:
    """Name arguments as options in the errors that Python's callers see too.

    Args:
        names: Arguments that are options of the same name here.
    """
    known = re.compile(rf'\b({"|".join(names)})\b')
    try:
        yield
    except QueryError as error:
        message = known.sub(
            lambda m: ('-' if len(m[0]) == 1 else '--') + m[0].replace('_', '-'),
            str(error),
        )
        raise QueryError(message) from error
