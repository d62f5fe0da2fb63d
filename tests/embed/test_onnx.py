"""An encoder as ONNX: the same vectors from the same raw pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchgeo_cmr.embed import (
    Encoding,
    embed,
    export_onnx,
    list_scenes,
    onnx,
    plan_scenes,
)
from torchgeo_cmr.embed.onnx import OnnxEncoder, quicker_encoder
from torchgeo_cmr.embed.run_options import EncoderOptions
from torchgeo_cmr.embed.scenes.worker import open_encoder
from torchgeo_cmr.errors import CMRError, OutputExistsError, QueryError, RasterError
from torchgeo_cmr.tasks import SSCMRSIR, SupervisedCMR

BANDS = {'s1': ['VV', 'VH'], 's2': ['B02', 'B03', 'B04']}


def trained(**more: Any) -> SSCMRSIR:
    torch.manual_seed(0)
    return SSCMRSIR(
        in_channels={'s1': 2, 's2': 3},
        model='test_resnet',
        bands=BANDS,
        mean={'s1': [-12.0, -18.0], 's2': [1000.0, 900.0, 800.0]},
        # A constant band has no deviation, and is ignored.
        std={'s1': [5.0, 4.0], 's2': [500.0, 0.0, 400.0]},
        **more,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ('modality', 'more'),
    [
        ('s1', {}),
        ('s2', {'retrieval_features': 'h'}),
        ('s2', {'variant': 'joint'}),
        ('s2', {'preset': 'aligned', 'two_heads': True}),
    ],
)
def test_the_graph_is_the_task(
    tmp_path: Path, modality: str, more: dict[str, Any]
) -> None:
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    task = trained(**more).train()
    path = export_onnx(task, modality, tmp_path / 'encoder.onnx', size=24)
    assert task.training
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    generator = np.random.default_rng(0)
    channels = len(BANDS[modality])
    pixels = generator.normal(size=(5, channels, 24, 24)).astype(np.float32)
    pixels = pixels * 300 + (900 if modality == 's2' else 0)
    pixels[0, 0, :5] = np.nan
    (found,) = session.run(['vectors'], {'pixels': pixels})
    batch = {f'image_{modality}': torch.from_numpy(pixels)}
    expected = task.eval().embed(batch, modality).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    told = session.get_modelmeta().custom_metadata_map
    assert told['space'] == task.space
    assert told['modality'] == modality
    assert told['bands'] == str(BANDS[modality]).replace("'", '"')
    # Without a task: raw pixels are all that it needs.
    assert [i.name for i in session.get_inputs()] == ['pixels']


@pytest.mark.slow
def test_an_archive_by_onnx_runtime_is_that_of_torch(
    tmp_path: Path, write_raster: Callable[..., Path]
) -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    data = np.random.default_rng(0).uniform(0, 3000, (3, 40, 56))
    path = write_raster('a.tif', data=data, bands=BANDS['s2'])
    task = trained()
    options: dict[str, Any] = {'progress': False, 'flips': True, 'batch_size': 4}
    torch_, onnx = (
        embed(task, [path], 's2', 16, runtime=runtime, **options)
        for runtime in ('torch', 'onnx')
    )
    assert len(onnx) == 6
    np.testing.assert_allclose(onnx.vectors, torch_.vectors, atol=1e-5)
    assert onnx.record == torch_.record
    assert onnx.space == torch_.space
    with pytest.raises(RasterError, match='found cpu, precision bf16 and 1 sizes'):
        embed(task, [path], 's2', 16, runtime='onnx', precision='bf16', **options)
    with pytest.raises(
        RasterError, match="no runtime 'tvm': choose one of auto, torch, onnx"
    ):
        embed(task, [path], 's2', 16, runtime='tvm', **options)  # ty: ignore[invalid-argument-type]


CPU = torch.device('cpu')


@pytest.mark.slow
def test_onnx_runtime_is_chosen_where_there_is_enough_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    task = trained()
    written = export_onnx(task, 's2', tmp_path / 'encoder.onnx', size=16)

    def export(*given: Any, **more: Any) -> Path:
        return written

    # An export takes seconds, and is the same each time.
    monkeypatch.setattr(onnx, 'export_onnx', export)
    once = onnx._operations(task, 's2', 16)
    enough = int(onnx._WORTH // once) + 1
    given: tuple[Any, ...] = (CPU, Encoding())
    assert quicker_encoder(task, 's2', {16: enough - 1}, *given) is task
    encoder = quicker_encoder(task, 's2', {16: enough}, *given)
    assert isinstance(encoder, OnnxEncoder)
    pixels = {'image_s2': 900 + 300 * torch.randn(6, 3, 16, 16)}
    expected = task.eval().embed(pixels, 's2')
    assert torch.allclose(encoder.embed(pixels, 's2'), expected, rtol=0, atol=1e-5)
    # Four flips are four times the work.
    flips = CPU, Encoding(flips=True)
    assert quicker_encoder(task, 's2', {16: enough // 4 + 1}, *flips) is not task
    monkeypatch.setattr(onnx, '_TOLERANCE', -1.0)
    assert quicker_encoder(task, 's2', {16: enough}, *given) is task
    with pytest.raises(
        CMRError, match=r'vectors of s2 that differ by .*use the runtime'
    ):
        OnnxEncoder(task, 's2', 16)


@pytest.mark.parametrize(
    ('sizes', 'device', 'encoding'),
    [
        ({16: 10**12, 24: 1}, CPU, Encoding()),
        ({16: 10**12}, CPU, Encoding('bf16')),
        ({16: 10**12}, torch.device('cuda'), Encoding()),
    ],
)
def test_torch_stays_where_onnx_runtime_is_not_for(
    monkeypatch: pytest.MonkeyPatch,
    sizes: dict[int, int],
    device: torch.device,
    encoding: Encoding,
) -> None:
    monkeypatch.setattr(onnx, '_can_export', lambda: True)
    monkeypatch.setattr(onnx, 'OnnxEncoder', lambda *_: pytest.fail('was opened'))
    task = trained()
    assert quicker_encoder(task, 's2', sizes, device, encoding) is task
    # Whatever is no task of ours cannot be exported.
    assert quicker_encoder(sizes, 's2', {16: 10**12}, CPU, Encoding()) is sizes
    monkeypatch.setattr(onnx, '_LARGEST', 10)
    assert quicker_encoder(task, 's2', {16: 10**12}, CPU, Encoding()) is task
    monkeypatch.setattr(onnx, '_can_export', lambda: False)
    assert quicker_encoder(task, 's2', {16: 10**12}, CPU, Encoding()) is task


def test_a_failed_export_leaves_torch_and_its_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError('no such operator\nand a long trace')

    caplog.set_level('INFO', 'torchgeo_cmr.embed.onnx')
    monkeypatch.setattr(onnx, '_can_export', lambda: True)
    monkeypatch.setattr(onnx, '_WORTH', 1)
    monkeypatch.setattr(onnx, 'OnnxEncoder', fail)
    task = trained()
    assert quicker_encoder(task, 's2', {16: 9}, CPU, Encoding()) is task
    (record,) = caplog.records
    assert record.message.endswith('ONNX Runtime cannot: no such operator')


@pytest.mark.parametrize(
    ('settled', 'more', 'opened'),
    [
        ('auto', {}, ['quicker']),
        ('auto', {'compile': True}, []),
        ('torch', {}, []),
        ('onnx', {}, ['onnx']),
    ],
)
def test_what_one_process_settled_holds_in_all(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    write_raster: Callable[..., Path],
    settled: Any,
    more: dict[str, Any],
    opened: list[str],
) -> None:
    seen: list[str] = []
    names = {'quicker': 'quicker_encoder', 'onnx': 'onnx_encoder'}
    for name, function in names.items():
        monkeypatch.setattr(
            f'torchgeo_cmr.embed.scenes.worker.{function}',
            lambda task, *_, name=name: seen.append(name) or task,
        )
    scenes = list_scenes([write_raster('a.tif', bands=BANDS['s2'], shape=(16, 16))])
    (item,) = plan_scenes(scenes, 's2', 8).items
    running = EncoderOptions(runtime=settled, **more)
    task = trained()
    assert open_encoder(task, [item], running, CPU, Encoding()) is task
    assert seen == opened


def test_mistakes_are_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'encoder.onnx'
    with pytest.raises(QueryError, match="no modality 's3': it knows s1, s2"):
        export_onnx(trained(), 's3', path)
    with pytest.raises(RasterError, match='patch size of s1 is unknown: give size'):
        export_onnx(trained(), 's1', path)
    bare = SSCMRSIR(in_channels={'s1': 2, 's2': 3}, model='test_resnet')
    with pytest.raises(RasterError, match='mean and standard deviation of s1'):
        export_onnx(bare, 's1', path, size=16)
    early = SupervisedCMR(
        in_channels={'s1': 2, 's2': 3},
        num_classes=4,
        model='test_resnet',
        variant='bands_12',
        mean={'s1': [0.0] * 2, 's2': [0.0] * 3},
        std={'s1': [1.0] * 2, 's2': [1.0] * 3},
    )
    with pytest.raises(QueryError, match='embeds s1, s2 together'):
        export_onnx(early, 's1', path, size=16)
    monkeypatch.setitem(__import__('sys').modules, 'onnxscript', None)
    with pytest.raises(CMRError, match=r'install torchgeo-cmr\[onnx\]'):
        export_onnx(trained(), 's1', path, size=16)
    assert not list(tmp_path.iterdir())
    path.write_bytes(b'mine')
    with pytest.raises(OutputExistsError, match='is there already'):
        export_onnx(trained(), 's1', path, size=16)
