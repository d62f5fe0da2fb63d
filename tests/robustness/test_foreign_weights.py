"""Files of weights that others wrote: taken whole, or refused in a sentence with file and cure."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torchgeo_cmr.models import build_encoder
from torchgeo_cmr.models.csmae_encoder import CSMAEEncoder, load_csmae
from torchgeo_cmr.models.foundation.adapter import LocalWeights

KERNEL, VARIANCE = '0.weight', '1.running_var'


class Touching:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ('ran',)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def state(**changed: Any) -> dict[str, Any]:
    return {**network().state_dict(), **changed}


def saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def packed(edit: Callable[[str, bytes], bytes | None]) -> bytes:
    """Save good weights, and change members of the zip file."""
    old, new = io.BytesIO(saved(state())), io.BytesIO()
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(new, 'w') as target:
        for name in source.namelist():
            content = edit(name.partition('/')[2], source.read(name))
            if content is not None:
                target.writestr(name, content)
    return new.getvalue()


def claiming(numbers: int) -> bytes:
    """Save good weights whose first storage claims so many numbers."""
    count = struct.pack('<BB', ord('K'), state()[KERNEL].numel())
    claim = b'\x8a\x08' + struct.pack('<q', numbers)
    return packed(lambda n, d: d.replace(count, claim, 1) if n == 'data.pkl' else d)


def safetensors(header: Any, length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text


SAFELY, PLAIN, FIT = 'read safely', 'save the state dict', 'does not fit this network'
KERNELS = torch.zeros(4, 3, 3, 3)
FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    'empty': (lambda: b'', SAFELY),
    'a page': (lambda: b'<!DOCTYPE html><title>404</title>', SAFELY),
    'a pointer': (lambda: b'version https://git-lfs.github.com/spec/v1\n', SAFELY),
    **{
        f'cut to {share}': (lambda s=share: saved(state())[: int(s * 3000)], SAFELY)
        for share in (0.001, 0.1, 0.9)
    },
    'pickle': (lambda: pickle.dumps({'a': Touching()}), SAFELY),
    'pickle in a zip file': (lambda: saved({'a': Touching()}), SAFELY),
    'pickle as before': (
        lambda: saved({'a': Touching()}, _use_new_zipfile_serialization=False),
        SAFELY,
    ),
    'a network': (lambda: saved(network()), SAFELY),
    'nothing': (lambda: saved(None), 'holds no weights: .* found NoneType'),
    'numbers': (lambda: saved([1, 2]), 'holds no weights: .* found list'),
    'no tensor': (lambda: saved({'epoch': 3}), 'holds no weights'),
    'keys of numbers': (lambda: saved({1: KERNELS}), 'does not hold this network'),
    'another section': (lambda: saved({'state_dict': 5}), 'holds no weights'),
    'a section that is a list': (
        lambda: saved({'state_dict': state(), 'torchgeo_cmr': {'specs': [1]}}),
        'name other weights',
    ),
    'no members': (lambda: packed(lambda n, d: None), SAFELY),
    'no pickle': (lambda: packed(lambda n, d: None if n == 'data.pkl' else d), SAFELY),
    'no numbers': (lambda: packed(lambda n, d: None if 'data/' in n else d), SAFELY),
    'few numbers': (lambda: packed(lambda n, d: d[:4] if 'data/' in n else d), SAFELY),
    'nested deeply': (
        lambda: packed(
            lambda n, d: (
                b'\x80\x02' + b']' * 9999 + b'a' * 9998 + b'.' if n == 'data.pkl' else d
            )
        ),
        'holds no weights: .* found list',
    ),
    'claims 2**60 numbers': (lambda: claiming(1 << 60), SAFELY),
    'claims -5 numbers': (lambda: claiming(-5), SAFELY),
    **{
        f'{word} in the place of a tensor': (
            lambda v=value, k=key: saved(state(**{k: v})),
            'does not hold this network',
        )
        for word, value in (('list', [1]), ('None', None), ('text', 'x'), ('dict', {}))
        for key in (KERNEL, VARIANCE)
    },
    'sparse': (lambda: saved(state(**{KERNEL: KERNELS.to_sparse()})), PLAIN),
    'sparse variances': (
        lambda: saved(state(**{VARIANCE: torch.ones(4).to_sparse()})),
        PLAIN,
    ),
    'complex': (lambda: saved(state(**{KERNEL: KERNELS.to(torch.complex64)})), PLAIN),
    'without numbers': (lambda: saved(state(**{KERNEL: KERNELS.to('meta')})), PLAIN),
    'nested': (
        lambda: saved(
            state(
                **{KERNEL: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}
            )
        ),
        f'{PLAIN}|{SAFELY}',  # pickled otherwise by Python 3.13
    ),
    '10**11 numbers that are one': (
        lambda: saved(state(**{KERNEL: torch.zeros(1).expand(4, 3, 10**5, 10**5)})),
        PLAIN,
    ),
    'NaN': (lambda: saved(state(**{KERNEL: KERNELS / 0})), 'a tensor with NaN'),
    'NaN variances': (
        lambda: saved(state(**{VARIANCE: torch.full((4,), torch.nan)})),
        'a tensor with NaN',
    ),
    **{
        f'kernels of {dtype}': (
            lambda d=dtype: saved(state(**{KERNEL: KERNELS.to(d)})),
            FIT,
        )
        for dtype in (torch.int64, torch.int8, torch.bool, torch.uint16)
    },
    **{
        f'kernels of shape {shape}': (
            lambda s=shape: saved(state(**{KERNEL: torch.zeros(s)})),
            FIT,
        )
        for shape in ((), (5,), (0, 3, 3, 3), (4, 3, 3), (5, 3, 3, 3), (4, 3, 3, 1))
    },
    'kernels without channels': (
        lambda: saved(state(**{KERNEL: torch.zeros(4, 0, 3, 3)})),
        'were made for 0 channels',
    ),
}


@pytest.mark.filterwarnings('ignore:The PyTorch API of nested tensors')
@pytest.mark.parametrize('name', FILES)
def test_a_file_that_holds_no_weights_of_this_network(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, message = FILES[name]
    path = tmp_path / 'w.pt'
    path.write_bytes(make())
    with pytest.raises(ValueError, match=message) as caught:
        build_encoder(network(), 3, path)
    text = str(caught.value)
    assert 'w.pt' in text
    assert len(text) < 400
    assert text.isprintable()
    assert [p.name for p in tmp_path.iterdir()] == ['w.pt']  # nothing ran
    if message in (SAFELY, PLAIN):
        with pytest.raises(ValueError, match=message):
            LocalWeights(path).get_state_dict()


@pytest.mark.parametrize(
    'content',
    [
        safetensors({}, 2**63),
        safetensors({'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 10**15]}}),
        safetensors([]),
        b'',
    ],
)
def test_safetensors_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'w.safetensors'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'w\.safetensors is in the format of safe'):
        build_encoder(network(), 3, path)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_another_precision_are_converted(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    kernels = torch.full_like(KERNELS, 0.5)
    torch.save(state(**{KERNEL: kernels.to(dtype)}), tmp_path / 'w.pt')
    encoder = build_encoder(network(), 3, tmp_path / 'w.pt')
    assert torch.equal(encoder.state_dict()[f'network.{KERNEL}'], kernels)


@pytest.mark.parametrize('value', [torch.tensor(1.0), torch.zeros(4).int(), 'words'])
def test_weights_of_csmae_of_another_kind(tmp_path: Path, value: Any) -> None:
    encoder = CSMAEEncoder(
        {'s1': 2, 's2': 10},
        image_size=30,
        dim=24,
        num_heads=2,
        specific_depth=1,
        common_depth=1,
    )
    weights = {**encoder.state_dict(), 'patch_embed.proj.weight': value}
    torch.save(weights, tmp_path / 'w.pt')
    with pytest.raises(ValueError, match=r'w\.pt (does not fit|is of another layout)'):
        load_csmae(encoder, tmp_path / 'w.pt')
