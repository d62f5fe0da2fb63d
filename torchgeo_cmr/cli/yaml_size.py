"""Whether YAML is as small as it looks: a few lines of aliases can stand for billions of values."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torchgeo_cmr.errors import OptionError
from torchgeo_cmr.regular_files import check_regular

#: Values that a configuration may stand for, and levels of nesting.
_MOST, _DEEPEST = 100_000, 100
#: Bytes of a configuration.
_LONGEST = 10 << 20


def check_yaml(words: Sequence[str]) -> None:
    """Refuse files of YAML that a parser would not come to the end of.

    Args:
        words: Words of the command line; those that are no files are left alone.

    Raises:
        OptionError: If one stands for too many values, or is nested too deeply.
    """
    for word in words:
        path = Path(word.partition('=')[2] if word.startswith('--') else word)
        if path.suffix.lower() in ('.yaml', '.yml', '.json') and _exists(path):
            check_regular(path, OptionError)
            if path.stat().st_size > _LONGEST:
                raise OptionError(
                    f'{path} is too long for a configuration: name another file'
                )
            _check(path)


def _exists(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _check(path: Path) -> None:
    """Count the values of a file, aliases as often as they stand for something."""
    import yaml

    try:
        text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise OptionError(f'{path} is not text in UTF-8: name another file') from error
    try:
        size, deepest = _measure(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        return  # whoever reads it says what is wrong
    if size > _MOST or deepest > _DEEPEST:
        raise OptionError(
            f'{path} stands for more than {_MOST} values or is nested more than {_DEEPEST} deep, as no '
            'configuration is: write out what its aliases stand for'
        )


def _measure(events: Iterator[Any]) -> tuple[int, int]:
    """Give the number of values, and how deep they are nested."""
    import yaml

    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    deepest = 0
    for event in events:
        added, anchor = 0, None
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            deepest = max(deepest, len(open_nodes) - 1)
            if deepest > _DEEPEST:
                return 1, deepest
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, added = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, added = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            # One that stands for what it is in has no end.
            inside = any(name == event.anchor for name, _ in open_nodes)
            added = _MOST * 10 if inside else sizes.get(event.anchor, 1)
        if anchor is not None:
            sizes[anchor] = added
        name, size = open_nodes[-1]
        open_nodes[-1] = (name, size + added)
        if size + added > _MOST:
            return size + added, deepest
    return open_nodes[0][1], deepest
