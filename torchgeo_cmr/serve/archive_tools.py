"""The tools of the server as functions: plain arguments in, GeoJSON or facts out."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from torchgeo_cmr.errors import CMRError, QueryError
from torchgeo_cmr.search import Where, at, from_ids
from torchgeo_cmr.table import EmbeddingTable

from .feature_answer import collection
from .requested_area import check_area, swapped
from .served_archive import ServedArchive

#: Letters that an argument may have.
_ID, _DATES, _CONDITION = 1_000, 100, 4_000
#: An advice that a client cannot follow: areas are in EPSG:4326.
_OTHER_CRS = '; give the CRS these coordinates are in'
#: Ids that are named where a position has several.
_SHOWN = 10


class DescribeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``describe_archive``."""

    archive: Annotated[str, msgspec.Meta(max_length=_ID)] | None = None


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``search_archive``."""

    archive: Annotated[str, msgspec.Meta(max_length=_ID)]
    query: Annotated[str, msgspec.Meta(max_length=_ID)] | list[float]
    query_archive: Annotated[str, msgspec.Meta(max_length=_ID)] | None = None
    area: dict[str, Any] | list[float] | None = None
    dates: Annotated[str, msgspec.Meta(max_length=_DATES)] | None = None
    where: Annotated[str, msgspec.Meta(max_length=_CONDITION)] | None = None
    k: int = 10


@dataclass(frozen=True)
class ArchiveTools:
    """What the server lets a client do with its archives.

    Args:
        archives: The archives by their short names.
        max_k: Most hits of a search.
        max_answer: Most characters of an answer.
    """

    archives: dict[str, ServedArchive]
    max_k: int = 100
    max_answer: int = 100_000

    def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Answer a call.

        Args:
            tool: ``'describe_archive'`` or ``'search_archive'``.
            arguments: What the client sent; nothing of it is trusted.

        Returns:
            JSON.

        Raises:
            CMRError: If an argument is not what it should be, or the answer would be too long: one
                sentence, in which no folder is named.
        """
        searching = tool == 'search_archive'
        try:
            request = msgspec.convert(
                arguments, SearchRequest if searching else DescribeRequest
            )
        except msgspec.ValidationError as error:
            reason = str(error).replace('`$.', '`').replace('$.', '')
            raise QueryError(
                f'the arguments of {tool} are not as its schema says: {reason}'
            ) from error
        except RecursionError as error:
            raise QueryError(
                f'an argument of {tool} is nested too deeply; send it flat'
            ) from error
        try:
            answer = (
                self._search(request)
                if isinstance(request, SearchRequest)
                else self._describe(request)
            )
        except CMRError as error:
            raise type(error)(self._without_folders(str(error))) from error
        except OSError as error:  # the archive went, or its disk
            reason = error.strerror or type(error).__name__
            raise QueryError(
                f'the archive cannot be read now ({reason}): call again later'
            ) from error
        text = json.dumps(answer, ensure_ascii=False, separators=(',', ':'))
        if len(text) > self.max_answer:
            raise QueryError(
                f'the answer has {len(text):,} characters and may have {self.max_answer:,}; '
                'take fewer hits (k)'
                if searching
                else f'the description has {len(text):,} characters and may have '
                f'{self.max_answer:,}; name one archive, or start the server with a higher --max-answer'
            )
        return text

    def _describe(self, request: DescribeRequest) -> dict[str, Any]:
        if request.archive is not None:
            return self._archive(request.archive).describe()
        return {'archives': [each.describe() for each in self.archives.values()]}

    def _search(self, request: SearchRequest) -> dict[str, Any]:
        archive = self._archive(request.archive)
        source = archive
        if request.query_archive is not None:
            source = self._archive(request.query_archive)
        if not 1 <= request.k <= self.max_k:
            raise QueryError(f'k is {request.k}; give a number from 1 to {self.max_k}')
        for each in {archive.name: archive, source.name: source}.values():
            each.index.refresh()
        where = _filter(request, archive)
        query = _query(request.query, source)
        hits = archive.index.search(query, request.k, where=where)
        answer = collection(hits)
        answer['query'] = query.frame['patch_id'].iloc[0]
        if len(hits) < request.k:
            explanation = archive.index.explain(query, request.k, where=where)
            kept = [
                f'{s.clause} left {s.after} of {s.before}' for s in explanation.filters
            ]
            kept += explanation.unmet
            kept = kept or [f'the archive has {len(archive.index)} rows']
            answer['note'] = f'{len(hits)} of {request.k} hits: {"; ".join(kept)}'
        return answer

    def _archive(self, name: str) -> ServedArchive:
        if name not in self.archives:
            raise QueryError(
                f'there is no archive {name!r:.80}: use one of {", ".join(self.archives)}'
            )
        return self.archives[name]

    def _without_folders(self, message: str) -> str:
        """Name archives as the client knows them."""
        for archive in self.archives.values():
            folder = Path(archive.source)
            for words in (str(folder.absolute()), str(folder)):
                # A bare name says nothing of this machine, and could be part of any word.
                if os.sep in words:
                    message = message.replace(words, archive.name)
        return message


def _filter(request: SearchRequest, archive: ServedArchive) -> Where:
    """Understand the filter, and refuse what leaves nothing by a mistake."""
    if request.area is not None:
        check_area(request.area)
    try:
        where = Where(request.area, during=request.dates, where=request.where)
        where.check(archive.index.columns)
    except QueryError as error:
        message = re.sub(r'\bduring=', 'dates=', str(error))
        message = message.replace(_OTHER_CRS, '')
        known = 'longitude comes first' in message
        if request.area is not None and 'longitude' in message and not known:
            message += swapped(request.area, archive.index)
        raise QueryError(message) from error
    return where


def _query(query: str | list[float], source: ServedArchive) -> EmbeddingTable:
    """Look up one row: by its id, or by a position that it alone covers."""
    if isinstance(query, str):
        return from_ids(source.index, query)
    found = at(source.index, query)
    if len(found) > 1:
        ids = found.frame['patch_id'].tolist()
        listed = ', '.join(ids[:_SHOWN]) + (', ...' if len(ids) > _SHOWN else '')
        raise QueryError(
            f'{len(ids)} patches cover {query[0]:g},{query[1]:g}: give the id of one as query, '
            f'of {listed}'
        )
    return found
