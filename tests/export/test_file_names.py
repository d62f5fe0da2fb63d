"""Words of foreign files make names, never paths."""

from pathlib import Path

import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.file_names import safe_name

HOSTILE = [
    *(
        '..',
        '.',
        '../x',
        '/etc/passwd',
        '..\\x',
        'C:\\x',
        'c:x',
        'a/b',
        'a\\b',
        '//h/s',
    ),
    *(
        'a\0b',
        'a\nb',
        '\x1b[2J',
        '\u202egpj',
        '\ud800',
        '-rf',
        '~',
        '*?',
        '|x',
        'x' * 5000,
    ),
    *(
        'é' * 300,
        'CON',
        'nul.txt',
        'com1',
        '.hidden',
        'end.',
        'end ',
        '%2e%2e%2f',
        '$(id)',
    ),
]


def test_hostile_words_stay_in_the_folder(tmp_path: Path) -> None:
    names = {word: safe_name(word) for word in HOSTILE}
    assert len({*names.values()}) == len(HOSTILE)
    for name in names.values():
        file = tmp_path / f'001_{name}.tif'
        assert file.resolve().parent == tmp_path.resolve()
        assert len(name.encode()) <= 100
        assert not name.startswith('.')
        assert not set(name) & set('/\\:*?"<>|\0 ')
        assert name.isprintable()
        file.write_bytes(b'')
    assert len([*tmp_path.iterdir()]) == len(HOSTILE)


@pytest.mark.parametrize('word', ['s2', 'sentinel-1', 'Größe_2.b', 'x+y'])
def test_usual_words_stay(word: str) -> None:
    assert safe_name(word) == word


@pytest.mark.parametrize('word', ['', ' \n', None, 3, float('nan')])
def test_what_is_no_word_is_refused(word: object) -> None:
    with pytest.raises(
        QueryError, match=r'modality .* cannot become part of a file name'
    ):
        safe_name(word, 'modality')
