"""A pickle is planted in every format that is opened: what it would run never does."""

import ast
import io
import json
import pickle
import wave
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import torch

import torchgeo_cmr
import torchgeo_cmr.errors
from torchgeo_cmr.embed.pairs.config import open_data
from torchgeo_cmr.export import read_search
from torchgeo_cmr.export.record.manifest import read_manifest
from torchgeo_cmr.models.weights import find_weights, read_weights
from torchgeo_cmr.scenes.catalogue import header_catalogue
from torchgeo_cmr.scenes.sources.cubes import cube_scenes
from torchgeo_cmr.scenes.sources.stac import find_items
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.search.hashing import Hash
from torchgeo_cmr.speech import read_wav
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import describe_checkpoint, load_task
from torchgeo_cmr.vectors.vector_file import read_frame

PACKAGE = Path(torchgeo_cmr.__file__).parent


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return open, (str(self.marker), 'w')


@pytest.fixture
def table() -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [*'abc'], 'source': 'x'},
        geometry=shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1),
        crs=4326,
    )
    return EmbeddingTable.from_frame(
        frame, np.eye(3, 4, dtype=np.float32), space='x', modality='s2'
    )


def with_extension(source: Path, bomb: bytes) -> None:
    """Make the columns of a Parquet file types of Python, as older pyarrow unpickled them."""
    found = pq.read_table(source)
    marks = {
        b'ARROW:extension:name': b'arrow.py_extension_type',
        b'ARROW:extension:metadata': bomb,
    }
    fields = [field.with_metadata(marks) for field in found.schema]
    facts = {**(found.schema.metadata or {}), b'torchgeo_cmr_pickle': bomb}
    pq.write_table(found.cast(pa.schema(fields, facts)), source)


def planted(kind: str, folder: Path, bomb: Planted, table: EmbeddingTable) -> Any:
    """Write a file with a pickle in it; give what opens it."""
    raw = pickle.dumps(bomb)
    path = folder / 'x'
    if kind in ('checkpoint', 'weights'):
        torch.save({'state_dict': bomb, 'torchgeo_cmr': bomb, 'w': torch.ones(1)}, path)
    elif kind.endswith('without a zip'):
        torch.save({'x': bomb}, path, _use_new_zipfile_serialization=False)
    elif kind.endswith('bare') or kind == 'sound that is one':
        path = folder / ('x.wav' if 'sound' in kind else 'x.ckpt')
        path.write_bytes(raw)
    openers: dict[str, Callable[[], Any]] = {
        'checkpoint': lambda: load_task(path),
        'checkpoint without a zip': lambda: load_task(path),
        'checkpoint bare': lambda: load_task(path),
        'weights': lambda: read_weights(find_weights(path), 's2'),
        'weights without a zip': lambda: read_weights(find_weights(path), 's2'),
        'description bare': lambda: describe_checkpoint(path),
        'sound that is one': lambda: read_wav(path),
    }
    return openers.get(kind) or others(kind, folder, bomb, raw, table)


def others(
    kind: str, folder: Path, bomb: Planted, raw: bytes, table: EmbeddingTable
) -> Callable[[], Any]:
    path = folder / 'x'
    if kind == 'hash':
        with zipfile.ZipFile(path, 'w') as packed:
            for name in ('kind', 'mean', 'planes'):
                content = io.BytesIO()
                np.save(content, np.array([bomb], object), allow_pickle=True)
                packed.writestr(f'{name}.npy', content.getvalue())
        return lambda: Hash.load(path)
    if kind == 'archive':
        (part,) = table.save(path).glob('*.parquet')
        with_extension(part, raw)
        return lambda: EmbeddingTable.load(path)
    if kind in ('areas', 'saved search', 'items', 'headers'):
        path = folder / 'x.parquet'
        table.frame.to_parquet(path)
        with_extension(path, raw)
        return {
            'areas': lambda: read_frame(path),
            'saved search': lambda: read_search(path),
            'items': lambda: find_items(str(path)),
            'headers': lambda: header_catalogue(path).__enter__(),
        }[kind]
    if kind == 'YAML':
        path.write_text(
            f'data: !!python/object/apply:builtins.open ["{bomb.marker}", "w"]\n'
        )
        return lambda: open_data(path)
    if kind == 'manifest':
        path.write_text(
            json.dumps({'py/reduce': [{'py/type': 'open'}, [str(bomb.marker), 'w']]})
        )
        return lambda: read_manifest(path)
    if kind == 'sound':
        with wave.open(str(folder / 'x.wav'), 'wb') as file:
            file.setparams((1, 2, 16_000, 0, 'NONE', ''))
            file.writeframes(raw.ljust(4000, b'\0'))
        return lambda: read_wav(folder / 'x.wav')
    return cube(folder / 'x.zarr', raw)


