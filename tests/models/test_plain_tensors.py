"""Loading tensors: what is in the file, never what happens to be in memory."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torchgeo_cmr.models.plain_tensors import checked_load


def cut(content: Any, length: int) -> bytes:
    """Save, and keep so many bytes of each storage."""
    whole, made = io.BytesIO(), io.BytesIO()
    torch.save(content, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(made, 'w') as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data[:length] if '/data/' in name else data)
    return made.getvalue()


def test_a_storage_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'w.pt'
    path.write_bytes(cut({'a': torch.arange(6.0), 'b': torch.ones(9)}, 4))
    with pytest.raises((RuntimeError, ValueError), match=r'record size|no numbers of'):
        checked_load(path)
    with path.open('rb') as file, pytest.raises((RuntimeError, ValueError)):
        checked_load(file, map_location='cpu')


@pytest.mark.filterwarnings('ignore:Validating sparse tensor')
@pytest.mark.parametrize('options', [{}, {'mmap': True}, {'map_location': 'cpu'}])
def test_tensors_of_any_kind_are_loaded(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    numbers, network = torch.arange(12.0), nn.Linear(3, 4)
    content = {
        'views': [numbers, numbers[3:6], numbers.view(3, 4).T],
        'parameter': nn.Parameter(numbers.clone()),
        'empty': torch.empty(0),
        'kinds': (numbers.half(), numbers.bool(), numbers.to(torch.complex64).conj()),
        'sparse': torch.eye(3).to_sparse(),
        'equal': [torch.tensor(3), torch.tensor(3)],
        'network': network.state_dict(),
        'optimizer': torch.optim.Adam(network.parameters()).state_dict(),
    }
    torch.save(content, path := tmp_path / 'w.pt')
    found = checked_load(path, **options)
    assert found.keys() == content.keys()
    for kind in ('views', 'kinds', 'equal'):
        for left, right in zip(found[kind], content[kind], strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert found['views'][1].data_ptr() == found['views'][0][3:].data_ptr()


def test_the_format_of_before_2020_and_what_holds_itself(tmp_path: Path) -> None:
    path, numbers = tmp_path / 'w.pt', torch.arange(5.0)
    torch.save({'a': numbers}, path, _use_new_zipfile_serialization=False)
    assert checked_load(path)['a'].equal(numbers)
    ring: list[Any] = [numbers]
    ring.append(ring)
    torch.save(ring, path)
    assert checked_load(path)[0].equal(numbers)
