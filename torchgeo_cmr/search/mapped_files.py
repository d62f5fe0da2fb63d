"""Files of a part of an index, mapped: each is opened once, whatever is then read and compared of it."""

import io
import mmap
import os
import re
import zlib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.durable import checksum
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.regular_files import check_special

#: Key of the token in the metadata of an Arrow schema; arrays have it behind their numbers.
_TOKEN = b'torchgeo_cmr.token'
#: Bytes that are written between two steps of the bar.
_PIECE = 1 << 25
#: Bytes that are read behind an array: more than a token has.
_LONGEST = 64
#: Bytes up to which a file is compared with its checksum when it is mapped: half a millisecond. Larger ones
#: have a token to compare, and ``verify_index`` compares them as a whole.
_SMALL = 1 << 20
#: What vectors and codes are numbers of.
_NUMBERS = (np.float32, np.float16, np.int8, np.uint8)
#: The header that NumPy gives to an array in C order. Its own reader takes any expression of Python there, eight
#: times as long.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\0..\{'descr': '([<>|][fiu]\d)', 'fortran_order': False, "
    rb"'shape': \((\d{1,18}),(?: (\d{1,18}))?\), \} *\n",
    re.DOTALL,
)


def write_array(file: Path, array: NDArray[Any], token: str = '') -> str:
    """Write an array as NumPy does, and a token behind it, which other readers pass over.

    Args:
        file: File to write.
        array: The numbers, of one or two axes.
        token: What all files that were written together have in common.

    Returns:
        The CRC-32 of what was to be written.
    """
    array, header = np.ascontiguousarray(array), io.BytesIO()
    facts = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(header, facts)
    made, numbers = 0, array.reshape(-1).view(np.uint8)
    pieces = [numbers[i : i + _PIECE] for i in range(0, len(numbers), _PIECE)]
    with file.open('wb') as opened:
        for content in chain(
            [header.getvalue()], steps(pieces, 'piece', 'write'), [token.encode()]
        ):
            opened.write(content)
            made = zlib.crc32(content, made)
    return f'{made:08x}'


def write_table(file: Path, table: pa.Table, token: str) -> str:
    """Write a table as an Arrow IPC file with a token in its metadata, see :func:`write_array`."""
    metadata = {**(table.schema.metadata or {}), _TOKEN: token}
    table = table.replace_schema_metadata(metadata)
    with (
        pa.OSFile(str(file), 'wb') as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    return checksum(file)


class MappedFiles:
    """Files of a folder; nothing can write through the maps.

    Args:
        folder: The folder.
        checksums: CRC-32 of the files; those of earlier versions have none.
        token: What the files were given when they were written together; those of earlier versions none.
    """

    def __init__(
        self, folder: Path, checksums: Mapping[str, str], token: str | None = None
    ) -> None:
        """Remember the folder; nothing is opened yet."""
        self._folder, self._checksums, self._token = folder, checksums, token
        self._maps: dict[str, mmap.mmap] = {}
        self._tokens: dict[str, bytes | None] = {}

    def array(self, name: str, dtype: Any = None) -> NDArray[Any]:
        """Map an array, which cannot hold Python objects.

        Args:
            name: The file.
            dtype: Type of its numbers; one of vectors or codes without it.

        Raises:
            OSError: If it cannot be opened.
            ValueError: If it is not an array, or of another type.
        """
        content = self._mapped(name)
        header = _HEADER.match(content)
        if header is None:
            raise ValueError(f'{name} is not an array of an index')
        length = header.end()
        if length != 10 + int.from_bytes(content[8:10], 'little'):
            raise ValueError(f'{name} has a header of another length than it says')
        shape = tuple(int(axis) for axis in header.groups()[1:] if axis is not None)
        try:
            kind = np.dtype(header[1].decode())
            array = np.ndarray(shape, kind, content, length)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f'{name}: {error}') from error
        if dtype is not None and kind != dtype:
            raise ValueError(f'{name} holds {kind}, not {np.dtype(dtype)}')
        if dtype is None and kind not in _NUMBERS:
            raise ValueError(f'{name} holds {kind}, which no index does')
        end = length + array.nbytes
        self._tokens[name] = content[end : end + _LONGEST]
        return array

    def table(self, name: str) -> pa.Table:
        """Map a table; it is compared before Arrow follows what is in it.

        Raises:
            OSError: If it cannot be opened.
            ValueError: If it is damaged.
            ArrowException: If it is not an Arrow file.
        """
        content = self._mapped(name)
        self._compare_small(name)
        table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content))).read_all()
        self._tokens[name] = (table.schema.metadata or {}).get(_TOKEN)
        return table

    def compare(self, name: str) -> None:
        """Compare a mapped file of any size with its checksum.

        Raises:
            ValueError: If it is damaged.
        """
        expected = self._checksums.get(name)
        if expected is not None and checksum(self._mapped(name)) != expected:
            raise ValueError(f'{name} is damaged: its checksum differs')

    def compare_all(self) -> None:
        """Compare what was mapped: small files with their checksums, large ones by their token.

        Raises:
            ValueError: If a file is damaged, or was written with others.
        """
        for name, token in self._tokens.items():
            self._compare_small(name)
            if self._token is not None and token != self._token.encode():
                raise ValueError(
                    f'{name} is not the file that was written with the rest'
                )

    def _compare_small(self, name: str) -> None:
        if len(self._mapped(name)) <= _SMALL:
            self.compare(name)

    def _mapped(self, name: str) -> mmap.mmap:
        if name not in self._maps:
            path = os.path.join(self._folder, name)
            check_special(path, ArchiveError)
            with open(path, 'rb') as file:
                try:
                    made = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                except ValueError as error:
                    raise ValueError(f'{name} is empty') from error
            self._maps[name] = made
        return self._maps[name]
