"""The verb hash: codes of an archive, and queries turned by the same hash."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.search import Hash
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]


@pytest.mark.parametrize(
    ('kind', 'bits', 'made'),
    [
        ('sign', None, lambda table: Hash.sign(8)),
        ('lsh', 64, lambda table: Hash.lsh(8, 64, seed=3)),
        ('lsh', None, lambda table: Hash.lsh(8, 8, seed=3)),
        ('itq', 8, lambda table: Hash.itq(table, 8, seed=3)),
    ],
)
def test_codes_are_those_of_the_api(
    run: Run,
    archive: Path,
    tmp_path: Path,
    kind: str,
    bits: int | None,
    made: Callable[[EmbeddingTable], Hash],
) -> None:
    out, file = tmp_path / 'codes', tmp_path / 'hash.npz'
    words = [] if bits is None else ['--bits', bits]
    words += [] if kind == 'sign' else ['--seed', 3]
    ran = run('hash', archive, '--out', out, '--using', file, '--kind', kind, *words)
    truth = made(EmbeddingTable.load(archive))
    assert ran.code == 0
    assert ran.out == (f'{file}: {truth.name}\n{out}: 30 rows of {truth.bits} bits\n')
    codes = EmbeddingTable.load(out)
    assert codes.metric == 'hamming'
    table = truth.table(EmbeddingTable.load(archive))
    order = codes.frame['patch_id'].map(
        dict(zip(table.frame['patch_id'], range(30), strict=True))
    )
    assert (codes.vectors == table.vectors[order.to_numpy()]).all()


def test_queries_are_turned_by_the_same_hash_and_find(
    run: Run, archive: Path, asking: Path, tmp_path: Path
) -> None:
    file, codes, asked = (tmp_path / name for name in ('h.npz', 'codes', 'asked'))
    made = ['--using', file, '--kind', 'lsh', '--bits', 128]
    assert run('hash', archive, '--out', codes, *made).code == 0
    ran = run('hash', asking, '--out', asked, '--using', file)
    assert (ran.code, ran.out) == (0, f'{asked}: 3 rows of 128 bits\n')
    ran = run('search', codes, '--query', asked, '-k', 30)
    assert ran.code == 0
    rest = [line.split() for line in ran.out.splitlines()[1:]]
    hasher = Hash.load(file)
    own, other = EmbeddingTable.load(archive), EmbeddingTable.load(asking)
    bits = [np.unpackbits(hasher.codes(one.vectors), axis=1) for one in (own, other)]
    for query, name in zip(bits[1], other.frame['patch_id'], strict=True):
        differing = dict(
            zip(own.frame['patch_id'], (bits[0] != query).sum(axis=1), strict=True)
        )
        found = [differing[line[-1]] for line in rest if line[0] == name]
        assert found == sorted(differing.values())


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        ([], 'is not there: name a hash, or make one'),
        (['--kind', 'learned'], '--kind learned is not known'),
        (['--kind', 'sign', '--bits', 16], 'drop --bits'),
        (['--kind', 'lsh', '--bits', 12], '12 bits do not fill bytes'),
        (['--kind', 'itq', '--bits', 64], '64 bits cannot be learned'),
    ],
)
def test_mistakes(
    refused: Refused, archive: Path, tmp_path: Path, words: list[object], told: str
) -> None:
    out, file = tmp_path / 'codes', tmp_path / 'hash.npz'
    assert told in refused('hash', archive, '--out', out, '--using', file, *words)
    assert not out.exists()
    assert not file.exists()


def test_what_is_there_stays(
    run: Run, refused: Refused, archive: Path, tmp_path: Path
) -> None:
    out, file = tmp_path / 'codes', tmp_path / 'hash.npz'
    words = ['hash', archive, '--out', out, '--using', file]
    assert run(*words, '--kind', 'sign').code == 0
    before = file.read_bytes()
    assert f'{out} is there already' in refused(*words)
    assert f'{file} is there already' in refused(*words, '--kind', 'lsh')
    told = refused('hash', archive, '--out', 'x', '--using', file, '--bits', 8)
    assert 'add --kind' in told
    assert file.read_bytes() == before
    assert run(*words, '--kind', 'lsh', '--overwrite').code == 0
    assert file.read_bytes() != before


def test_the_same_again_after_a_stop(
    run: Run, refused: Refused, archive: Path, tmp_path: Path
) -> None:
    """Stopped when it had written the hash and not yet the codes."""
    out, file = tmp_path / 'codes', tmp_path / 'hash.npz'
    words = ['hash', archive, '--out', out, '--using', file, '--kind']
    assert run(*words, 'lsh').code == 0
    shutil.rmtree(out)
    assert f'{file} is there already' in refused(*words, 'sign')
    assert run(*words, 'lsh').code == 0
    assert out.is_dir()
