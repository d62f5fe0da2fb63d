"""Damaged index files: the same answer or one of our errors, and what `check` names."""

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError, CMRError, OutputExistsError
from torchgeo_cmr.search import RetrievalIndex, Where, arrow_check

type Make = Callable[..., Any]

#: Mutations of each kind of index; a thousand with ``TORCHGEO_CMR_CASES=1000``.
CASES = int(os.environ.get('TORCHGEO_CMR_CASES', '60'))


def answer(folder: Path) -> Any:
    index = RetrievalIndex.open(folder)
    hits = index.search(np.ones(16), 5)
    # The area crosses footprints, which are read.
    found, scores = index.rank(np.ones(16), 5, Where((-5, -5, 10.05, 45.02)))
    rows = hits[['patch_id', 'score', 'source']].to_numpy().tolist()
    return rows, found.tolist(), scores.tolist()


def mutate(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    place = draw.randrange(len(content))
    kind = draw.choice(('bit', 'bytes', 'cut', 'zeros'))
    if kind == 'bit':
        content[place] ^= 1 << draw.randrange(8)
    elif kind == 'bytes':
        content[place : place + 4] = draw.randbytes(4)
    elif kind == 'zeros':
        content[place : place + 64] = bytes(len(content[place : place + 64]))
    else:
        del content[place:]
    file.write_bytes(content)


@pytest.mark.parametrize('vectors', ['float32', 'int8'])
def test_one_place_mutations(make: Make, tmp_path: Path, vectors: str) -> None:
    whole = tmp_path / 'whole'
    RetrievalIndex.build(make(300), whole, vectors=vectors, approximate='ivf')
    expected = answer(whole)
    draw = random.Random(0)
    files = sorted(f.relative_to(whole) for f in whole.rglob('*') if f.is_file())
    for number in range(CASES):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        file = draw.choice(files)
        mutate(folder / file, draw)
        with suppress(CMRError):
            assert answer(folder) == expected, file
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda h: h['segments'][0].update(rows='60'), 'Expected `int`, got `str`'),
        (lambda h: h['segments'][0].pop('name'), 'missing required field `name`'),
        (lambda h: h.update(segments=3), 'Expected `array`, got `int`'),
        (lambda h: h['segments'][0].update(name='../segment-0'), 'is not possible'),
        (lambda h: h['segments'][0].update(dead='/etc/passwd'), 'is not possible'),
        (lambda h: h['segments'][0].update(vectors='float8'), 'is not possible'),
        (lambda h: h['segments'][0].update(content='zz'), 'is not possible'),
    ],
)
def test_headers_of_another_shape(
    make: Make, tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    RetrievalIndex.build(make(60), tmp_path / 'i')
    file = tmp_path / 'i/index.json'
    header = json.loads(file.read_text())
    change(header)
    file.write_text(json.dumps(header))
    with pytest.raises(ArchiveError, match=message):
        RetrievalIndex.open(tmp_path / 'i')


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":' * 100_000, '', '\x00', '[]'])
def test_headers_that_are_no_object(make: Make, tmp_path: Path, text: str) -> None:
    RetrievalIndex.build(make(5), tmp_path / 'i')
    (tmp_path / 'i/index.json').write_text(text)
    with pytest.raises(ArchiveError, match=r'index\.json is broken'):
        RetrievalIndex.open(tmp_path / 'i')


class TestReplacing:
    """Nothing is removed but what an index wrote."""

    def test_a_folder_of_somebody_else(self, make: Make, tmp_path: Path) -> None:
        site = tmp_path / 'site'
        (site / 'src').mkdir(parents=True)
        (site / 'index.json').write_text('{"name": "my web page"}')
        (site / 'thesis.docx').write_text('years')
        with pytest.raises(OutputExistsError, match='is not an index'):
            RetrievalIndex.build(make(5), site, overwrite=True)
        assert (site / 'thesis.docx').read_text() == 'years'

    @pytest.mark.parametrize(
        'name', ['NOTES.txt', 'segment-notes.txt', 'segment-0/mine.txt', 'dead-x.npy']
    )
    def test_a_note_in_an_index(self, make: Make, tmp_path: Path, name: str) -> None:
        index = RetrievalIndex.build(make(5), tmp_path / 'i')
        (tmp_path / 'i' / name).write_text('mine')
        with pytest.raises(OutputExistsError, match=f'also holds {name}'):
            RetrievalIndex.build(make(9), tmp_path / 'i', overwrite=True)
        # A change of the index keeps it, too.
        index.delete('p0003')
        assert (tmp_path / 'i' / name).read_text() == 'mine'

    def test_a_link_out_of_an_index(self, make: Make, tmp_path: Path) -> None:
        RetrievalIndex.build(make(5), tmp_path / 'i')
        (tmp_path / 'other').mkdir()
        (tmp_path / 'i/segment-7').symlink_to(tmp_path / 'other')
        with pytest.raises(OutputExistsError, match='also holds segment-7'):
            RetrievalIndex.build(make(9), tmp_path / 'i', overwrite=True)


def test_offsets_are_checked_before_they_are_followed() -> None:
    words = pa.array(['a', None, 'bcd', ''], pa.large_string())
    lists = pa.array([['x', 'yy'], None, [], ['z']], pa.list_(pa.string()))
    table = pa.table({'words': words, 'lists': lists, 'n': [1, 2, 3, 4]})
    rows = np.array([2, 0, 3])
    assert arrow_check.take(table, rows).equals(table.take(pa.array(rows)))
    for offsets in ([0, 1, 1, 1 << 40, 4], [0, 1, -5, 4, 4], [0, 3, 1, 4, 4]):
        buffers = [None, pa.py_buffer(np.array(offsets, np.int64)), words.buffers()[2]]
        broken = pa.table(
            {'words': pa.Array.from_buffers(pa.large_string(), 4, buffers)}
        )
        with pytest.raises(ArchiveError, match='column words of the index is broken'):
            arrow_check.take(broken, np.arange(4))
        with pytest.raises(ArchiveError, match='column words of the index is broken'):
            arrow_check.check(broken.column('words'), 'words')


@pytest.mark.parametrize('start', [0, 3])
def test_bytes_of_a_few_rows_are_those_that_arrow_gives(start: int) -> None:
    values = [None, b'', b'abc', b'x' * 300, None, b'de', b'', None, b'f', b'gh', None]
    array = pa.array(values, pa.large_binary())[start:]
    few = arrow_check.Binary(array, 'geometry')
    for rows in ([], [0], [7, 1, 1, 4, 0, 6], list(range(len(array)))):
        place = np.array(rows, dtype=np.int64)
        assert few.take(place).tolist() == array.take(pa.array(place)).to_pylist()
    nothing = pa.array([None, None], pa.large_binary())
    assert arrow_check.Binary(nothing, 'g').take(np.arange(2)).tolist() == [None, None]


@pytest.mark.parametrize('offsets', [(0, 1 << 40, 3), (0, -5, 2), (0, 2, 1)])
def test_bytes_of_a_few_rows_lie_where_the_values_are(offsets: tuple[int, ...]) -> None:
    buffers = [None, pa.py_buffer(np.array(offsets, np.int64)), pa.py_buffer(b'abc')]
    array = pa.Array.from_buffers(pa.large_binary(), 2, buffers)
    with pytest.raises(ArchiveError, match='column geometry of the index is broken'):
        arrow_check.Binary(array, 'geometry').take(np.arange(2))


def test_footprints_of_few_rows_and_of_many_are_the_same(make: Make) -> None:
    index = RetrievalIndex.build(make(600))
    columns = index._state.parts[0].columns
    many = columns.footprints(np.arange(600))
    few = [columns.footprints(np.arange(i, i + 100)) for i in range(0, 600, 100)]
    assert shapely.equals_exact(many, np.concatenate(few)).all()
