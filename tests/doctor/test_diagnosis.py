"""Faults that are planted are found, and named with their cure."""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr.doctor import geodata, machine, packages, qgis_folders
from torchgeo_cmr.doctor.fact import Fact
from torchgeo_cmr.doctor.geodata import geodata_facts
from torchgeo_cmr.doctor.machine import machine_facts
from torchgeo_cmr.doctor.packages import EXTRAS, LIGHT, MODULES, package_facts
from torchgeo_cmr.doctor.probes import probe

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']


def named(lines: list[str]) -> set[str]:
    """Names of packages without their bounds."""
    return {line.partition('>')[0].partition('[')[0].strip() for line in lines}


def found(facts: Any, name: str) -> Fact:
    (fact,) = [fact for fact in facts if fact.name == name]
    return fact


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules stand before those that are installed."""
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    return tmp_path


class TestProbe:
    def test_what_ends_python_is_named_and_the_rest_is_tried(
        self, broken: Path
    ) -> None:
        (broken / 'faiss.py').write_text(
            'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n'
        )
        (broken / 'timm.py').write_text('import sys\nsys.exit(3)\n')
        (broken / 'shtab.py').write_text('import os\nos._exit(4)\n')
        (broken / 'kornia.py').write_text('raise ImportError("libx.so: no such file")')
        names = ['faiss', 'timm', 'shtab', 'kornia', 'filelock']
        given = dict(probe(names))
        assert [*given] == names
        assert given['faiss']['error'] == 'importing it ends Python by SIGSEGV'
        assert given['timm']['error'] == 'SystemExit: 3'
        assert given['shtab']['error'] == 'importing it ends Python with code 4'
        assert given['kornia']['error'] == 'ImportError: libx.so: no such file'
        assert 'error' not in given['filelock']

    def test_a_package_that_writes_does_not_disturb(self, broken: Path) -> None:
        (broken / 'timm.py').write_text('print("hello", end="")\n__version__ = "9"\n')
        assert dict(probe(['timm']))['timm']['version'] == '9'

    def test_the_folder_of_the_command_is_not_imported_from(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / 'filelock.py').write_text('raise RuntimeError("foreign code")')
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv('PYTHONPATH', raising=False)
        assert 'error' not in dict(probe(['filelock']))['filelock']

    def test_kernels_that_multiply_wrongly(self, broken: Path) -> None:
        (broken / 'numkong.py').write_text(
            'import numpy as np\n'
            'zeros = np.zeros\n'
            'def dots_pack(queries):\n    return queries\n'
            'def dots_packed(codes, packed, out):\n    out[:] = 1\n'
        )
        error = dict(probe(['numkong']))['numkong']['error']
        assert 'its kernels multiply wrongly on this processor' in error

    def test_a_driver_that_is_not_there(self, broken: Path) -> None:
        (broken / 'pyogrio.py').write_text(
            '__gdal_version__ = (3, 9, 0)\n'
            'def list_drivers():\n    return {"GeoJSON": "rw"}\n'
        )
        facts = dict(probe(['pyogrio']))
        assert facts['pyogrio']['missing_drivers'][:2] == ['GPKG', 'FlatGeobuf']
        fact = found(geodata_facts(facts), 'GDAL of pyogrio')
        assert fact.state == 'fault'
        assert '3.9.0, for vector files, without the driver GPKG, FlatGeobuf' in (
            fact.text
        )
        assert 'pip install --force-reinstall --no-deps pyogrio' in fact.cure

    @pytest.mark.slow
    def test_proj_data_of_another_installation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in geodata._FOREIGN:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv('PROJ_DATA', str(tmp_path))
        facts = dict(probe(['rasterio', 'pyogrio', 'pyproj']))
        assert 'proj.db' in facts['rasterio']['error']
        assert found(package_facts(facts), 'rasterio').cure == 'unset PROJ_DATA'
        fact = found(geodata_facts(facts), 'PROJ_DATA')
        assert (fact.state, fact.cure[:15]) == ('fault', 'unset PROJ_DATA')

    @pytest.mark.slow
    def test_what_works_has_versions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in geodata._FOREIGN:
            monkeypatch.delenv(name, raising=False)
        facts = dict(probe(['rasterio', 'pyogrio', 'pyproj', 'numkong']))
        assert not [each for each in facts.values() if 'error' in each]
        given = [*geodata_facts(facts)]
        assert {fact.state for fact in given} == {'ok'}
        names = {'PROJ of pyproj', 'GDAL of rasterio', 'GDAL of pyogrio'}
        assert {fact.name for fact in given} == names


class TestPackages:
    def test_all_of_the_project_are_looked_at(self) -> None:
        assert {*MODULES} == named(PROJECT['dependencies'])
        lines = (ROOT / 'docs' / 'light-requirements.txt').read_text().splitlines()
        assert {*LIGHT} == named([x for x in lines if not x.startswith('#')])
        extras = PROJECT['optional-dependencies']
        assert {*EXTRAS} == {*extras} - {'tests', 'benchmarks', 'docs'}
        for extra, (known, _) in EXTRAS.items():
            assert {*known} == named(extras[extra])

    def test_a_light_installation_is_well(self) -> None:
        facts = [*package_facts({MODULES[p]: {'version': '1'} for p in LIGHT})]
        assert {fact.state for fact in facts} <= {'ok', 'absent'}
        assert found(facts, 'torch').cure == 'pip install torchgeo-cmr'
        assert found(facts, 'numkong').cure == 'pip install numkong'
        mcp = found(facts, 'mcp [mcp]')
        assert mcp == Fact(
            'packages',
            'mcp [mcp]',
            'absent; for serve',
            'absent',
            'pip install "torchgeo-cmr[mcp]"',
        )

    def test_what_every_installation_needs_is_a_fault(self) -> None:
        given = {MODULES[p]: {'version': '1'} for p in LIGHT if p != 'shapely'}
        fact = found(package_facts(given), 'shapely')
        assert (fact.text, fact.state) == ('missing', 'fault')
        assert fact.cure.startswith('pip install "shapely')

    def test_a_whole_installation_without_one(self) -> None:
        given = {m: {'version': '1'} for m in MODULES.values() if m != 'scipy'}
        assert found(package_facts(given), 'scipy').state == 'fault'

    def test_versions_that_are_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, 'version', lambda name: '1.4.9')
        monkeypatch.setattr(
            packages,
            'requires',
            lambda name: ['faiss-cpu>=1.11', 'mcp>=2; extra=="mcp"'],
        )
        given = {'faiss': {'version': ''}, 'mcp': {'version': ''}}
        facts = [*package_facts(given)]
        fact = found(facts, 'faiss-cpu')
        assert fact.text == '1.4.9, >=1.11 is needed'
        assert fact.cure == 'pip install "faiss-cpu>=1.11"'
        assert found(facts, 'mcp [mcp]').cure == 'pip install "mcp>=2"'

    def test_a_package_of_another_name_and_no_metadata_of_ours(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(name: str) -> Any:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(packages, 'version', unknown)
        monkeypatch.setattr(packages, 'requires', unknown)
        facts = package_facts({'faiss': {'version': '1.8'}})
        assert found(facts, 'faiss-cpu')[2:4] == ('1.8', 'ok')

    def test_an_old_python(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, 'version_info', (3, 11, 2))
        assert found(package_facts({}), 'python').cure == 'use Python 3.12 or newer'


class TestMachine:
    @pytest.fixture(autouse=True)
    def _no_nvidia(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, '_NVIDIA', tmp_path / 'none')
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)

    def test_threads_and_what_sets_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv('OMP_NUM_THREADS', '7')
        facts = [*machine_facts({'torch': {'threads': 5, 'devices': [], 'cuda': None}})]
        assert 'torch uses 5 threads' in found(facts, 'cores that we may use').text
        assert found(facts, 'OMP_NUM_THREADS').text == '7, set by the environment'
        assert found(facts, 'GPU').text == 'none found; the CPU is used'

    @pytest.mark.parametrize(
        ('torch', 'state', 'text'),
        [
            ({'devices': ['H1'], 'cuda': '12'}, 'ok', 'H1'),
            ({'devices': [], 'cuda': None}, 'fault', 'built for CPUs'),
            ({'devices': [], 'cuda': '12'}, 'fault', 'CUDA 12 cannot use it'),
        ],
    )
    def test_a_gpu(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        torch: dict[str, Any],
        state: str,
        text: str,
    ) -> None:
        monkeypatch.setattr(machine, '_NVIDIA', tmp_path)
        fact = found(machine_facts({'torch': {'threads': 1, **torch}}), 'GPU')
        assert fact.state == state
        assert text in fact.text
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
        if torch['cuda'] and not torch['devices']:
            fact = found(machine_facts({'torch': {'threads': 1, **torch}}), 'GPU')
            assert fact[2:] == ('hidden by CUDA_VISIBLE_DEVICES', 'ok', '')

    def test_huge_pages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / 'enabled'
        monkeypatch.setattr(machine, '_PAGES', file)
        file.write_text('always madvise [never]\n')
        fact = found(machine_facts({}), 'huge pages')
        assert fact.state == 'absent'
        assert fact.cure.startswith('echo madvise | sudo tee ')
        file.write_text('always [madvise] never\n')
        assert found(machine_facts({}), 'huge pages').text == 'madvise'

    def test_temporary_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'gone'))
        fact = found(machine_facts({}), 'temporary files')
        assert fact.state == 'fault'
        assert fact.cure == 'name a folder with space in TMPDIR'
        monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
        monkeypatch.setattr(machine, '_LEAST', 2**80)
        fact = found(machine_facts({}), 'temporary files')
        assert fact.state == 'fault'
        assert 'free some space' in fact.cure

    def test_qgis_and_the_plugin(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv('QGIS_CUSTOM_CONFIG_PATH', str(tmp_path))
        monkeypatch.setattr(machine, 'programs', lambda: ['/opt/qgis'])
        facts = [*machine_facts({})]
        assert found(facts, 'QGIS').text == '/opt/qgis'
        cure = 'torchgeo-cmr qgis-plugin --install'
        assert found(facts, 'plugin for QGIS').cure == cure
        folder = tmp_path / 'profiles' / 'default' / qgis_folders.BELOW
        folder.mkdir(parents=True)
        assert found(machine_facts({}), 'plugin for QGIS').text == str(folder)
        monkeypatch.setattr(machine, 'programs', list)
        assert found(machine_facts({}), 'QGIS').state == 'absent'
