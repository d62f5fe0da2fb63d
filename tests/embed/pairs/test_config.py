"""The data of a training run, from the YAML that trained it."""

from pathlib import Path

import pytest

from torchgeo_cmr.datamodules import BEN14KDataModule
from torchgeo_cmr.embed import open_data
from torchgeo_cmr.errors import RasterError

ROOT = Path(__file__).parents[3]


def test_only_the_data_of_an_example_is_read(tmp_path: Path) -> None:
    example = ROOT / 'examples' / '03_bigearthnet.yaml'
    data = open_data(example)
    assert isinstance(data, BEN14KDataModule)
    assert data.batch_size == 256
    # no path is needed for what is ours, as for `fit`, and the model may be anything
    short = tmp_path / 'short.yaml'
    short.write_text(
        'model: {class_path: nowhere.Task}\n'
        'data: {class_path: BEN14KDataModule, init_args: {root: here, batch_size: 3}}\n'
    )
    data = open_data(short)
    assert isinstance(data, BEN14KDataModule)
    assert (data.batch_size, data.dataset_kwargs['root']) == (3, 'here')


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('model: 1', 'has no section `data`'),
        ('- data', 'has no sections: begin it with'),
        ('data: 1\ndata: 2', 'has data twice, in lines 1 and 2'),
        ('data: [', 'is not YAML'),
        ('data: {class_path: nowhere.Data}', 'cannot be used: .*nowhere.Data'),
        (
            'data: {class_path: BEN14KDataModule, init_args: {folder: x}}',
            'cannot be used: .*folder',
        ),
        (
            'data: {class_path: BEN14KDataModule, init_args: {statistics: x}}',
            'cannot be used: .*statistics',
        ),
        ('data: {class_path: ChipDataModule}', 'give either `train`'),
    ],
)
def test_refusals(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / 'run.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        open_data(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match='cannot be read: name the YAML'):
        open_data(tmp_path / 'nowhere.yaml')
