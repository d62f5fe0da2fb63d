"""The package of the plugin keeps the rules of the site of QGIS plugins, without QGIS."""

import ast
import configparser
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchgeo_cmr import __version__
from torchgeo_cmr.cli.qgis_plugin_command import FOLDER, files

ROOT = Path(__file__).parents[2]
SOURCES = [path for path, _ in files() if path.suffix == '.py']

#: What the plugin uses of Qt, as PyQt6 has it: there an enumeration is a class of its own, and its
#: members are reached through it alone. Made by hand; ``test_pyqt6_itself`` compares it.
PYQT6 = {
    'QtCore': {
        'QDate': {},
        'Qt': {'CursorShape': {'WaitCursor'}, 'TextFormat': {'PlainText'}},
    },
    'QtGui': {'QCursor': {}, 'QIcon': {}},
    'QtWidgets': {
        name: {}
        for name in (
            'QApplication',
            'QHBoxLayout',
            'QLabel',
            'QPushButton',
            'QVBoxLayout',
        )
    },
}
#: Enumerations of QGIS that are used, all named in full: QGIS 4 gives them the same names.
QGIS_ENUMS = {
    'QgsMapToolIdentify.IdentifyMode.TopDownStopAtFirst',
    'QgsProcessing.SourceType.TypeRaster',
    'QgsProcessing.SourceType.TypeVectorAnyGeometry',
    'QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks',
    'QgsProcessingParameterDateTime.Type.Date',
    'QgsProcessingParameterDefinition.Flag.FlagAdvanced',
    'QgsProcessingParameterDefinition.Flag.FlagOptional',
    'QgsProcessingParameterFile.Behavior.File',
    'QgsProcessingParameterFile.Behavior.Folder',
    'QgsProcessingParameterNumber.Type.Double',
    'QgsProcessingParameterNumber.Type.Integer',
    'QgsWkbTypes.Type.NoGeometry',
}

QGIS_CLASSES = {
    'QgsProcessingContext.LayerDetails',
    'QgsVectorFileWriter.SaveVectorOptions',
}


def name(path: Path) -> str:
    return path.relative_to(ROOT / 'torchgeo_cmr' / 'qgis').as_posix()


def test_one_folder_without_binaries(package: Path) -> None:
    with zipfile.ZipFile(package) as file:
        names = file.namelist()
        assert file.testzip() is None
        for entry in names:
            file.read(entry).decode('utf-8')  # text, all of it
    assert {Path(n).parts[0] for n in names} == {FOLDER}
    assert {Path(n).suffix for n in names} == {'.py', '.svg', '.txt', ''}
    assert not any('__pycache__' in n or Path(n).name.startswith('.') for n in names)
    assert {f'{FOLDER}/{n}' for n in ('__init__.py', 'metadata.txt', 'LICENSE')} <= {
        *names
    }
    assert package.stat().st_size < 200_000


def test_metadata_is_complete(package: Path) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    with zipfile.ZipFile(package) as file:
        parser.read_string(file.read(f'{FOLDER}/metadata.txt').decode())
        names = file.namelist()
    facts = parser['general']
    needed = (
        *('name', 'description', 'about', 'version', 'author'),
        *('tags', 'category', 'icon'),
    )
    assert all(facts[key].strip() for key in needed)
    # No address that leads elsewhere.
    addresses = [facts.get(key, '') for key in ('email', 'homepage', 'tracker')]
    addresses.append(facts.get('repository', ''))
    assert not [word for word in addresses if 'example.' in word]
    assert facts['version'] == __version__
    assert facts['qgisMinimumVersion'] == '3.22'
    assert facts['qgisMaximumVersion'] == '4.99'
    assert facts['hasProcessingProvider'] == 'yes'
    assert f'{FOLDER}/{facts["icon"]}' in names
    # What is needed besides the plugin, and where it is named.
    assert 'external program' in facts['about']
    assert 'torchgeo-cmr' in facts['about']


def test_licence_is_that_of_the_project() -> None:
    source = ROOT / 'torchgeo_cmr' / 'qgis' / 'LICENSE'
    assert source.read_text() == (ROOT / 'LICENSE').read_text()


