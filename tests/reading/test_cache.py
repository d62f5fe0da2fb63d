import multiprocessing
import pickle
import threading
import warnings
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.reading.cache import Block, Blocks, Cache, Handles, touched, unit
from torchgeo_cmr.reading.nodata import Mark, missing
from torchgeo_cmr.reading.threads import threads


def ask(blocks: Blocks, keys: Sequence[int], size: int = 10) -> list[int]:
    """Ask for blocks; return which of them had to be decoded."""
    decoded = []

    def decode(key: int) -> np.ndarray:
        decoded.append(key)
        return np.array([key])

    found = blocks.take(dict.fromkeys(keys, size))
    for key, block in zip(keys, found, strict=True):
        assert block.pixels(lambda key=key: decode(key)).tolist() == [key]
    return decoded


def test_a_block_is_decoded_once_while_in_use() -> None:
    blocks = Blocks(1000)
    assert ask(blocks, [1, 2, 3]) == [1, 2, 3]
    assert ask(blocks, [2, 3, 4]) == [4]


def test_a_failure_is_not_kept() -> None:
    block = Block(4)

    def fails() -> np.ndarray:
        raise OSError('cut short')

    with pytest.raises(OSError, match='cut short'):
        block.pixels(fails)
    assert block.pixels(lambda: np.ones(1)).tolist() == [1]


def test_a_block_is_searched_for_missing_pixels_once_for_each_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched = []

    def look(pixels: np.ndarray, marks: Any) -> Any:
        searched.append(marks)
        return missing(pixels, marks)

    monkeypatch.setattr('torchgeo_cmr.reading.cache.missing', look)
    block = Block(4)
    assert not block.decoded
    block.pixels(lambda: np.array([[[1, 2], [3, 0]]], np.uint16))
    assert block.decoded
    zero, nine = [(Mark(0, 0),)], [(Mark(9, 9),)]
    for _ in range(3):
        assert not block.is_whole(zero)
        assert block.is_whole(nine)
        assert block.is_whole([()])
    assert searched == [zero, nine]


def test_going_through_once_keeps_what_two_requests_touch() -> None:
    blocks = Blocks(10**6)
    for first in range(0, 400, 4):
        ask(blocks, range(first, first + 4))
    assert blocks._size <= 2 * 4 * 10


def test_blocks_that_come_back_are_given_more_room() -> None:
    blocks = Blocks(10**6)
    decoded = [len(ask(blocks, [key])) for _ in range(8) for key in range(7)]
    assert sum(decoded[:7]) == 7
    assert sum(decoded[-14:]) == 0


def test_the_limit_holds_and_what_is_needed_next_stays() -> None:
    blocks = Blocks(40)
    for key in [1, 2, 3, 4, 1, 2, 3, 4]:
        ask(blocks, [key])
    assert blocks._size <= 40
    # 1 is the oldest and needed with 5: 2 must make way
    ask(blocks, [1, 2, 3, 4])
    assert ask(blocks, [5, 1]) == [5]
    assert blocks._size <= 40


def test_little_is_remembered_of_a_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torchgeo_cmr.reading.cache._REMEMBERED', 8)
    blocks = Blocks(40)
    for key in range(100):
        ask(blocks, [key])
    assert len(blocks._gone) <= 9


def test_blocks_too_large_to_keep_do_not_fit() -> None:
    assert Blocks(40).fit(10)
    assert not Blocks(40).fit(11)


@pytest.mark.parametrize(
    ('block', 'together'),
    [((512, 512), (512, 512)), ((1, 5000), (64, 5000)), ((100, 128), (100, 256))],
)
def test_small_blocks_are_decoded_together(
    block: tuple[int, int], together: tuple[int, int]
) -> None:
    assert unit(block) == together


def test_touched_blocks_are_those_that_hold_a_pixel_of_a_window() -> None:
    rng = np.random.default_rng(0)
    shape, size = (70, 50), (16, 12)
    windows = np.c_[rng.integers(-20, 80, (60, 2)), np.tile((9, 9), (60, 1))]
    found = touched(windows, shape, size)
    expected: dict[tuple[int, int], list[int]] = {}
    for i, (top, left, height, width) in enumerate(windows.tolist()):
        pixels = product(range(top, top + height), range(left, left + width))
        inside = [(r, c) for r, c in pixels if 0 <= r < 70 and 0 <= c < 50]
        for place in {(r // 16 * 16, c // 12 * 12) for r, c in inside}:
            expected.setdefault(place, []).append(i)
    assert found == expected
    assert list(found) == sorted(found)


class File:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_a_handle_is_lent_again_and_never_twice_at_once() -> None:
    handles = Handles()
    with handles.borrow('a', File) as first, handles.borrow('a', File) as second:
        assert first is not second
    with handles.borrow('a', File) as third:
        # the one given back last has the blocks that were decoded last
        assert third is first


def test_those_used_longest_ago_are_closed() -> None:
    handles = Handles(limit=2)
    files = []
    for name in 'abc':
        with handles.borrow(name, File) as file:
            files.append(file)
    assert [file.closed for file in files] == [True, False, False]
    with handles.borrow('a', File) as file:
        assert file is not files[0]


def test_a_failed_read_gives_the_handle_back() -> None:
    handles = Handles()
    with pytest.raises(OSError, match='cut short'), handles.borrow('a', File) as file:
        raise OSError('cut short')
    with handles.borrow('a', File) as again:
        assert again is file


def test_many_threads_share() -> None:
    handles, lent, twice = Handles(), set(), []

    def work() -> None:
        for _ in range(300):
            with handles.borrow('a', File) as file:
                if id(file) in lent:
                    twice.append(file)
                lent.add(id(file))
                lent.discard(id(file))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not twice
    assert sum(map(len, handles._waiting.values())) <= 4


def _in_child(kept: Cache, known: int, answers: 'multiprocessing.Queue[bool]') -> None:
    fresh = id(kept.blocks) != known
    answers.put(fresh and threads().submit(lambda: True).result(timeout=20))


def test_a_fork_starts_empty() -> None:
    kept = Cache()
    known = id(kept.blocks)
    assert threads().submit(lambda: 1).result() == 1
    context = multiprocessing.get_context('fork')
    answers = context.Queue()
    child = context.Process(target=_in_child, args=(kept, known, answers))
    with warnings.catch_warnings():
        # Python warns of forking with threads, which is what is tested.
        warnings.simplefilter('ignore', DeprecationWarning)
        child.start()
    assert answers.get(timeout=30)
    child.join()
    assert id(kept.blocks) == known


def test_a_copy_starts_empty() -> None:
    kept = Cache()
    kept.blocks.take({'a': 1})
    assert not pickle.loads(pickle.dumps(kept)).blocks._kept
