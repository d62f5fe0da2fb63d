"""The option --model on real rasters: every adapter, weights of the published layout in a file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import torch
import torchgeo.models
import xarray as xr
from shallow import make_shallow

from torchgeo_cmr.models.foundation.adapters import ADAPTERS
from torchgeo_cmr.table import EmbeddingTable

SHARED = Path(__file__).parents[3] / 'shared/data'
pytestmark = pytest.mark.skipif(
    not (SHARED / 's1s2_san_antonio').is_dir(), reason='the shared samples are not here'
)
NAMES = (
    'presto',
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            'copernicusfm_base',
            'croma_base',
            'dofa_base_patch16_224',
            'panopticon_vitb14',
        )
    ),
)
PRESTO = 'B02,B03,B04,B05,B06,B07,B08,B11,B12'

#: Model that takes them -> archive, files, modality and further words of the command.
CASES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    'any': (
        ('radar', 'terramesh_samples/S1RTC', 's1', '--units db --size 224'),
        ('optical', 'terramesh_samples/S2L2A', 's2', '--size 224'),
    ),
    'separate bands': (
        ('separate', 'bigearthnet_samples/S1', 's1', '--units db --size 120'),
        ('of-bands', 'bigearthnet_samples/S2', 's2', '--size 120'),
    ),
    'some bands': (
        ('rgb', 's1s2_san_antonio/S2/*257.tif', 's2', '--bands B04,B03,B02 {data}'),
        ('months', 'worldcereal_belgium/*inputs.nc', 's2', f'--bands {PRESTO} {{one}}'),
    ),
    'wavelengths': (
        ('vh', 's1s2_san_antonio/S1/*257.tif', 's1', '--bands VH {data}'),
        (
            'landsat',
            'panms_landsat_navarra/ms_example.tif',
            'ms',
            '--bands 655,561,482,865 {data} --size 256',
        ),
        (
            'pan',
            'panms_landsat_navarra/pan_example.tif',
            'pan',
            '--bands 590 {data} --size 512',
        ),
    ),
}
#: Few patches: a model takes up to two seconds for each, but for presto.
WORDS = {'data': '--normalize data --size 1024', 'one': '--size 100'}
QUICK = {**WORDS, 'data': '--normalize data --size 512'}


@pytest.fixture(scope='module', params=NAMES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Name of a model with a file of random weights, written as its authors wrote theirs.

    It has fewer blocks than theirs, which are tested in ``tests/models/test_foundation.py``.
    """
    with pytest.MonkeyPatch.context() as patch:
        make_shallow(patch)
        yield from written(request.param, tmp_path_factory.mktemp('weights'))


def written(name: str, folder: Path) -> Iterator[str]:
    """Write a file of weights, for as long as it is needed."""
    torch.manual_seed(1)
    network = ADAPTERS[name].build(name, None)
    if name == 'croma_base':
        parts = ('s1_encoder', 's1_GAP_FFN', 's2_encoder', 's2_GAP_FFN')
        state = {part: getattr(network, part).state_dict() for part in parts}
        state['joint_encoder'] = torchgeo.models.croma_base().joint_encoder.state_dict()
    elif name == 'panopticon_vitb14':
        state = dict(network.model.state_dict())
        state['mask_token'] = torch.zeros(1, 768)
        state['pos_embed'] = torch.randn(1, 1 + 37**2, 768)
    else:
        left_out = () if name == 'presto' else ('head.', 'fc_norm.')
        state = {
            key: value
            for key, value in network.state_dict().items()
            if not key.startswith(left_out)
        }
    path = folder / f'{name}.pt'
    torch.save(state, path)
    yield f'{name}:{path}'
    path.unlink()


def few_months(pattern: Path, folder: Path) -> Path:
    """Copy two of the twelve months of a cube."""
    (cube,) = pattern.parent.glob(pattern.name)
    with xr.open_dataset(cube, decode_coords='all') as months:
        months.isel(t=slice(5, 7)).to_netcdf(folder / 'months.nc')
    return folder / 'months.nc'


