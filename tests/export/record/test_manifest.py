"""The manifest: written, read back, refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import compare_records, read_manifest, write_manifest

Build = Callable[..., dict[str, Any]]


def test_manifest_read_back(record_of: Build, tmp_path: Path) -> None:
    record = record_of()
    path = write_manifest(record, tmp_path / 'hits.json')
    read = read_manifest(path)
    assert read == {name: value for name, value in record.items() if name != 'scenes'}
    assert compare_records(record, read) == (True, [])
    with pytest.raises(OutputExistsError, match='is there already'):
        write_manifest(record, path)
    with pytest.raises(QueryError, match='cannot be written as JSON'):
        write_manifest({'x': object()}, tmp_path / 'x.json')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'cannot be read as a manifest'),
        ('{', 'cannot be read as a manifest'),
        ('[]', 'is not a manifest of a search; name the .json'),
        ('{"format": "other"}', 'is not a manifest of a search'),
        (
            '{"format": "torchgeo_cmr.search", "version": 2}',
            'has format version 2, written by a newer torchgeo_cmr',
        ),
    ],
)
def test_no_manifest(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / 'a.json'
    if text is not None:
        path.write_text(text)
    with pytest.raises(QueryError, match=message):
        read_manifest(path)
