"""Text for the terminal: names of foreign files can move its cursor or rename its window."""

#: Letters of a message on the terminal.
_LONGEST, _HALF = 1_200, 500


def printable(text: str) -> str:
    r"""Write what a terminal would obey rather than show as an escape, such as ``\x1b``.

    That is what Unicode calls control, format (text that runs backwards), private and
    unassigned characters, line ends, and spaces other than the usual one.

    Args:
        text: Any text, such as an id of an archive.

    Returns:
        Text on one line that says the same.

    Examples:
        >>> print(printable('field\x1b]0;gone\x07 Größe'))
        field\x1b]0;gone\x07 Größe
    """
    if text.isprintable():
        return text
    return ''.join(
        sign if sign.isprintable() else sign.encode('unicode_escape').decode('ascii')
        for sign in text
    )


def brief(text: str) -> str:
    """Put a message on one line and leave out the middle of a very long one.

    Args:
        text: The message, which may quote what the user typed.
    """
    line = printable(' '.join(text.split()))
    return line if len(line) <= _LONGEST else f'{line[:_HALF]} ... {line[-_HALF:]}'


def printable_lines(text: str) -> str:
    """Apply :func:`printable` to each line, so that the lines stay."""
    return '\n'.join(map(printable, text.split('\n')))
