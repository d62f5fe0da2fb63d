"""Whether YAML is as small as it looks: a few lines of aliases can stand for billions of values."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torchgeo_cmr.errors import CMRError, OptionError
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
        if _is_configuration(path):
            check_yaml_file(path)


def check_yaml_file(
    path: Path,
    error_class: type[CMRError] = OptionError,
    *,
    checked: set[Path] | None = None,
) -> None:
    """Refuse a file of YAML, or one that it names, that a parser would not come to the end of.

    Parsers of configurations replace the name of a file by what is in it.

    Args:
        path: The file.
        error_class: Raised.
        checked: Files that were looked at before.

    Raises:
        CMRError: If one is not a file, too long, not text, stands for too many values, or is
            nested too deeply.
    """
    checked = set() if checked is None else checked
    if path.resolve() in checked:
        return
    checked.add(path.resolve())
    check_regular(path, error_class)
    if path.stat().st_size > _LONGEST:
        raise error_class(f'{path} is too long for a configuration: name another file')
    for word in _check(path, error_class):
        for named in (path.parent / word, Path(word)):
            if _is_configuration(named):
                check_yaml_file(named, error_class, checked=checked)


def _is_configuration(path: Path) -> bool:
    try:
        return path.suffix.lower() in ('.yaml', '.yml', '.json') and not stat.S_ISDIR(
            path.stat().st_mode
        )
    except (OSError, ValueError):
        return False


def _check(path: Path, error_class: type[CMRError]) -> set[str]:
    """Count the values of a file, aliases as often as they stand for something; give its words."""
    import yaml

    try:
        text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise error_class(f'{path} is not text in UTF-8: name another file') from error
    words: set[str] = set()
    try:
        size, deepest = _measure(yaml.parse(text, Loader=yaml.SafeLoader), words)
    except yaml.YAMLError:
        return words  # whoever reads it says what is wrong
    if size > _MOST or deepest > _DEEPEST:
        raise error_class(
            f'{path} stands for more than {_MOST} values or is nested more than {_DEEPEST} deep, as no '
            'configuration is: write out what its aliases stand for'
        )
    return words


def _measure(events: Iterator[Any], words: set[str]) -> tuple[int, int]:
    """Give the number of values, and how deep they are nested; add the words that occur."""
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
            words.add(event.value)
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
