"""Messages for people who write Python, on a terminal."""

import warnings

import pytest

from torchgeo_cmr.cli.notes import talk_on_stderr
from torchgeo_cmr.cli.option_names import as_options


@pytest.mark.parametrize(
    ('command', 'message', 'seen'),
    [
        (
            'embed',
            'state it with `units` or `min_valid`',
            'state it with --units or --min-valid',
        ),
        ('embed', 'the scenes `scenes` and `--out`', 'the scenes `scenes` and `--out`'),
        ('info', 'state it with `units`', 'state it with `units`'),
        ('fit', 'give `datasets`', 'give `datasets`'),
    ],
)
def test_arguments_are_written_as_options(
    command: str, message: str, seen: str
) -> None:
    assert as_options(message, command) == seen


@pytest.mark.filterwarnings('default')
def test_warnings_name_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, 'showwarning', None)
    talk_on_stderr('embed')
    warnings.showwarning('check `units`', UserWarning, 'a.py', 1)
    assert capsys.readouterr().err == 'warning: check --units\n'
