"""Draws the pictures of the pages on exports and on QGIS: the real QGIS 3.22 or newer.

Needs ``/usr/bin/python3`` with PyQGIS, the desktop and a screen for it (``apt-get install
--no-install-recommends qgis python3-qgis xvfb``). The world is the
invented one; to keep this quick, a patch's vector is the mean and spread of its four bands,
not what a trained encoder gives::

    python docs/make_pictures.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine

from torchgeo_cmr.datasets import SyntheticLandscape
from torchgeo_cmr.export import to_geotiff, to_project
from torchgeo_cmr.main import main as torchgeo_cmr
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable

ROOT = Path(__file__).parents[1]
SIZE = 8


def archive(scene: Path) -> EmbeddingTable:
    """Make a table of the patches of one scene.

    Args:
        scene: Raster of the invented world.
    """
    with rasterio.open(scene) as file:
        pixels, transform, crs = (
            file.read().astype(np.float64),
            file.transform,
            file.crs,
        )
    rows, shapes, vectors, corners = [], [], [], []
    for i in range(0, pixels.shape[1] - SIZE + 1, SIZE):
        for j in range(0, pixels.shape[2] - SIZE + 1, SIZE):
            patch = pixels[:, i : i + SIZE, j : j + SIZE].reshape(len(pixels), -1)
            own = transform @ Affine.translation(j, i)
            ring = [own @ p for p in ((0, 0), (SIZE, 0), (SIZE, SIZE), (0, SIZE))]
            rows.append(f'ms:{scene.name}:{i}_{j}_{SIZE}x{SIZE}')
            shapes.append(shapely.Polygon(ring))
            corners.append(np.ravel(ring))
            vectors.append(np.concatenate([patch.mean(axis=1), patch.std(axis=1)]))
    features = np.array(vectors)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    frame = gpd.GeoDataFrame(
        {
            'patch_id': rows,
            'source': scene.name,
            'time_start': pd.Timestamp('2024-05-28T09:45:12Z'),
            'time_end': pd.Timestamp('2024-05-28T09:45:12Z'),
            'src_crs': crs.to_string(),
            'native_corners': corners,
        },
        geometry=shapes,
        crs=crs.to_wkt(),
    )
    return EmbeddingTable.from_frame(frame, features, space='bands', modality='ms')


def render(path: Path, picture: Path, only: list[str]) -> None:
    """Draw layers of a project with QGIS.

    Args:
        path: Project.
        picture: PNG to write.
        only: Names of the layers.
    """
    job = {'path': str(path), 'picture': str(picture), 'size': [560, 420], 'only': only}
    script = ROOT / 'tests' / 'export' / 'qgis_render.py'
    subprocess.run(['/usr/bin/python3', str(script), json.dumps(job)], check=True)


def plugin_window(folder: Path, scene: Path, images: Path) -> None:
    """Search with the plugin in the desktop of QGIS.

    Args:
        folder: Folder with an archive; gets a profile of QGIS.
        scene: Raster to show below the hits.
        images: Where the pictures go.
    """
    profile = folder / 'profiles' / 'default'
    settings = profile / 'QGIS' / 'QGIS3.ini'
    settings.parent.mkdir(parents=True)
    program = Path(sys.executable).with_name('torchgeo-cmr')
    settings.write_text(
        '[PythonPlugins]\ncross_modal_retrieval=true\nprocessing=true\n'
        f'[torchgeo_cmr]\nprogram={program}\n'
    )
    assert not torchgeo_cmr(['qgis-plugin', '--install', '--profile', str(profile)])
    runtime = folder / 'run'
    runtime.mkdir(mode=0o700)
    theirs = ('PYTHON', 'GDAL_', 'PROJ_', 'VIRTUAL_ENV')
    clean = {k: v for k, v in os.environ.items() if not k.startswith(theirs)}
    clean |= {
        'PICTURE': str(images / 'qgis_plugin.png'),
        'DIALOG': str(images / 'qgis_plugin_dialog.png'),
        'SCENE': str(scene),
        'ARCHIVE': str(folder / 'archive'),
        'XDG_RUNTIME_DIR': str(runtime),
    }
    screen = ['xvfb-run', '-a', '-s', '-screen 0 1280x800x24']
    desktop = ['qgis', '--profiles-path', str(folder), '--noversioncheck', '--nologo']
    code = ROOT / 'docs' / 'qgis_plugin_window.py'
    subprocess.run([*screen, *desktop, '--code', str(code)], check=True, env=clean)


def main() -> None:
    """Make the world, search in it, write, draw."""
    images = ROOT / 'docs' / 'images'
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        world = SyntheticLandscape(folder / 'world', seed=0, size=384)
        scene = Path(world.files('ms')[0])
        table = archive(scene)
        query = table.select([len(table) // 2 + 9])
        area = table.frame.total_bounds.tolist()
        where = Where((area[0], area[1], area[2], (area[1] + area[3]) / 2))
        # Beside its neighbours a patch is like itself; leave it out.
        results = RetrievalIndex(table).search(query, 31, where=where)
        results = results[results['patch_id'] != query.frame['patch_id'][0]]
        everything = RetrievalIndex(table).search(query, len(table))
        heat = to_geotiff(everything, folder / 'hits_similarity.tif')
        project = to_project(
            results,
            folder / 'hits.qgz',
            queries=query,
            area=where,
            similarity=heat,
            rasters=[scene],
        )
        hits = ['query', 'results', 'area_of_interest', scene.stem]
        render(project, images / 'qgis_results.png', hits)
        render(project, images / 'qgis_similarity.png', ['query', 'similarity'])
        script, window = ROOT / 'docs' / 'qgis_window.py', images / 'qgis_window.png'
        subprocess.run(
            ['/usr/bin/python3', str(script), str(project), str(window)], check=True
        )
        table.save(folder / 'archive')
        plugin_window(folder, scene, images)


if __name__ == '__main__':
    main()
