"""JSON from a file, checked against a type: wrong content is one sentence."""

from pathlib import Path

from torchgeo_cmr.errors import ArchiveError


def read_json[T](file: Path, kind: type[T], cure: str) -> T:
    """Read a JSON file as a type.

    Args:
        file: The file.
        kind: What it must hold: a ``TypedDict``, or any other type that msgspec decodes. Keys that
            it does not name are dropped.
        cure: What a user can do about a broken file.

    Returns:
        The content.

    Raises:
        OSError: If the file cannot be read.
        ArchiveError: If it is not JSON, is nested too deeply, or a key is missing or has a value of
            another type; the message names file and key.
    """
    return decode(file.read_bytes(), kind, str(file), cure)


def decode[T](text: bytes | str, kind: type[T], source: str, cure: str) -> T:
    """Decode JSON as a type, see :func:`read_json`.

    Args:
        text: The JSON.
        kind: What it must hold.
        source: Where it comes from, for the message.
        cure: What a user can do about it.
    """
    import msgspec  # 20 ms, which a table in memory does not pay

    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveError(f'{source} is broken ({error}); {cure}') from error
    except RecursionError as error:
        raise ArchiveError(f'{source} is broken (nested too deeply); {cure}') from error
