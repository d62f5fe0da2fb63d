"""Files that are read as one, against each file on its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.windows import Window

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.cache import Cache
from torchgeo_cmr.reading.file_groups import FileGroup
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.scene import Scene, assemble

type Writer = Callable[..., Path]

WINDOWS = np.array(
    [[r, c, 24, 20] for r in (-5, 0, 30, 60) for c in (0, 24, 33, 70, 300)]
)


@pytest.fixture
def scene(write_raster: Writer) -> Scene:
    """Bands in five files: two of them alike, one of another type, one in other blocks."""
    rng = np.random.default_rng(0)
    layouts = {
        'one': (2, 'uint16', 16, None),
        'two': (1, 'uint16', 16, 7.0),
        'three': (1, 'uint16', 16, None),
        'floats': (1, 'float32', 16, None),
        # Smaller blocks are decoded together until they are as large as these.
        'wide': (1, 'uint16', 512, None),
    }
    files = {}
    for name, (count, kind, side, nodata) in layouts.items():
        path = write_raster(
            f'{name}.tif',
            data=rng.integers(0, 20, (count, 90, 80)),
            bands=[*'xy'[:count]],
            dtype=kind,
            nodata=nodata,
            tiled=True,
            blockxsize=side,
            blockysize=side,
        )
        files[name] = str(path)
    sources = [
        (files['one'], 1),
        (files['two'], 1),
        (files['one'], 2),
        (files['three'], 1),
        (files['floats'], 1),
        (files['wide'], 1),
    ]
    return assemble(sources, [f'b{i}' for i in range(len(sources))])


def singly(reader: SceneReader, bands: list[int]) -> np.ndarray:
    return np.stack(
        [reader.read(Window(c, r, w, h), bands) for r, c, h, w in WINDOWS.tolist()]  # ty: ignore[too-many-positional-arguments]
    )


def test_alike_are_those_of_one_grid_type_and_block(scene: Scene) -> None:
    groups = SceneReader(scene)._groups(None)
    assert [group.channels for group in groups] == [[0, 1, 2, 3], [4], [5]]
    assert [len(group.sources) for group in groups] == [3, 1, 1]
    assert [bool(marks) for marks in groups[0].marks] == [False, True, False, False]
    assert groups[0].size == 4 * groups[0].stored[1][0] * groups[0].stored[1][1] * 2


@pytest.mark.slow
def test_every_choice_and_order_of_bands_is_read_as_if_file_by_file(
    scene: Scene,
) -> None:
    # One cache: blocks of one order must not be taken for those of another.
    cache = Cache()
    for bands in [*permutations(range(4), 3), (0, 1, 2, 3, 4, 5), (5, 3, 1), (2,)]:
        reader = SceneReader(scene, cache)
        expected = singly(SceneReader(scene), [*bands])
        for _ in range(2):  # decoding, then copying
            found = reader.read_many(WINDOWS, [*bands])
            np.testing.assert_array_equal(found, expected)
    assert np.isnan(expected).any()
    assert np.isfinite(expected).any()


def test_what_is_too_large_together_is_kept_file_by_file(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache()
    size = SceneReader(scene)._storage(scene.sources[1][0]).size([1])
    assert size is not None
    cache.blocks.limit = 4 * 3 * size
    reader = SceneReader(scene, cache)
    assert all(len(group.sources) == 1 for group in reader._groups(None))
    expected = singly(SceneReader(scene), [*range(6)])
    np.testing.assert_array_equal(reader.read_many(WINDOWS), expected)


def test_a_broken_file_of_a_group_is_named(scene: Scene) -> None:
    reader = SceneReader(scene)
    reader._groups(None)
    path = Path(scene.sources[1][0])
    path.write_bytes(path.read_bytes()[:-2_000])
    with pytest.raises(RasterError, match=r'two\.tif .*remove the file'):
        reader.read_many(WINDOWS, [0, 1, 3])
    # The others are read all the same.
    assert np.isfinite(reader.read_many(WINDOWS[5:6], [0, 3])).all()


def test_threads_that_read_groups_do_not_wait_for_one_another() -> None:
    """All threads of a pool read a group at once, and each asks the pool for help."""
    names = [f'{i}' for i in range(6)]
    sources = [(name, [i], [1]) for i, name in enumerate(names)]
    group = FileGroup(sources, [*range(6)], 0, ((8, 8), (8, 8)), 1, ((),) * 6)

    def decode(path: str, indexes: list[int]) -> np.ndarray[Any, Any]:
        return np.full((len(indexes), 2, 2), int(path))

    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(group.read, decode, pool) for _ in range(20)]
        for read in reads:
            assert read.result(timeout=30)[:, 0, 0].tolist() == [*range(6)]