def test_icons_are_drawn_and_used() -> None:
    icons = {
        path.stem: path.read_text() for path, _ in files() if path.suffix == '.svg'
    }
    assert all('<svg' in text and 'href' not in text for text in icons.values())
    code = ''.join(path.read_text() for path in SOURCES)
    assert all(f"'{icon}'" in code for icon in icons)


@pytest.mark.parametrize('path', SOURCES, ids=name)
def test_python_3_9_and_relative_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [str(node.module)]
        for module in modules:
            top = module.partition('.')[0]
            # The folder has another name in QGIS, and PyQt5 and PyQt6 are chosen by QGIS.
            assert top in {'qgis', 'processing'} | sys.stdlib_module_names, module
        # Types that Python 3.9 cannot join are never evaluated.
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ('exec', 'eval', 'print'), node.lineno
    assert (
        'from __future__ import annotations' in path.read_text() or len(tree.body) == 1
    )
    # What the grammar cannot show: an argument of zip that Python 3.9 does not have.
    assert 'strict=' not in path.read_text()


def imported(tree: ast.Module, package: str) -> dict[str, str]:
    """Names that a file takes from a package, with their modules."""
    return {
        alias.asname or alias.name: str(node.module).removeprefix(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(package)
        for alias in node.names
    }


def chains(tree: ast.Module) -> Iterator[list[str]]:
    """Names with dots, the longest of each place."""
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node not in inner:
            parts: list[str] = []
            step: ast.expr = node
            while isinstance(step, ast.Attribute):
                inner.add(step)
                parts.insert(0, step.attr)
                step = step.value
            if isinstance(step, ast.Name):
                yield [step.id, *parts]


@pytest.mark.parametrize('path', SOURCES, ids=name)
def test_names_of_qt_6(path: Path) -> None:
    """Each class of Qt is where PyQt6 has it, and each enumeration is named in full."""
    tree = ast.parse(path.read_text())
    qt = imported(tree, 'qgis.PyQt.')
    for symbol, module in qt.items():
        assert symbol in PYQT6[module], symbol
    for chain in chains(tree):
        if chain[0] not in qt or not chain[1][0].isupper():
            continue  # a method
        enums = PYQT6[qt[chain[0]]][chain[0]]
        assert chain[2] in enums[chain[1]], '.'.join(chain)


def test_enumerations_of_qgis_are_named_in_full() -> None:
    """A name with a capital after the class is a member of a list above, or a class."""
    used = set()
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        ours = {*imported(tree, 'qgis.core'), *imported(tree, 'qgis.gui')}
        used |= {
            '.'.join(c) for c in chains(tree) if c[0] in ours and c[1][0].isupper()
        }
    assert used - QGIS_CLASSES == QGIS_ENUMS


def test_pyqt6_itself() -> None:
    """The table above against PyQt6, where somebody has installed it."""
    pytest.importorskip('PyQt6.QtWidgets', reason='PyQt6 is not installed')
    import importlib

    for module, classes in PYQT6.items():
        real = importlib.import_module(f'PyQt6.{module}')
        for symbol, enums in classes.items():
            for enum, members in enums.items():
                assert members <= {*getattr(getattr(real, symbol), enum).__members__}


@pytest.mark.parametrize('tool', ['flake8', 'bandit', 'detect-secrets'])
def test_scanners_find_nothing(tool: str, plugins: Path) -> None:
    """What the site runs on each version, with its defaults."""
    folder = plugins / FOLDER
    words = {
        'flake8': ['flake8', '--isolated', str(folder)],
        'bandit': ['bandit', '-q', '-r', str(folder)],
        'detect-secrets': [
            'detect_secrets',
            '-C',
            str(folder),
            'scan',
            '--all-files',
            '.',
        ],
    }[tool]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    if tool == 'detect-secrets':
        assert json.loads(done.stdout)['results'] == {}


def test_each_reviewed_line_runs_a_list_without_a_shell() -> None:
    """Lines that bandit is told to pass are those that start the program, and no others."""
    reviewed = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                'subprocess.run',
                'subprocess.Popen',
            ):
                assert isinstance(node.args[0], ast.List), path
                assert not {'shell', 'executable'} & {k.arg for k in node.keywords}
                reviewed.append(path.name)
    assert sorted(reviewed) == ['found_program.py', 'process.py']
    marks = re.findall(r'# nosec (\w+)', ''.join(p.read_text() for p in SOURCES))
    assert sorted(marks) == ['B404', 'B404', 'B603', 'B603']
