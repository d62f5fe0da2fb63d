"""The verb duplicates: planted groups, from words to a table and a layer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest

from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]


@pytest.fixture
def twins(make: Callable[..., EmbeddingTable], tmp_path: Path) -> Path:
    """Patches 3, 8 and 20 look the same, and 5 and 6."""
    table = make()
    vectors = table.vectors.copy()
    vectors[[8, 20]], vectors[6] = vectors[3], vectors[5]
    vectors.flags.writeable = False
    return replace(table, vectors=vectors).save(tmp_path / 'twins')


def name(i: int) -> str:
    return f's2:scene.tif:0_{32 * i}_32x32'


def test_groups_as_a_table(run: Run, twins: Path) -> None:
    ran = run('duplicates', twins, '--min-score', 0.999)
    assert ran.code == 0
    assert ran.err == '5 of 30 patches look like another, in 2 groups\n'
    head, *rest = (line.split() for line in ran.out.splitlines())
    assert head == ['group', 'date', 'lon', 'lat', 'patch']
    found: dict[str, set[str]] = {}
    for line in rest:
        found.setdefault(line[0], set()).add(line[-1])
    assert list(found) == ['1', '2']
    groups = [{name(i) for i in own} for own in ((3, 8, 20), (5, 6))]
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, groups))


def test_groups_as_a_layer_behind_a_filter(
    run: Run, twins: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'same.gpkg'
    ran = run('duplicates', twins, '--where', 'cloud < 10', '--out', out)
    assert (ran.code, ran.out) == (0, f'{out}: 4 rows\n')
    layer = gpd.read_file(out, layer='footprints')
    assert layer['members'].tolist() == [2, 2, 2, 2]
    assert layer['group'].tolist() == [1, 1, 2, 2]
    assert set(layer['patch_id']) == {name(i) for i in (3, 8, 5, 6)}


def test_none(run: Run, archive: Path) -> None:
    ran = run('duplicates', archive)
    assert ran.err == '0 of 30 patches look like another, in 0 groups\n'
    assert len(ran.out.splitlines()) == 1


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--min-score', 1.5], 'min_score is 1.5'),
        (['--within', '10,50,11,51'], 'touches no footprint'),
        (['--where', 'clouds < 3'], 'clouds'),
        (['--out', 'same.xyz'], 'no writer knows'),
    ],
)
def test_mistakes(
    refused: Refused, twins: Path, words: list[object], told: str
) -> None:
    assert told in refused('duplicates', twins, *words)
