"""JSON from a file, checked against a type: wrong content is one sentence."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from torchgeo_cmr.durable import checksum
from torchgeo_cmr.errors import ArchiveError

#: Key of the checksum in what :func:`signed_text` writes.
CHECKSUM = 'checksum'


def read_json[T](
    file: Path, kind: type[T], cure: str, error: type[Exception] = ArchiveError
) -> T:
    """Read a JSON file as a type.

    Args:
        file: The file.
        kind: What it must hold: a ``TypedDict``, or any other type that msgspec decodes. Keys that
            it does not name are dropped.
        cure: What a user can do about a broken file.
        error: What is raised.

    Returns:
        The content.

    Raises:
        OSError: If the file cannot be read.
        ArchiveError: If it is not JSON, is nested too deeply, or a key is missing or has a value of
            another type; the message names file and key. It is the given *error*.
    """
    if file.exists() and not file.is_file():
        raise error(f'{file} is not a regular file; {cure}')
    return decode(file.read_bytes(), kind, str(file), cure, error)


def decode[T](
    text: bytes | str,
    kind: type[T],
    source: str,
    cure: str,
    error: type[Exception] = ArchiveError,
) -> T:
    """Decode JSON as a type, see :func:`read_json`.

    Args:
        text: The JSON.
        kind: What it must hold.
        source: Where it comes from, for the message.
        cure: What a user can do about it.
        error: What is raised.
    """
    import msgspec  # 20 ms, which a table in memory does not pay

    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as fault:
        raise error(f'{source} is broken ({fault}); {cure}') from fault
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        try:
            # Names of files that are not Unicode are JSON to Python only.
            content = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise error(f'{source} is broken ({fault}); {cure}') from fault
        return convert(content, kind, source, cure, error)
    except RecursionError as fault:
        raise error(f'{source} is broken (nested too deeply); {cure}') from fault


def convert[T](
    content: Any,
    kind: type[T],
    source: str,
    cure: str,
    error: type[Exception] = ArchiveError,
) -> T:
    """Check values that were decoded by something else, see :func:`read_json`.

    Args:
        content: Plain values, such as those of a checkpoint.
        kind: What they must be.
        source: Where they come from, for the message.
        cure: What a user can do about it.
        error: What is raised.
    """
    import msgspec

    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as fault:
        raise error(f'{source} is broken ({fault}); {cure}') from fault
    except RecursionError as fault:
        raise error(f'{source} is broken (nested too deeply); {cure}') from fault


def check_versioned(
    content: Mapping[str, Any],
    kind: type,
    newest: int,
    source: str,
    cure: str,
    error: type[Exception] = ArchiveError,
) -> None:
    """Check the version of a format, and then what that version holds.

    Args:
        content: What was decoded, with its ``version``.
        kind: What it must be, a ``TypedDict``; other keys are not looked at.
        newest: The highest version that is read; the lowest is 1.
        source: Where it comes from, for the message.
        cure: What a user can do about a broken one.
        error: What is raised.

    Raises:
        ArchiveError: If it is of a newer version or broken. It is the given *error*.
    """
    version = content.get('version')
    if type(version) is not int or version < 1:
        raise error(f'{source} has no format version, found {version!r:.40}; {cure}')
    if version > newest:
        raise error(
            f'{source} has format version {version!s:.20}, written by a newer torchgeo_cmr; this '
            f'one reads up to {newest}: install a newer one'
        )
    convert(content, kind, source, cure, error)


def signed_text(content: Mapping[str, Any]) -> bytes:
    """Write JSON for people, with a checksum of its values under :data:`CHECKSUM`.

    Args:
        content: JSON-able, without that key.
    """
    return _laid_out({**content, CHECKSUM: _sum(content)})


def unsigned(
    content: Mapping[str, Any], text: bytes, source: str, cure: str
) -> tuple[dict[str, Any], bool]:
    """Take the checksum off what :func:`signed_text` wrote.

    Args:
        content: What was decoded.
        text: What it was decoded from.
        source: Where it comes from, for the message.
        cure: What a user can do about it.

    Returns:
        The content without its checksum, and whether somebody changed it. Earlier versions wrote
        no checksum.

    Raises:
        ArchiveError: If the checksum differs and the text has our layout. Whoever edits JSON by hand
            or program lays it out differently; damage does not.
    """
    plain = {name: value for name, value in content.items() if name != CHECKSUM}
    stated = content.get(CHECKSUM)
    if stated is None or stated == _sum(plain):
        return plain, False
    if _laid_out(content) == text:
        raise ArchiveError(f'{source} is damaged: its checksum differs; {cure}')
    return plain, True


def _sum(content: Mapping[str, Any]) -> str:
    return checksum(json.dumps(content, sort_keys=True).encode())


def _laid_out(content: Mapping[str, Any]) -> bytes:
    return f'{json.dumps(content, indent=1, sort_keys=True)}\n'.encode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f'{constant} is not JSON')
