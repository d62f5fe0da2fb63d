"""A pipe where a file of an archive or an index is expected is refused, and never waited for."""

import os
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.export import read_manifest
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.speech import read_labels
from torchgeo_cmr.table import EmbeddingTable


def read_archive(folder: Path, _: EmbeddingTable) -> None:
    EmbeddingTable.load(folder)


def search(folder: Path, table: EmbeddingTable) -> None:
    RetrievalIndex(folder).search(table.select([0]), 1)


def test_a_pipe_in_an_archive_or_index_is_refused(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {'patch_id': [*'abc'], 'source': 'x'},
        geometry=shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1),
        crs=4326,
    )
    table = EmbeddingTable.from_frame(
        frame, np.eye(3, 4, dtype=np.float32), space='x', modality='s2'
    )
    archive = table.save(tmp_path / 'archive')
    RetrievalIndex.build(archive, tmp_path / 'index')
    files = [
        path
        for folder in ('archive', 'index')
        for path in sorted((tmp_path / folder).rglob('*'))
        if path.is_file()
    ]
    assert len(files) > 5
    for number, file in enumerate(files):
        copied = tmp_path / f'copy-{number}'
        folder = tmp_path / file.relative_to(tmp_path).parts[0]
        shutil.copytree(folder, copied)
        place = copied / file.relative_to(folder)
        place.unlink()
        os.mkfifo(place)
        opening = read_archive if folder.name == 'archive' else search
        with pytest.raises(CMRError):
            opening(copied, table)


def test_a_pipe_as_a_manifest_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'hits.json')
    with pytest.raises(CMRError, match=r'hits\.json is a named pipe and not a file'):
        read_manifest(tmp_path / 'hits.json')


def test_a_pipe_of_labels_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'labels.txt')
    with pytest.raises(CMRError, match=r'labels\.txt is a named pipe and not a file'):
        read_labels([str(tmp_path / 'labels.txt')])
