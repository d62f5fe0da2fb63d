"""Files damaged in one place: the same answer or one of our errors, never anything else."""

import os
import random
import sys
from itertools import islice
from pathlib import Path

import fuzz
import pytest

#: How often the number of cases below; ten thousand with ``TORCHGEO_CMR_CASES=80``.
TIMES = int(os.environ.get('TORCHGEO_CMR_CASES', '1'))
#: Target -> cases.
CASES = {
    'archive': 20,
    'index': 20,
    'index_float32': 12,
    'checkpoint': 10,
    'condition': 10,
    'area_text': 10,
    'area_file': 5,
    'manifest': 10,
    'search_gpkg': 8,
    'search_geojson': 8,
    'search_fgb': 8,
    'search_parquet': 8,
}

pytestmark = pytest.mark.skipif(
    sys.platform != 'linux', reason='children are forked, with limits of Linux'
)


def test_every_target_has_cases() -> None:
    assert CASES.keys() == fuzz.TARGETS.keys()


#: Other formats of one kind, a second each.
SLOW = {'search_geojson', 'search_fgb', 'index_float32', 'area_text'}


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES]
)
def test_mutations(name: str, tmp_path: Path) -> None:
    stream = fuzz.cases(name, random.Random(name), tmp_path)
    outcomes = [
        (what, outcome) for what, outcome, _ in islice(stream, CASES[name] * TIMES)
    ]
    assert [case for case in outcomes if case[1] not in fuzz.FINE] == []
    # Damage that nobody notices would make the test one that cannot fail.
    if name in ('archive', 'index', 'index_float32', 'checkpoint'):
        assert sum(outcome == 'refused' for _, outcome in outcomes) > len(outcomes) / 2


def test_faults_are_told_apart(tmp_path: Path) -> None:
    def crash(folder: Path) -> str:
        os.kill(os.getpid(), 11)
        return str(folder)

    def fail(folder: Path) -> str:
        raise KeyError(folder.name)

    for ask, strict, outcome in (
        (lambda folder: 'yes', True, 'same'),
        (lambda folder: 'no', True, 'wrong'),
        (lambda folder: 'no', False, 'other'),
        (crash, True, 'crash by signal 11'),
        (fail, True, "raw KeyError: '"),
    ):
        target = fuzz.Target(lambda folder: None, ask, strict)
        assert fuzz.judge(target, tmp_path, 'yes').startswith(outcome)
