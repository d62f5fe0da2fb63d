"""Contact sheets: panels asked for, frames in the picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import PatchReader, to_sheet
from torchgeo_cmr.export.pictures.sheet import FRAMES
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., EmbeddingTable]


def holds(picture: np.ndarray, colour: str) -> int:
    return int((np.abs(picture[..., :3] - to_rgb(colour)).max(axis=-1) < 0.01).sum())


@pytest.fixture
def asked() -> tuple[list[tuple[str, str]], Callable[[pd.Series, str], np.ndarray]]:
    """Give a reader that notes what it was asked for."""
    calls: list[tuple[str, str]] = []

    def read(row: pd.Series, modality: str) -> np.ndarray:
        calls.append((row['patch_id'], modality))
        return np.full((8, 8, 3), 0.2)

    return calls, read


@pytest.mark.slow
def test_panels_and_frames(
    make: Make,
    hits: gpd.GeoDataFrame,
    tmp_path: Path,
    asked: tuple,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, read = asked
    figures: list[Figure] = []
    draw = Figure.savefig

    def keep(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        draw(self, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', keep)
    hits['relevant'] = pd.array([True, False, None] * 2, dtype='boolean')
    queries = make('s1', 2)
    assert (
        to_sheet(hits, tmp_path / 'a.png', queries=queries, read=read, max_hits=3)
        == tmp_path / 'a.png'
    )
    # Two queries x two sensors x (one query + three hits), the query's sensor first.
    assert len(calls) == 2 * 2 * 4
    first = hits[hits['rank'] == 1]['patch_id'].iloc[0]
    query = queries.frame['patch_id'].iloc[0]
    assert calls[:2] == [(query, 's1'), (first, 's1')]
    assert calls[4:6] == [(query, 's2'), (first, 's2')]
    assert sum(len(axis.images) for axis in figures[0].axes) == 16
    titles = [axis.get_title() for axis in figures[0].axes if axis.get_title()]
    assert len(titles) == 8
    assert titles[0].splitlines() == ['query', '2024-06-01', 's1.tif']
    assert titles[1].splitlines() == [
        f'1   {hits["score"].iloc[0]:.3f} ✓',
        '2024-06-01',
        's2.tif',
    ]
    assert (tmp_path / 'a.png').read_bytes()[:8] == b'\x89PNG\r\n\x1a\n'
    picture = imread(tmp_path / 'a.png')
    for colour, *_ in FRAMES.values():
        assert holds(picture, colour) > 500


@pytest.mark.slow
def test_frames_follow_relevance(
    make: Make, hits: gpd.GeoDataFrame, tmp_path: Path, asked: tuple
) -> None:
    counts = {}
    for relevant in (True, False, None):
        hits['relevant'] = pd.array([relevant] * 6, dtype='boolean')
        path = to_sheet(
            hits, tmp_path / f'{relevant}.png', queries=make('s1', 2), read=asked[1]
        )
        counts[relevant] = {key: holds(imread(path), FRAMES[key][0]) for key in FRAMES}
    for relevant, found in counts.items():
        assert found[relevant] == max(found.values())
        assert found[relevant] > 5 * max(
            n for key, n in found.items() if key != relevant
        )


def test_limits_and_missing_pictures(
    make: Make, hits: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    calls = []

    def read(row: pd.Series, modality: str) -> None:
        calls.append(row['patch_id'])

    hits['time_start'] = pd.NaT
    to_sheet(
        hits,
        tmp_path / 'a.png',
        queries=make('s1', 2).frame,
        read=read,
        max_queries=1,
        max_hits=2,
    )
    assert len(calls) == 2 * 3


@pytest.mark.slow
def test_real_pixels(make: Make, hits: gpd.GeoDataFrame, scenes: Path) -> None:
    s1, s2 = make('s1', 2), make('s2')
    reader = PatchReader({'s1': s1.record, 's2': s2.record}, scenes)
    path = to_sheet(hits, scenes / 'a.png', queries=s1, read=reader, max_hits=2)
    assert imread(path).shape[0] > 400


def test_refuses(
    make: Make, hits: gpd.GeoDataFrame, tmp_path: Path, asked: tuple
) -> None:
    _, read = asked
    (tmp_path / 'a.png').write_bytes(b'mine')
    with pytest.raises(OutputExistsError, match='there already'):
        to_sheet(hits, tmp_path / 'a.png', queries=make('s1', 2), read=read)
    assert (tmp_path / 'a.png').read_bytes() == b'mine'
    with pytest.raises(QueryError, match='no query of the result'):
        to_sheet(hits, tmp_path / 'b.png', queries=make('s2'), read=read)
    with pytest.raises(QueryError, match='must be at least 1'):
        to_sheet(hits, tmp_path / 'b.png', queries=make('s1', 2), read=read, max_hits=0)
    assert not (tmp_path / 'b.png').exists()
