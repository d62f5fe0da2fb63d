"""Where bars are drawn: on a terminal, never into a pipe, and always for who says that it reads them."""

import io
import sys
import time
from typing import Any

import pytest

from torchgeo_cmr.progress import bars
from torchgeo_cmr.progress.bars import bar, drawing, is_drawn, steps


class Screen(io.StringIO):
    """A stderr that may be a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a terminal or a pipe in the place of stderr."""
    monkeypatch.delattr(sys, 'ps1', raising=False)

    def put(*, terminal: bool) -> Screen:
        made = Screen(terminal)
        monkeypatch.setattr(sys, 'stderr', made)
        return made

    return put


@pytest.mark.parametrize(
    ('mode', 'terminal', 'wanted', 'drawn'),
    [
        ('asked', True, True, True),
        ('asked', True, None, False),
        ('asked', True, False, False),
        ('asked', False, True, False),
        ('command', True, None, True),
        ('command', True, False, False),
        ('command', False, None, False),
        ('command', False, True, False),
        ('always', False, None, True),
        ('always', False, False, False),
        ('never', True, True, False),
    ],
)
def test_where_bars_are_drawn(
    screen: Any, mode: Any, terminal: bool, wanted: bool | None, drawn: bool
) -> None:
    screen(terminal=terminal)
    with drawing(mode):
        assert is_drawn(wanted) is drawn
    assert is_drawn(None) is False


def test_a_notebook_is_watched(screen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    screen(terminal=False)
    monkeypatch.setattr(sys, 'ps1', 'In : ', raising=False)
    assert is_drawn(True)


def test_a_bar_has_rate_and_time_left(screen: Any) -> None:
    shown = screen(terminal=True)
    with bar(4, 'patch', wanted=True) as made:
        made.update(2)
        made.set_postfix({'val_recall@10': '0.5'})
    text = shown.getvalue()
    assert '2/4 [' in text
    assert 'patch' in text
    assert 'val_recall@10=0.5' in text


def test_what_takes_less_than_two_seconds_has_no_bar(
    screen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = screen(terminal=True)
    with drawing('command'):
        assert [*steps(range(3), 'block', 'compare')] == [0, 1, 2]
        assert shown.getvalue() == ''
        monkeypatch.setattr(bars, '_DELAY', 1e-9)
        assert [*steps(range(3), 'block', 'compare')] == [0, 1, 2]
    assert 'compare' in shown.getvalue()
    assert '3/3' in shown.getvalue()


def test_short_steps_of_a_long_command_are_seen_and_leave_nothing(
    screen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = screen(terminal=True)
    monkeypatch.setattr(bars, '_DELAY', 0.3)
    with drawing('command'):
        time.sleep(0.4)
        assert [*steps(range(3), 'block', 'compare')] == [0, 1, 2]
    text = shown.getvalue()
    assert 'compare' in text
    # What it drew is wiped: the last line is empty.
    assert not text.rpartition('\n')[2].split('\r')[-2].strip()


def test_a_single_item_has_no_bar(screen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(terminal=True)
    monkeypatch.setattr(bars, '_DELAY', 1e-9)
    with drawing('command'):
        assert [*steps([1], 'block', 'compare')] == [1]
    assert shown.getvalue() == ''


def test_without_a_bar_tqdm_is_not_loaded(
    screen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen(terminal=False)
    monkeypatch.setitem(sys.modules, 'tqdm', None)
    assert [*steps(iter('ab'), 'row', 'read', 2)] == ['a', 'b']
