"""The state of an index at one moment: its parts, what was derived from them, and facts.

A change puts another state in the place of the one before, so a search that has begun is not
disturbed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.durable import read_unreplaced
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table.archive.records import merge_records
from torchgeo_cmr.table.kinds import check_same
from torchgeo_cmr.table.provenance import Content

from . import index_files as store
from .calibration import Calibration
from .row_numbers import Numbered
from .segment import Segment, alphabetical

if TYPE_CHECKING:
    from torchgeo_cmr.search.rank.approximate import Approximate

type _Rows = NDArray[np.int64]


@dataclass(frozen=True)
class State:
    """What an index is at one moment; changes put another in its place."""

    parts: tuple[Segment, ...]
    approximate: Sequence[Sequence['Approximate']]
    facts: dict[str, Any]

    @cached_property
    def starts(self) -> _Rows:
        """Number of the first row of each part, and of the row after the last."""
        return np.cumsum([0, *(len(part) for part in self.parts)])

    @cached_property
    def columns(self) -> Numbered:
        """All parts as one, by row number."""
        return Numbered(self.parts)

    @cached_property
    def ties(self) -> _Rows:
        """Alphabetical rank of each row's ``patch_id``, by row number."""
        if len(self.parts) == 1 and self.parts[0].numbers is None:
            part = self.parts[0]
            return part.ranks(np.arange(len(part)))
        return alphabetical(self.columns.names())

    @cached_property
    def content(self) -> Content:
        """What the rows that can be found are, in their order."""
        return sum((part.content for part in self.parts), Content())

    @cached_property
    def calibration(self) -> Calibration:
        """What makes scores of several modalities comparable."""
        return Calibration(self.parts)


class _Later(Sequence[Sequence['Approximate']]):
    """Approximate indexes of the segments on disk, each read when it is first used.

    faiss reads an index whole, and most searches are exact: they should not pay for it. The
    files are mapped at once, so that they are those of this build, whatever is built in
    their place meanwhile.
    """

    def __init__(self, folder: Path, segments: Sequence[dict[str, Any]]) -> None:
        self._folder, self._segments = folder, segments
        self._mapped = [store.map_approximate(folder, facts) for facts in segments]
        self._read: dict[int, Sequence[Approximate]] = {}

    def __len__(self) -> int:
        return len(self._segments)

    def __getitem__(self, i: Any) -> Any:
        if i not in self._read:
            facts, files = self._segments[i], self._mapped[i]
            self._read[i] = store.read_approximate(self._folder, facts, files)
        return self._read[i]


class _Chained(Sequence[Sequence['Approximate']]):
    """Approximate indexes of the parts of several states, one after the other."""

    def __init__(self, states: Sequence[State]) -> None:
        self._places = [(s, i) for s in states for i in range(len(s.parts))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: Any) -> Any:
        state, place = self._places[i]
        return state.approximate[place]


def join_states(states: Sequence[State], names: Sequence[str]) -> State:
    """Put indexes after one another, each mapped as it is.

    Ids are not compared, which would read them all; a result refuses to hold one twice.

    Args:
        states: At least two.
        names: What they are called in messages.

    Raises:
        ArchiveError: If they do not fit each other, or one is named twice.
    """
    first = states[0]
    for state, name in zip(states[1:], names[1:], strict=True):
        for fact in ('dim', 'metric'):
            if state.facts[fact] != first.facts[fact]:
                raise ArchiveError(
                    f'{names[0]} and {name} differ in {fact} ({first.facts[fact]} and '
                    f'{state.facts[fact]}), so they cannot be searched as one; embed both with one model'
                )
        for part in state.parts:
            check_same(part.kinds, first.parts[0].kinds)
    seen: dict[Content, str] = {}
    for state, name in zip(states, names, strict=True):
        if state.content in seen and state.content.rows:
            raise ArchiveError(
                f'{seen[state.content]} and {name} hold the same rows; leave one of them out'
            )
        seen[state.content] = name
    facts = {
        **first.facts,
        'spaces': sorted({space for s in states for space in s.facts['spaces']}),
        'record': merge_records([s.facts['record'] for s in states], strict=False),
        'fingerprint': None,
        'build': None,
    }
    parts = tuple(part for state in states for part in state.parts)
    return State(parts, _Chained(states), facts)


def open_state(folder: Path) -> State:
    """Map an index as it is now.

    Args:
        folder: Folder of the index.

    Raises:
        ArchiveError: If it is not an index, is broken or of a newer format.
    """
    return read_unreplaced(folder, lambda: _newest(folder))


def _newest(folder: Path) -> State:
    """Map what the header names; no name in a folder is given twice, so nothing is mixed."""
    while True:
        header = store.read_header(folder)
        try:
            return read_state(folder, header)
        except ArchiveError:
            # Files that go while they are opened are those of a build that was replaced.
            if store.read_header(folder) == header:
                raise


def read_state(folder: Path, header: dict[str, Any]) -> State:
    """Map what a header names."""
    parts = tuple(store.read_segment(folder, facts) for facts in header['segments'])
    packed = header['metric'] == 'hamming'
    wanted = np.uint8 if packed else np.float32, header['dim'] // (8 if packed else 1)
    for part in parts:
        whole = part.vectors.whole
        if (whole.dtype, whole.shape[1]) != wanted:
            raise ArchiveError(
                f'{folder} holds vectors of {whole.shape[1]} {whole.dtype}, not those of {header["dim"]} '
                f'numbers and metric {header["metric"]} that its {store.HEADER} names; build the '
                'index again'
            )
    approximate = _Later(folder, header['segments'])
    names = ('dim', 'metric', 'spaces', 'record', 'fingerprint')
    facts = {name: header[name] for name in names}
    facts |= {'build': header.get('build'), 'codes': header.get('codes', True)}
    return State(parts, approximate, facts)
