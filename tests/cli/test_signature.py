"""Groups of options: dataclasses of a command, flat on the command line."""

from dataclasses import dataclass
from typing import Any

import pytest

from torchgeo_cmr.cli.parser import build, call, words
from torchgeo_cmr.cli.signature import gather, read_arguments, spread


@dataclass(frozen=True, kw_only=True)
class Base:
    """Paint: how it is coloured.

    Args:
        colour: A colour.
        coats: How many coats.
    """

    colour: str | None = None
    coats: int = 1


@dataclass(frozen=True, kw_only=True)
class Paint(Base):
    """Paint: how it is coloured, in detail.

    Args:
        coats: How many coats, at least one.
        gloss: Whether it shines.
    """

    gloss: bool = False


def decorate(rooms: list[str], *, paint: Paint, quiet: bool = False) -> None:
    """Decorate rooms.

    Two rooms in one colour, with a very long sentence before the example that is wrapped:

        prog decorate hall attic --colour red

    Args:
        rooms: Names of rooms.
        quiet: Print nothing.
    """
    seen.update(locals())


seen: dict[str, Any] = {}


def test_fields_are_options_and_come_back_as_the_dataclass() -> None:
    seen.clear()
    call(decorate, ['hall', '--gloss', '--coats', '2'], prog='prog')
    assert seen == {
        'rooms': ['hall'],
        'paint': Paint(coats=2, gloss=True),
        'quiet': False,
    }
    assert words(decorate, seen) == ['hall', '--coats', '2', '--gloss']


def test_a_subclass_adds_fields_and_may_explain_one_again() -> None:
    helps = {a.name: a.help for a in read_arguments(decorate)}
    assert helps['colour'] == 'A colour.'
    assert helps['coats'] == 'How many coats, at least one.'
    titles = {a.name: a.group for a in read_arguments(decorate)}
    assert titles['gloss'] == titles['colour'] == 'Paint: how it is coloured, in detail'
    assert titles['rooms'] == ''


def test_spread_is_the_way_back_from_gather() -> None:
    values = {'rooms': ['a'], 'colour': 'red', 'coats': 3, 'gloss': True, 'quiet': True}
    positional, options = gather(decorate, values)
    assert positional == [['a']]
    assert spread({'rooms': ['a'], **options}) == values


def test_help_has_groups_and_keeps_the_lines_of_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('COLUMNS', '60')
    lines = build(decorate, 'prog decorate').format_help().splitlines()
    assert lines[0] == 'usage: prog decorate ROOMS ... [options]'
    assert '    prog decorate hall attic --colour red' in lines
    assert 'Paint: how it is coloured, in detail:' in lines
    assert max(map(len, lines)) <= 60
