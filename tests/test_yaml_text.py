"""Settings that a parser would take for something else, or refuse without naming the file."""

from pathlib import Path

import pytest

from torchgeo_cmr.errors import OptionError, RasterError
from torchgeo_cmr.yaml_text import check_settings


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'a.yaml is empty: write sections such as data'),
        ('# nothing\n', 'a.yaml is empty'),
        ('- a\n- b\n', 'a.yaml has no sections: begin it with a name'),
        ('data\n', 'a.yaml has no sections'),
        ('data:\n\tsize: 1\n', 'a.yaml is not YAML at line 2 .*: indent with spaces'),
        ('a:\n    b: 1\n   c: 2\n', 'a.yaml is not YAML at line 3, in what begins in'),
        ("a: '1\nb: 2\n", 'at line 3, in what begins in line 1 .* a quote that is mis'),
        ('a: 1\nb: 2\na: 1\n', 'a.yaml has a twice, in lines 1 and 3: leave one out'),
        ('a:\n- {b: 1}\n- {c: 1, d: {}, c: 2}\n', 'has c twice, in lines 3 and 3'),
        ('a: \x01\n', 'a.yaml is not YAML .*: correct it'),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / 'a.yaml'
    file.write_text(text)
    with pytest.raises(RasterError, match=message):
        check_settings(file, RasterError, example='data')


@pytest.mark.parametrize(
    'text',
    [
        '{"model": {"a": 1, "b": [1, 2]}, "data": {"a": 1}}',
        'x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\nz: [*x, *x]\n',
        'a: &a\n  b: 1\n  c: *a\n',
        '1: a\n? [1, 2]\n: b\n? [1, 2]\n: c\n',
    ],
)
def test_taken(tmp_path: Path, text: str) -> None:
    file = tmp_path / 'a.yaml'
    file.write_text(text)
    check_settings(file, OptionError)
