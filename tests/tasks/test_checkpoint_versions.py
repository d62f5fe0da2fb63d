"""Which checkpoints are read: of this and earlier releases, by what they say of themselves."""

import pytest

from torchgeo_cmr import __version__
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.tasks.arguments import check_section

SECTION = {
    'modalities': ['a', 'b'],
    'keys': {'a': 'image_a', 'b': 'image_b'},
    'specs': {'a': {'gsd': 10.0, 'patch_size': [32, 32]}, 'b': None},
}


@pytest.mark.parametrize('version', [__version__, '0.0.9', '0.1.7', '0.1.0.dev0+local'])
def test_this_and_earlier_releases(version: str) -> None:
    check_section({**SECTION, 'version': version}, 'x.ckpt')


@pytest.mark.parametrize('version', ['99', '0.99.1', '1.0', 99])
def test_a_later_release(version: object) -> None:
    with pytest.raises(
        ArchiveError, match=r'x\.ckpt was written by a newer torchgeo_cmr'
    ):
        check_section({**SECTION, 'version': version}, 'x.ckpt')


@pytest.mark.parametrize('name', ['gsd', 'patch_size', 'seconds', 'sample_rate'])
@pytest.mark.parametrize('value', [0, -1])
def test_sizes_that_cannot_be(name: str, value: int) -> None:
    specs = {'a': {name: value}, 'b': {}}
    with pytest.raises(ArchiveError, match=f'{name} of a is {value}'):
        check_section({**SECTION, 'specs': specs}, 'x.ckpt')


def test_keys_of_other_modalities() -> None:
    with pytest.raises(ArchiveError, match='keys are not those'):
        check_section({**SECTION, 'keys': {'a': 'x'}}, 'x.ckpt')