@pytest.mark.slow
def test_archives_of_real_files_search_and_export(
    run: Callable[..., Any], model: str, tmp_path: Path
) -> None:
    name = model.partition(':')[0]
    quick = name == 'presto'
    # One file per band is read before any model sees a pixel: presto shows it.
    cases = [*CASES['any'], *(CASES['separate bands'] if quick else ())]
    if name != 'croma_base':
        cases += CASES['some bands']
    if name not in ('croma_base', 'presto'):
        cases += CASES['wavelengths']
    spaces: dict[bool, set[str | None]] = {False: set(), True: set()}
    for out, files, modality, words in cases:
        scenes = SHARED / files
        if out == 'months' and not quick:
            scenes = few_months(scenes, tmp_path)
        ran = run(
            *('embed', scenes, '--model', model, '--modality', modality),
            *words.format(**QUICK if quick else WORDS).split(),
            *('--out', tmp_path / out, '--quiet'),
        )
        assert ran.code == 0, (out, ran.err)
        table = EmbeddingTable.load(tmp_path / out)
        assert len(table) > 0
        spaces['{data}' in words].add(table.space)
    # All archives of one model can be compared, if their pixels were normalised alike.
    assert all(len(found) <= 1 for found in spaces.values())
    assert not spaces[False] & spaces[True]
    layer = tmp_path / 'hits.gpkg'
    for query, archive, found in (
        ('radar', 'optical', 2),
        *((('separate', 'of-bands', 3),) if quick else ()),
        *((('vh', 'rgb', 1),) if (tmp_path / 'vh').exists() else ()),
    ):
        ran = run(
            *('search', tmp_path / archive, '--query', tmp_path / query),
            *('-k', 1, '--out', layer, '--overwrite'),
        )
        assert ran.code == 0, ran.err
        assert len(gpd.read_file(layer, layer='results')) >= found
    pixels = ('--query', SHARED / 'terramesh_samples/S1RTC/38D_378R_2_3.tif')
    words = ('--query-modality', 's1', '--units', 'db', '--size', 224, '-k', 1)
    searched = run('search', tmp_path / 'optical', *pixels, *words, '--model', model)
    assert searched.code == 0, searched.err


SAN_ANTONIO = 's1s2_san_antonio/{}/*257.tif'


@pytest.mark.parametrize(
    ('files', 'modality', 'words', 'message'),
    [
        # display values in the place of decibels and reflectance
        (SAN_ANTONIO.format('S2'), 's2', '--bands B04,B03,B02', 'numbers of 8 bits'),
        (
            SAN_ANTONIO.format('S1'),
            's1',
            '',
            'there is no band VV; name the bands that there are with --bands, if presto',
        ),
        (SAN_ANTONIO.format('S1'), 's1', '--bands VH', 'Presto sees VV, VH together'),
        ('terramesh_samples/S1RTC', 's1', '', 'as db, power or amplitude'),
        ('terramesh_samples/S1RTC', 's1', '--units dn', '--normalize data'),
        (
            'worldcereal_belgium/*inputs.nc',
            's2',
            '',
            'refused: 11; name the bands that there are with --bands, if presto',
        ),
        ('panms_landsat_navarra/ms*.tif', 'ms', '', 'which bands does ms have'),
        (
            'panms_landsat_navarra/ms*.tif',
            'ms',
            '--bands 655,561,482,865',
            'does not know 655, 561',
        ),
    ],
)
def test_what_does_not_fit_is_a_sentence_that_helps(
    refused: Callable[..., str],
    tmp_path: Path,
    files: str,
    modality: str,
    words: str,
    message: str,
) -> None:
    line = refused(
        *('embed', SHARED / files, '--model', 'presto', '--modality', modality),
        *words.split(),
        *('--size', 64, '--out', tmp_path / 'out', '--quiet'),
    )
    assert message in line
    assert not (tmp_path / 'out').exists()


def test_pixels_of_any_kind_by_their_own_statistics(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    """An archive keeps the numbers that it was begun with, whatever comes later."""
    out = tmp_path / 'rgb'
    frames = sorted((SHARED / 's1s2_san_antonio/S2').glob('*.tif'))[:2]
    words = ('--model', 'presto', '--modality', 's2', '--bands', 'B04,B03,B02')
    words += ('--normalize', 'data', '--size', 512, '--out', out, '--quiet')
    words += ('--root', frames[0].parent)
    torch.manual_seed(0)
    assert run('embed', frames[0], *words).code == 0
    begun = EmbeddingTable.load(out).record['normalisation']
    assert all(40 < mean < 160 for mean in begun['mean'])
    assert all(20 < std < 90 for std in begun['std'])
    torch.manual_seed(0)
    ran = run('embed', *frames, *words, '--update')
    assert ran.code == 0, ran.err
    table = EmbeddingTable.load(out)
    assert len(table) == 8
    assert table.record['normalisation'] == begun
