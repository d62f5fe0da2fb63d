"""From a signature to a command line."""

import re
from typing import Any

import pytest

from torchgeo_cmr.cli.commands import load_command
from torchgeo_cmr.cli.parser import build, call, words
from torchgeo_cmr.cli.signature import read_arguments
from torchgeo_cmr.main import VERBS


def verb(
    places: list[str],
    *,
    name: str,
    k: int = 10,
    share: float = 0.5,
    box: str | None = None,
    more_than: list[str] | None = None,
    loud: bool = False,
    tidy: bool = True,
) -> None:
    """Do something.

    Like this:
    prog verb --name x

    Args:
        places: Where, up to 100 %.
        name: Who.
        k: How many.
        share: How much.
        box: W,S,E,N.
        more_than: Again
            and again.
        loud: Shout.
        tidy: Clean up.
    """
    seen.update(locals())


seen: dict[str, Any] = {}


def read(*words: str) -> dict[str, Any]:
    seen.clear()
    call(verb, words, prog='prog verb')
    return dict(seen)


def test_defaults_come_from_the_signature() -> None:
    assert read('a', '--name', 'x') == {
        'places': ['a'],
        'name': 'x',
        'k': 10,
        'share': 0.5,
        'box': None,
        'more_than': None,
        'loud': False,
        'tidy': True,
    }


def test_every_kind_of_argument() -> None:
    words = 'a b --name x -k 3 --share .25 --loud --no-tidy --more-than p --more-than q'
    assert read(*words.split()) == {
        'places': ['a', 'b'],
        'name': 'x',
        'k': 3,
        'share': 0.25,
        'box': None,
        'more_than': ['p', 'q'],
        'loud': True,
        'tidy': False,
    }


@pytest.mark.parametrize(
    'value',
    [
        '-98.5,29.5',  # San Antonio
        '-98.6,29.3,-98.4,29.5',
        '-.5,3',
        '-98.5, 29.5',
        '-1',
    ],
)
def test_a_place_is_a_value_and_no_flag(value: str) -> None:
    assert read('a', '--name', 'x', '--box', value)['box'] == value
    assert read('a', '--name', 'x', f'--box={value}')['box'] == value
    assert read('a', '--name', value)['name'] == value
    assert read('a', '--name', 'x', '--more-than', value)['more_than'] == [value]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--name x', 'the following arguments are required: PLACES'),
        ('a', 'the following arguments are required: --name'),
        ('a --name x -k ten', "invalid int value: 'ten'"),
        ('a --name x -k 2.5', "invalid int value: '2.5'"),
        ('a --name x --nothing', 'unrecognized arguments: --nothing'),
        ('a --name x --lou', 'unrecognized arguments: --lou'),
        ('a --name', 'expected one argument'),
        ('a --name x --loud=1', "ignored explicit argument '1'"),
    ],
)
def test_a_mistake_is_one_line(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        read(*words.split())
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert line.startswith('prog verb: ')
    assert line.endswith('prog verb --help explains')
    assert not seen


def test_a_filter_has_one_value(capsys: pytest.CaptureFixture[str]) -> None:
    # Of other options the last one counts.
    assert read('a', '--name', 'x', '-k', '3', '--k=4', '--name=x')['k'] == 4
    twice = ['archive', '--where', 'a < 1', '--filter', 'b < 2']
    parser = build(load_command('search'), 'search', explained=False)
    for _ in range(2):  # nothing is left of the call before
        again = [*twice[:3], *twice[1:3]]
        assert parser.parse_args(again).where == 'a < 1'
        with pytest.raises(SystemExit, match='2'):
            parser.parse_args(twice)
        said = "has 'a < 1' and 'b < 2': join conditions with and"
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    'name', [n for n, (m, _) in VERBS.items() if m != 'fit_command']
)
def test_an_empty_word_is_no_value(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    # What "$AREA" is in a script, if nobody has set it.
    function = load_command(name)
    for argument in read_arguments(function, explained=False):
        if argument.kind is not str:
            continue
        for word in ('', ' '):
            given = [word] if argument.positional else [argument.flag, word]
            with pytest.raises(SystemExit, match='2'):
                build(function, name, explained=False).parse_args(given)
            empty = 'its value is empty: leave it out' in capsys.readouterr().err
            assert empty == (argument.name not in {'time_column', 'id_column'})


def test_help_is_the_docstring() -> None:
    told = ' '.join(build(verb, 'prog verb').format_help().split())
    assert 'Like this: prog verb --name x' in told
    assert 'Where, up to 100 %.' in told
    assert '--more-than MORE_THAN Again and again.' in told
    # Python 3.13 gives the value once.
    assert re.search(r'-k( K)?, --k K How many\. \(default: 10\)', told)
    assert '--tidy, --no-tidy' in told
    assert 'None' not in told


@pytest.mark.parametrize('name', [n for n in VERBS if VERBS[n][0] != 'fit_command'])
def test_every_verb_explains_every_argument(name: str) -> None:
    function = load_command(name)
    parser = build(function, f'torchgeo-cmr {name}')
    actions = {a.dest: a for a in parser._actions if a.dest != 'help'}
    assert set(actions) == {a.name for a in read_arguments(function)}
    assert all(action.help for action in actions.values())
    # An example to copy stands in every help.
    assert f'torchgeo-cmr {name} ' in (parser.description or '')
    assert max(map(len, parser.format_help().splitlines())) <= 100


@pytest.mark.parametrize(
    'given',
    [
        ['a', '--name', 'x'],
        ['a', 'b c', '--name', 'ä "quoted" \'word\'', '-k', '3', '--share', '0.25'],
        ['a', '--name=-x', '--box', '-98.6,29.3,-98.4,29.5', '--loud', '--no-tidy'],
        ['a', '--name', '=', '--more-than', 'x', '--more-than=--y', '-k', '-1'],
        ['--name', 'x', '--', '-a', '--b'],
    ],
)
def test_words_are_the_way_back(given: list[str]) -> None:
    arguments = read(*given)
    again = words(verb, arguments)
    assert read(*again) == arguments


def test_words_leave_out_what_is_the_default() -> None:
    arguments = read('a', '--name', 'x', '-k', '10', '--tidy')
    assert words(verb, arguments) == ['a', '--name', 'x']
