import threading

import pytest

from torchgeo_cmr.datasets.handles import Handles


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
