"""Whether a file of settings can be read as it was meant: YAML, with sections, each key once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchgeo_cmr.errors import CMRError, OptionError


def check_settings(
    path: Path, error_class: type[CMRError] = OptionError, *, example: str = 'model'
) -> None:
    """Refuse a file of settings that is no YAML, or in which a key hides another one.

    Parsers name neither the file nor, of a key that comes twice, the value that they drop.

    Args:
        path: The file, which is not larger than it looks (see ``yaml_size``).
        error_class: Raised.
        example: Name of a section that such a file has.

    Raises:
        CMRError: If it cannot be read, is empty or a list, or a key comes twice.
    """
    import yaml

    text = path.read_text(encoding='utf-8')
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise error_class(_complaint(path, text, error)) from error
    if root is None:
        raise error_class(f'{path} is empty: write sections such as {example}')
    if not isinstance(root, yaml.MappingNode):
        raise error_class(
            f'{path} has no sections: begin it with a name and a colon, such as {example}:'
        )
    for key, first, second in _repeated(root):
        raise error_class(
            f'{path} has {key} twice, in lines {first} and {second}: leave one out'
        )


def _complaint(path: Path, text: str, error: Any) -> str:
    """Say where a file is no YAML, and what the cause may be."""
    mark = getattr(error, 'problem_mark', None)
    if mark is None:
        return f'{path} is not YAML ({" ".join(str(error).split())}): correct it'
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ''
    blank = line[: len(line) - len(line.lstrip())]
    begun = getattr(error, 'context_mark', None)
    since = f', in what begins in line {begun.line + 1}' if begun is not None else ''
    cure = (
        'indent with spaces and not with tabs'
        if '\t' in blank
        else 'look for an indentation unlike that of its neighbours, and for a colon, a space after '
        'it, a bracket or a quote that is missing'
    )
    return (
        f'{path} is not YAML at line {mark.line + 1}{since} ({error.problem}): {cure}'
    )


def _repeated(root: Any) -> Iterator[tuple[str, int, int]]:
    """Give keys that come twice in one mapping, with both lines."""
    import yaml

    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            left.append(value)
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                yield key.value, lines[key.value], line
            lines[key.value] = line
