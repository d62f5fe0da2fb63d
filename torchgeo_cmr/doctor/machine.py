"""The machine: cores, threads, memory pages, GPU, temporary files, QGIS."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torchgeo_cmr.processors import cores

from .fact import Fact
from .qgis_folders import installed_plugins, programs

_GROUP = 'machine'
#: What sets the number of threads of a library before it is loaded.
_THREADS = (
    *('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'),
    *('NUMEXPR_NUM_THREADS', 'GDAL_NUM_THREADS', 'GDAL_CACHEMAX'),
)
_PAGES = Path('/sys/kernel/mm/transparent_hugepage/enabled')
_NVIDIA = Path('/proc/driver/nvidia/version')
#: Bytes below which a disk for temporary files counts as full.
_LEAST = 100 * 2**20


def machine_facts(probed: Mapping[str, Mapping[str, Any]]) -> Iterator[Fact]:
    """Say what the machine offers and what of it is used.

    Args:
        probed: Module -> what :func:`~torchgeo_cmr.doctor.probes.probe` found.
    """
    torch = probed.get('torch', {})
    text = f'{cores()} of {os.cpu_count()}'
    if 'threads' in torch:
        text += f'; torch uses {torch["threads"]} threads'
    yield Fact(_GROUP, 'cores that we may use', text)
    for name in _THREADS:
        if name in os.environ:
            text = f'{os.environ[name]}, set by the environment'
            yield Fact(_GROUP, name, text)
    yield from _gpu(torch)
    if _PAGES.exists():
        yield _pages(_PAGES.read_text())
    yield _temporary()
    yield from _qgis()


def _gpu(torch: Mapping[str, Any]) -> Iterator[Fact]:
    """Name what torch can compute on, and a GPU that it cannot see."""
    if 'devices' not in torch:
        return
    if torch['devices']:
        yield Fact(_GROUP, 'GPU', ', '.join(torch['devices']))
    elif _NVIDIA.exists() and torch['cuda'] is None:
        text = 'there is one of NVIDIA, and this torch was built for CPUs'
        cure = 'install torch for CUDA as pytorch.org/get-started says'
        yield Fact(_GROUP, 'GPU', text, 'fault', cure)
    elif _NVIDIA.exists():
        text = (
            f'there is one of NVIDIA, and torch for CUDA {torch["cuda"]} cannot use it'
        )
        cure = (
            'update the driver, or install torch for an older CUDA; CUDA_VISIBLE_DEVICES '
            'may hide it'
        )
        hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
        if hidden:
            text = 'hidden by CUDA_VISIBLE_DEVICES'
        yield Fact(
            _GROUP, 'GPU', text, 'ok' if hidden else 'fault', '' if hidden else cure
        )
    else:
        yield Fact(_GROUP, 'GPU', 'none found; the CPU is used')


def _pages(text: str) -> Fact:
    """Say whether large arrays may lie in huge pages."""
    chosen = text.partition('[')[2].partition(']')[0] or text.strip()
    if chosen != 'never':
        return Fact(_GROUP, 'huge pages', chosen)
    cure = f'echo madvise | sudo tee {_PAGES}'
    text = 'never; embedding on a CPU is slower without'
    return Fact(_GROUP, 'huge pages', text, 'absent', cure)


def _temporary() -> Fact:
    """Look at the folder for temporary files."""
    name = 'temporary files'
    cure = 'name a folder with space in TMPDIR'
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile() as file:
            file.write(b'x' * 4096)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Fact(_GROUP, name, f'cannot be written ({error})', 'fault', cure)
    text = f'{folder}, {free / 2**30:.1f} GiB free'
    if free < _LEAST:
        return Fact(_GROUP, name, text, 'fault', f'free some space, or {cure}')
    return Fact(_GROUP, name, text)


def _qgis() -> Iterator[Fact]:
    """Name QGIS and the plugin in its profiles."""
    found = programs()
    if not found:
        yield Fact(_GROUP, 'QGIS', 'not found; layers open in any GIS', 'absent')
        return
    yield Fact(_GROUP, 'QGIS', ', '.join(found))
    plugins = installed_plugins()
    for folder in plugins:
        yield Fact(_GROUP, 'plugin for QGIS', str(folder))
    if not plugins:
        cure = 'torchgeo-cmr qgis-plugin --install'
        yield Fact(_GROUP, 'plugin for QGIS', 'not installed', 'absent', cure)
