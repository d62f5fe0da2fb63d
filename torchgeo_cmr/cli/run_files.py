"""The files that words of ``fit`` and its like name: missing ones are refused before torch is loaded."""

import os
from collections.abc import Iterator, Sequence

from torchgeo_cmr.errors import CMRError, QueryError
from torchgeo_cmr.regular_files import check_checkpoint, check_there

_YAML = ('.yaml', '.yml')
#: Words that Lightning reads as one of its own checkpoints.
_CHOSEN = ('best', 'last', 'hpc', 'registry')


def check_run_files(words: Sequence[str]) -> None:
    """Refuse files that are not there.

    Args:
        words: The command and its words.

    Raises:
        QueryError: If a YAML is a word of its own.
        CMRError: If a configuration is missing.
        ArchiveError: If a checkpoint is missing.

    Examples:
        >>> check_run_files(['fit', 'run.yaml'])
        Traceback (most recent call last):
        torchgeo_cmr.errors.QueryError: run.yaml is no option: write --config run.yaml
    """
    if words[1:] and words[1].endswith(_YAML) and not words[1].startswith('-'):
        raise QueryError(f'{words[1]} is no option: write --config {words[1]}')
    for option, value in given(words):
        # Lightning opens addresses of any kind, those of this disk (file://) too.
        if '://' in value:
            continue
        if option in ('--config', '-c') and value.endswith(_YAML):
            check_there(os.path.expanduser(value), CMRError)
        chosen = value.partition(':')[0] in _CHOSEN
        if option == '--ckpt_path' and value.endswith('.ckpt') and not chosen:
            check_checkpoint(value)


def given(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give options with their values, which stand behind ``=`` or in the next word.

    Args:
        words: The command and its words.
    """
    for word, after in zip(words, [*words[1:], ''], strict=True):
        option, equals, value = word.partition('=')
        yield option, value if equals else after
