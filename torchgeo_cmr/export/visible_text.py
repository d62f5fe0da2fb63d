"""Text of foreign archives in pages and pictures: what cannot be shown is written out."""

import re

#: Control characters but tab and line ends, halves of characters, and what will never be one.
_INVISIBLE = re.compile(
    '[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]'
)


def visible(text: str) -> str:
    r"""Write characters that no page and no font has as escapes, such as ``\x1b``.

    Args:
        text: Any text, such as the name of a file or an id of an archive.

    Returns:
        Text that can be stored as UTF-8.

    Examples:
        >>> print(visible('field\x1b and \udcff, Größe'))
        field\x1b and \udcff, Größe
    """
    return _INVISIBLE.sub(lambda found: ascii(found[0])[1:-1], text)
