import multiprocessing
import pickle
import warnings

from torchgeo_cmr.datasets.cores import threads
from torchgeo_cmr.datasets.kept import Kept


def _in_child(kept: Kept, known: int, answers: 'multiprocessing.Queue[bool]') -> None:
    fresh = id(kept.blocks) != known
    answers.put(fresh and threads().submit(lambda: True).result(timeout=20))


def test_a_fork_starts_empty() -> None:
    kept = Kept()
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
    kept = Kept()
    kept.blocks.take({'a': 1})
    assert not pickle.loads(pickle.dumps(kept)).blocks._kept
