"""The command plan."""

import json
from collections.abc import Callable
from typing import Any

import pytest

type Run = Callable[..., Any]


@pytest.mark.slow
def test_table_names_every_way(run: Run) -> None:
    words = '--patches', '1e8', '--rate', '100', '--memory', '16'
    lines = run('plan', *words).out.splitlines()
    assert lines[0] == 'embedding takes 11.6 days'
    assert lines[1].split() == [
        'way',
        'disk',
        'memory',
        'fits',
        'set',
        'up',
        'a',
        'query',
        'of',
        '1',
        '%',
    ]
    assert len({len(line) for line in lines[1:]}) == 1
    assert any(line.startswith('PostgreSQL') and ' no ' in line for line in lines)


def test_json_holds_plain_numbers(run: Run) -> None:
    facts = json.loads(run('plan', '--patches', '1000', '--dim', '64', '--json').out)
    assert (facts['patches'], facts['dim']) == (1000, 64)
    assert facts['embedding_seconds'] is None
    assert {way['fits'] for way in facts['ways']} == {True}


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (('--patches', '0'), 'is not a number of patches'),
        (('--patches', 'nan'), 'is not a number of patches'),
        (('--patches', '1e300'), 'is not a number of patches'),
        (('--patches', '5', '--rate', '0'), 'is not a rate'),
        (('--patches', '5', '--memory', '-1'), 'give GiB'),
        (('--patches', '5', '--dim', '0'), 'at least one of each'),
    ],
)
def test_nonsense_is_refused(
    refused: Callable[..., str], words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refused('plan', *words)
