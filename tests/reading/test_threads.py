from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from torchgeo_cmr.reading.threads import ahead, one_early, some_early


def test_same_steps_in_the_same_order() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert list(ahead(iter([3, None, 1]), pool)) == [3, None, 1]


def test_the_next_step_runs_while_this_one_is_used() -> None:
    second = Event()

    def steps() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    with ThreadPoolExecutor(1) as pool:
        read = ahead(steps(), pool)
        assert next(read) == 1
        assert second.wait(5)
        assert next(read) == 2


def test_what_a_step_raises_comes_where_it_is_asked_for() -> None:
    def steps() -> Iterator[int]:
        yield 1
        raise OSError('disk')

    with ThreadPoolExecutor(1) as pool:
        read = ahead(steps(), pool)
        assert next(read) == 1
        with pytest.raises(OSError, match='disk'):
            next(read)


def test_each_step_is_taken_one_early() -> None:
    taken = []
    steps = one_early(taken.append(i) or i for i in range(3))
    assert next(steps) == 0
    assert taken == [0, 1]
    assert list(steps) == [1, 2]
    assert list(one_early(())) == []


def test_as_many_steps_are_taken_early_as_there_is_room_for() -> None:
    taken: list[int] = []

    def steps() -> Iterator[int]:
        for step in range(6):
            taken.append(step)
            yield step

    seen = []
    for step in some_early(steps(), [1, 1, 1, 9, 1, 1], 3):
        seen.append((step, len(taken)))
    # Three of size 1; the large one makes those before it go first.
    assert [step for step, _ in seen] == [*range(6)]
    assert [count for _, count in seen] == [3, 4, 4, 4, 6, 6]
    assert [*some_early(iter(()), [], 3)] == []
