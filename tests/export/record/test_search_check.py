"""What a check of a saved search finds."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest

from torchgeo_cmr.export import to_geopackage, verify_search, write, write_manifest


def faults(path: Path) -> list[tuple[str, str]]:
    return [(Path(f.file).name, f.fault) for f in verify_search(path) if f.fault]


def test_a_geopackage(
    hits: gpd.GeoDataFrame, record_of: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / 'hits.gpkg'
    record = record_of(results=hits)
    to_geopackage(hits, path, record=record)
    manifest = write_manifest(record, tmp_path / 'hits.json')
    assert [Path(f.file).name for f in verify_search(path)] == [
        'hits.gpkg',
        'hits.json',
    ]
    assert faults(path) == []
    write_manifest({**record, 'k': 17}, manifest, overwrite=True)
    assert faults(path) == [('hits.json', 'it is not of the search in hits.gpkg')]
    manifest.write_text('{')
    ((name, fault),) = faults(path)
    assert name == 'hits.json'
    assert 'cannot be read as a manifest' in fault
    manifest.unlink()
    content = bytearray(path.read_bytes())
    content[8192:12288] = bytes(4096)  # a page
    path.write_bytes(content)
    ((name, fault),) = faults(path)
    assert name == 'hits.gpkg'


@pytest.mark.parametrize('name', ['hits.geojson', 'hits.fgb', 'hits.parquet'])
def test_other_formats(hits: gpd.GeoDataFrame, tmp_path: Path, name: str) -> None:
    write(hits, tmp_path / name)
    assert faults(tmp_path / name) == []
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert [file for file, _ in faults(tmp_path / name)] == [name]


@pytest.mark.skipif(sys.platform != 'linux', reason='names of files are text elsewhere')
@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.fgb', '.parquet'])
def test_a_name_that_is_not_utf8_is_no_damage(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / os.fsdecode(b'caf\xe9' + suffix.encode())
    path.write_bytes(b'whatever it holds')
    (finding,) = verify_search(path)
    assert finding.fault == rf"the name 'caf\udce9{suffix}' is not UTF-8"
    assert finding.cure.startswith('it may be whole: rename that file')
