"""The import rules of docs/design.md: who may import whom, and what nobody imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / 'torchgeo_cmr'
NAME = PACKAGE.name

#: Part of the package -> (row, side) of the map; '' is the empty top level.
PLACES = {
    '': (0, 'both'),
    'drafts': (0, 'both'),
    'durable': (0, 'both'),
    'errors': (0, 'both'),
    'freed_memory': (0, 'both'),
    'iso8601': (0, 'both'),
    'class_names': (0, 'both'),
    'lazy': (0, 'both'),
    'processors': (0, 'both'),
    'progress': (0, 'both'),
    'rasters': (0, 'both'),
    'regular_files': (0, 'both'),
    'speech': (0, 'both'),
    'spool': (0, 'both'),
    'typed_json': (0, 'both'),
    'vectors': (0, 'both'),
    'yaml_size': (0, 'both'),
    'yaml_text': (0, 'both'),
    'scenes': (1, 'left'),
    'transforms': (1, 'left'),
    'reading': (2, 'left'),
    'datasets': (3, 'left'),
    'losses': (4, 'left'),
    'metrics': (4, 'left'),
    'models': (4, 'left'),
    'samplers': (4, 'left'),
    'tasks': (5, 'left'),
    'datamodules': (5, 'left'),
    'table': (1, 'right'),
    'search': (2, 'right'),
    'export': (3, 'right'),
    'embed': (6, 'bridge'),
    'evaluate': (6, 'bridge'),
    'demo': (6, 'bridge'),
    'doctor': (6, 'bridge'),
    'serve': (6, 'bridge'),
    'cli': (7, 'bridge'),
    'main': (7, 'bridge'),
    '__main__': (7, 'bridge'),
    # The plugin for QGIS is copied into QGIS: it imports no part, and none imports it.
    'qgis': (0, 'alone'),
}

#: Part -> its folders: none imports one that stands to its right. Files of the part itself are
#: its door or what all folders need, and are not on these lists.
FOLDERS = {
    'table': ('archive', 'others'),
    'search': ('where', 'rank', 'store', 'queries', 'answers'),
    'datasets': ('synthetic', 'benchmarks', 'spoken'),
    'embed': ('scenes', 'files', 'pairs'),
    'models': ('foundation',),
    'tasks': ('frozen', 'rivals'),
    'export': ('layers', 'styles', 'record', 'pictures', 'vector', 'qgis'),
}

#: Edges inside a row: the demo plays the other bridges, the script starts the verbs.
SISTERS = {
    ('demo', 'embed'),
    ('demo', 'evaluate'),
    ('main', 'cli'),
    ('__main__', 'main'),
}

LEARNING = frozenset(
    ('torch', 'torchgeo', 'torchvision', 'torchmetrics', 'lightning', 'timm', 'kornia')
)
GEOMETRY = frozenset(('geopandas', 'pyproj', 'rasterio', 'shapely'))

#: Part -> packages that it never imports.
NEVER = {
    **dict.fromkeys(
        ('table', 'search', 'export', 'evaluate', 'serve', 'speech'), LEARNING
    ),
    **dict.fromkeys(('models', 'losses', 'metrics'), GEOMETRY),
    # TorchGeo's datasets say how products are named; nothing else of the learning half is used.
    **dict.fromkeys(('scenes', 'reading'), LEARNING - {'torchgeo'}),
    # Numbers in, numbers out.
    'search/rank': GEOMETRY | {'torchgeo_cmr.table', 'torchgeo_cmr.search.where'},
}

#: Package -> the only files that may import it.
ONLY_IN = {
    'faiss': {'search/rank/exact.py', 'search/rank/approximate.py'},
    'mcp': {'serve/mcp_server.py'},
    'psycopg': {'search/postgres/connection.py'},
    'ray': {'embed/ray.py'},
    'tqdm': {'progress/bars.py'},
    'pickle': set(),
}

#: File -> the only packages beside the standard library that it may import.
ONLY_THESE = {
    **{
        f'metrics/{name}.py': {'numpy'}
        for name in (
            'anmrr',
            'average',
            'binary',
            'chance',
            'chunked',
            'distances',
            'functional',
            'graded',
            'multilabel',
            'ranked',
            'registry',
            'scoring',
            'truth',
        )
    },
    'errors.py': set(),
}

#: Part -> the only packages beside the standard library that its files may import.
ONLY_THESE_OF_PART = {'qgis': {'qgis', 'processing'}}

#: Names that TorchGeo has given up.
DEPRECATED = {
    'trainers',
    'RandomGeoSampler',
    'RandomBatchGeoSampler',
    'GridGeoSampler',
    'PreChippedGeoSampler',
    'BatchGeoSampler',
    'BoundingBox',
}


class Edge(NamedTuple):
    line: int
    #: Absolute module, and the name taken from it ('' for a plain import).
    module: str
    name: str
    #: Inside a function, so only paid for when that is called.
    late: bool
    #: For the type checker only.
    typing: bool


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def edges(path: Path, package: Path = PACKAGE) -> Iterator[Edge]:
    """Every import of a file, those inside functions too."""
    parts = path.relative_to(package.parent).with_suffix('').parts
    home = parts[:-1]

    def walk(node: ast.AST, late: bool, typing: bool) -> Iterator[Edge]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Edge(child.lineno, alias.name, '', late, typing)
            elif isinstance(child, ast.ImportFrom):
                module = child.module or ''
                if child.level:
                    base = home[: len(home) - child.level + 1]
                    module = '.'.join((*base, *filter(None, [module])))
                for alias in child.names:
                    yield Edge(child.lineno, module, alias.name, late, typing)
            elif isinstance(child, ast.Call) and (module := _loaded(child)):
                yield Edge(child.lineno, module, '', late, typing)
            is_function = isinstance(
                child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
            )
            guarded = isinstance(child, ast.If) and 'TYPE_CHECKING' in ast.unparse(
                child.test
            )
            yield from walk(child, late or is_function, typing or guarded)

    yield from walk(parsed(path), False, False)


def _loaded(call: ast.Call) -> str:
    """Module that a call loads by a name written out; '' if it loads none."""
    name = ast.unparse(call.func).rpartition('.')[2]
    first = call.args[0] if call.args else None
    if name in ('import_module', '__import__') and isinstance(first, ast.Constant):
        return str(first.value)
    return ''


def part_of(edge: Edge) -> str:
    """Part of our package that an edge leads to."""
    inside = edge.module.split('.')[1:]
    if inside:
        return inside[0]
    return edge.name if edge.name in PLACES else ''


def allowed(source: str, target: str) -> bool:
    """Whether one part may import another."""
    if source == target or (source, target) in SISTERS:
        return True
    (row, side), (other_row, other_side) = PLACES[source], PLACES[target]
    if 'alone' in (side, other_side):
        return False
    if other_side == 'both':
        return True
    if target in ('main', 'cli', '__main__'):
        return False
    return other_row < row and (side == 'bridge' or side == other_side)


def violations(path: Path, package: Path = PACKAGE) -> list[str]:
    """What a file imports against the rules, one sentence each."""
    local = path.relative_to(package)
    source = local.parts[0].removesuffix('.py')
    source = '' if source == '__init__' else source
    if source not in PLACES:
        return [f'{local}: {source} is not on the map']
    found = []
    for edge in edges(path, package):
        top = edge.module.split('.')[0]
        where = f'{local}:{edge.line}'
        folder = '/'.join(local.parts[:2])
        if any(edge.module.startswith(name) for name in NEVER.get(folder, ())):
            found.append(f'{where}: {folder} never imports {edge.module}')
        if top == NAME:
            found += [f'{where}: {text}' for text in _order(local, edge)]
            target = part_of(edge)
            if target not in PLACES:
                found.append(f'{where}: {target} is not on the map')
            elif not allowed(source, target):
                found.append(f'{where}: {source} imports {target}')
            elif (source, target) == ('evaluate', 'metrics') and (
                edge.module != f'{NAME}.metrics.functional'
            ):
                found.append(f'{where}: evaluate uses metrics.functional only')
            continue
        if top in NEVER.get(source, ()):
            found.append(f'{where}: {source} never imports {top}')
        if local.as_posix() not in ONLY_IN.get(top, {local.as_posix()}):
            found.append(f'{where}: {top} is not imported here')
        if top == 'matplotlib' and not (edge.late or edge.typing):
            found.append(f'{where}: matplotlib is imported only inside functions')
        if top == 'torchgeo' and DEPRECATED & {*edge.module.split('.'), edge.name}:
            found.append(f'{where}: {edge.module}.{edge.name} is deprecated')
        these = ONLY_THESE.get(local.as_posix(), ONLY_THESE_OF_PART.get(source, {top}))
        if top not in these | sys.stdlib_module_names:
            found.append(f'{where}: {top} is too much for this file')
    return found


def _order(local: Path, edge: Edge) -> Iterator[str]:
    """Folders of one part that an import takes in the wrong order."""
    inside = edge.module.split('.')[1:]
    order = FOLDERS.get(local.parts[0], ())
    if len(inside) < 2 or inside[0] != local.parts[0]:
        return
    source, target = local.parts[1], inside[1]
    if {source, target} <= {*order} and order.index(target) > order.index(source):
        yield f'{source} imports {target}'


FILES = sorted(PACKAGE.rglob('*.py'))


def test_imports() -> None:
    assert not [sentence for path in FILES for sentence in violations(path)]


def test_no_print_no_eval() -> None:
    calls = [
        f'{path.relative_to(PACKAGE)}:{node.lineno}: {node.func.id}'
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ('print', 'eval', 'exec')
    ]
    assert not calls


def test_every_part_is_a_file() -> None:
    """A part that is gone leaves the map."""
    missing = {
        part
        for part in PLACES
        if part and not list(PACKAGE.glob(f'{part}.py')) + list(PACKAGE.glob(part))
    }
    assert not missing


@pytest.mark.parametrize(
    ('path', 'code', 'told'),
    [
        ('table/x.py', 'import torch', 'table never imports torch'),
        (
            'search/x.py',
            'def f():\n    import torchgeo',
            'search never imports torchgeo',
        ),
        ('evaluate/x.py', 'from torch import nn', 'evaluate never imports torch'),
        ('losses/x.py', 'import shapely.ops', 'losses never imports shapely'),
        ('table/x.py', 'from torchgeo_cmr.search import Where', 'table imports search'),
        ('table/x.py', 'from ..datasets import y', 'table imports datasets'),
        (
            'tasks/x.py',
            'from torchgeo_cmr import datamodules',
            'tasks imports datamodules',
        ),
        ('tasks/x.py', 'import torchgeo_cmr.table.archive.sink', 'tasks imports table'),
        ('datasets/x/y.py', 'from ...models import z', 'datasets imports models'),
        (
            'samplers/x.py',
            'from torchgeo_cmr.models import z',
            'samplers imports models',
        ),
        ('embed/x.py', 'from torchgeo_cmr.evaluate import z', 'embed imports evaluate'),
        ('demo.py', 'from torchgeo_cmr.cli import fit', 'demo imports cli'),
        ('cli/x.py', 'from torchgeo_cmr.main import main', 'cli imports main'),
        (
            'evaluate/x.py',
            'from torchgeo_cmr.metrics import embedding_health',
            'metrics.functional only',
        ),
        ('search/index.py', 'import faiss', 'faiss is not imported here'),
        ('search/rank/exact.py', 'import psycopg', 'psycopg is not imported here'),
        ('embed/run.py', 'from ray import data', 'ray is not imported here'),
        ('table/archive/sink.py', 'import pickle', 'pickle is not imported here'),
        ('datasets/x.py', 'from matplotlib import pyplot', 'only inside functions'),
        ('datasets/x.py', 'from torchgeo.samplers import GridGeoSampler', 'deprecated'),
        ('tasks/x.py', 'import torchgeo.trainers', 'deprecated'),
        ('metrics/functional.py', 'import scipy', 'scipy is too much'),
        (
            'search/x.py',
            "import_module('torchgeo_cmr.tasks.base')",
            'search imports tasks',
        ),
        ('helpers.py', '', 'helpers is not on the map'),
        ('reading/x.py', 'import torch', 'reading never imports torch'),
        ('scenes/x.py', 'from torchgeo_cmr.reading import y', 'scenes imports reading'),
        ('search/rank/x.py', 'import shapely', 'search/rank never imports shapely'),
        (
            'search/where/x.py',
            'from torchgeo_cmr.search.store.engine import y',
            'where imports store',
        ),
        (
            'table/archive/x.py',
            'from torchgeo_cmr.table.others import y',
            'archive imports others',
        ),
        ('cli/x.py', 'import torchgeo_cmr.helpers', 'helpers is not on the map'),
        ('qgis/x.py', 'from torchgeo_cmr import drafts', 'qgis imports drafts'),
        ('qgis/x.py', 'from ..errors import CMRError', 'qgis imports errors'),
        ('qgis/x.py', 'import numpy', 'numpy is too much for this file'),
        ('qgis/x.py', 'from PyQt5 import QtCore', 'PyQt5 is too much for this file'),
        ('cli/x.py', 'from torchgeo_cmr.qgis import plugin', 'cli imports qgis'),
    ],
)
def test_planted_violation_is_found(
    tmp_path: Path, path: str, code: str, told: str
) -> None:
    planted = tmp_path / NAME / path
    planted.parent.mkdir(parents=True)
    planted.write_text(f'{code}\n')
    (found,) = violations(planted, tmp_path / NAME)
    assert told in found


@pytest.mark.parametrize(
    ('path', 'code'),
    [
        ('search/x.py', 'from torchgeo_cmr.table import EmbeddingTable'),
        ('search/x.py', 'from .where.where import Where'),
        ('search/rank/exact.py', 'import faiss'),
        ('export/x.py', 'def f():\n    from matplotlib import pyplot'),
        (
            'datasets/x.py',
            'if TYPE_CHECKING:\n    from matplotlib.figure import Figure',
        ),
        ('embed/x.py', 'from torchgeo_cmr.scenes.scene import Scene'),
        ('tasks/x.py', 'from torchgeo_cmr import __version__, tasks'),
        ('demo.py', 'from torchgeo_cmr.evaluate import evaluate'),
        ('qgis/algorithms/x.py', 'from ..process import run'),
        ('qgis/x.py', 'from qgis.core import QgsProject'),
    ],
)
def test_allowed_import_passes(tmp_path: Path, path: str, code: str) -> None:
    planted = tmp_path / NAME / path
    planted.parent.mkdir(parents=True)
    planted.write_text(f'{code}\n')
    assert violations(planted, tmp_path / NAME) == []


@pytest.mark.parametrize(
    ('modules', 'unwanted'),
    [
        (('table', 'search', 'export', 'evaluate'), LEARNING | {'matplotlib'}),
        (('metrics', 'metrics.functional', 'errors'), LEARNING | GEOMETRY),
        (
            ('speech', 'cli.speak_command'),
            LEARNING | GEOMETRY | {'pandas', 'matplotlib'},
        ),
        (('main', 'cli.parser'), LEARNING | GEOMETRY | {'numpy', 'pandas'}),
    ],
    ids=['retrieval half', 'metrics', 'speech', 'main'],
)
def test_fresh_interpreter_stays_light(
    modules: tuple[str, ...], unwanted: set[str]
) -> None:
    code = ''.join(f'import {NAME}.{module}\n' for module in modules)
    code += f'import sys\nloaded = {sorted(unwanted)!r}\n'
    code += 'sys.exit(", ".join(m for m in loaded if m in sys.modules) or 0)'
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, '')
