"""Names of files that are made from data: never a path, and writable on every system."""

import re
import zlib

from torchgeo_cmr.errors import QueryError

#: Letters of any script and digits; the rest is a separator, a wildcard or invisible somewhere.
_OTHER = re.compile(r'[^\w.+-]')
#: Names of devices on Windows, whatever follows a dot.
_DEVICE = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
#: Bytes; file systems take 255, of which the caller adds some.
_LONGEST = 100


def safe_name(word: object, noun: str = 'name') -> str:
    """Turn a word of an archive or a result into a part of a file name.

    A word of letters, digits and ``_ . + -`` stays as it is. In any other, what is left out
    becomes ``_`` and a checksum of the word follows, so that two words stay two names.

    Args:
        word: The word, from a file that may be anybody's.
        noun: What it is, for the message.

    Returns:
        At most 100 bytes in UTF-8, without separators, which begins with no dot.

    Raises:
        QueryError: If the word is empty or no text.

    Examples:
        >>> safe_name('s2'), safe_name('x/../../etc')
        ('s2', 'x_.._.._etc-64f8f5b7')
    """
    if not isinstance(word, str) or not word.strip():
        raise QueryError(
            f'{noun} {word!r} cannot become part of a file name; give it letters or digits'
        )
    name = _OTHER.sub('_', word)
    name = re.sub(r'^\.', '_', re.sub(r'\.$', '_', name))
    name = f'_{name}' if _DEVICE.match(name) else name
    name = name.encode()[:_LONGEST].decode(errors='ignore')
    if name == word:
        return name
    mark = f'-{zlib.crc32(word.encode(errors="surrogatepass")):08x}'
    return name.encode()[: _LONGEST - len(mark)].decode(errors='ignore') + mark
