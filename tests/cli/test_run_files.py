"""Files that are not there are refused before a run loads anything."""

from pathlib import Path

import pytest

from torchgeo_cmr.cli.run_files import check_run_files
from torchgeo_cmr.errors import CMRError


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('fit run.yaml', 'write --config run.yaml'),
        ('fit --config gone.yaml', 'there is no gone.yaml'),
        ('test -c gone.yaml --trainer.max_epochs 2', 'there is no gone.yaml'),
        ('fit --config=run.yaml --config=gone.yml', 'there is no gone.yml'),
        ('fit --config run.yaml --ckpt_path gone.ckpt', 'no checkpoint gone.ckpt'),
        ('test --config run.yaml --ckpt_path=gone.ckpt', 'no checkpoint gone.ckpt'),
    ],
)
def test_what_is_missing_is_named(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('run.yaml').touch()
    with pytest.raises(CMRError, match=message):
        check_run_files(words.split())


@pytest.mark.parametrize(
    'words',
    [
        'fit',
        'fit --config run.yaml --ckpt_path last',
        'fit --config run.yaml --ckpt_path registry:a:version:3',
        'fit --config https://example.com/run.yaml --ckpt_path s3://box/a.ckpt',
        'fit --config file:///run.yaml --ckpt_path file:///a.ckpt',
        'fit --config run.yaml --data.init_args.root x.yaml',
        'fit --config',
    ],
)
def test_what_lightning_finds_is_left_to_it(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('run.yaml').touch()
    check_run_files(words.split())