def cube(path: Path, raw: bytes) -> Callable[[], Any]:
    """A Zarr store of pickled objects, with a pickle among its attributes."""
    (path / 'v').mkdir(parents=True)
    (path / '.zgroup').write_text('{"zarr_format": 2}')
    facts = {
        'zarr_format': 2,
        'shape': [1],
        'chunks': [1],
        'dtype': '|O',
        'order': 'C',
        'compressor': None,
        'fill_value': None,
        'filters': [{'id': 'pickle', 'protocol': 4}],
    }
    (path / 'v' / '.zarray').write_text(json.dumps(facts))
    marks = {'_ARRAY_DIMENSIONS': ['x'], 'pickle': raw.decode('latin1')}
    (path / 'v' / '.zattrs').write_text(json.dumps(marks))
    (path / 'v' / '0').write_bytes(raw)
    return lambda: cube_scenes(str(path))


KINDS = (
    *('checkpoint', 'checkpoint without a zip', 'checkpoint bare', 'description bare'),
    *('weights', 'weights without a zip', 'hash', 'archive', 'areas', 'saved search'),
    *('items', 'headers', 'YAML', 'manifest', 'sound', 'sound that is one', 'cube'),
)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('kind', KINDS)
def test_a_planted_pickle_never_runs(
    kind: str, tmp_path: Path, table: EmbeddingTable
) -> None:
    bomb = Planted(tmp_path / 'ran')
    opening = planted(kind, tmp_path, bomb, table)
    with suppress(torchgeo_cmr.errors.CMRError, ValueError):
        opening()
    assert not bomb.marker.exists()
    # The same bytes do run where they are trusted.
    pickle.loads(pickle.dumps(bomb)).close()
    assert bomb.marker.exists()


@pytest.mark.parametrize(
    'file', ['vectors.npy', 'numbers.npy', 'ties.npy', 'boxes.npy']
)
def test_a_planted_array_of_an_index_never_runs(
    file: str, tmp_path: Path, table: EmbeddingTable
) -> None:
    bomb = Planted(tmp_path / 'ran')
    archive = table.save(tmp_path / 'archive')
    RetrievalIndex.build(archive, tmp_path / 'index')
    (path,) = (tmp_path / 'index').rglob(file)
    np.save(path, np.array([bomb], object), allow_pickle=True)
    with pytest.raises(torchgeo_cmr.errors.CMRError):
        RetrievalIndex(tmp_path / 'index').search(table.select([0]), 1)
    assert not bomb.marker.exists()


#: What no line of the package may call, and where it may be called nevertheless.
FORBIDDEN = {
    'pickle.load': (),
    'pickle.loads': (),
    'yaml.load': (),
    'os.system': (),
    'eval': (),
    'exec': (),
    'compile': (),
    # The first bytes of a file on a server that was named with --remote, as numbers.
    'rasterio.open': ('raster_files.py', 'remote_access.py'),
    # Files on such servers, with drivers that read nothing else.
    'rasterio.DatasetReader': ('raster_files.py', 'remote_files.py'),
    'gpd.read_file': ('label_map.py', 'export_command.py'),
    'ET.parse': (),
    # Styles of a GeoPackage, without entities.
    'ET.fromstring': ('project.py',),
    'ElementTree.parse': (),
    'fromstring': (),
    'minidom.parse': (),
}
#: Calls that need an argument to be safe.
NEEDED = {
    'torch.load': ('weights_only', True),
    'np.load': ('allow_pickle', False),
    'Image.open': ('formats', None),
}


def test_nothing_in_the_package_could_run_or_fetch_what_it_reads() -> None:
    files = sorted(PACKAGE.rglob('*.py'))
    assert len(files) > 500
    for path in files:
        neither_runs_nor_fetches(path)


def neither_runs_nor_fetches(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    for call in (
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
    ):
        name = ast.unparse(call.func)
        options = {word.arg: word.value for word in call.keywords}
        if name == 'rasterio.open' and [ast.unparse(a) for a in call.args[1:]] == [
            "'w'"
        ]:
            continue  # a new file is made, and nothing read
        assert path.name in FORBIDDEN.get(name, (path.name,)), (
            f'{path}:{call.lineno}: {name}'
        )
        if name in NEEDED:
            option, value = NEEDED[name]
            assert option in options, f'{path}:{call.lineno}: {name} without {option}'
            given = options[option]
            assert value is None or (
                isinstance(given, ast.Constant) and given.value is value
            ), f'{path}:{call.lineno}: {name}'
        assert not (name.startswith('subprocess') and 'shell' in options), path
    reads = any(f'pyogrio.{verb}' in text for verb in ('read_', 'list_layers'))
    assert not reads or 'check_vector(' in text or path.name == 'project.py', path
