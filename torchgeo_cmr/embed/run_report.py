"""What a run did with each scene or file: embedded, there already, skipped, refused."""

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

import torch

import torchgeo_cmr
from torchgeo_cmr.drafts import check_on_disk
from torchgeo_cmr.errors import (
    ArchiveError,
    AudioError,
    CMRError,
    OutputExistsError,
    RasterError,
)
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.regular_files import check_regular
from torchgeo_cmr.typed_json import convert, decode

#: What happens to a scene that cannot be used.
Errors = Literal['refuse', 'raise']

#: Context in which the scene or file of that name is tried; what it swallows is skipped alone.
type Trying = Callable[[str], AbstractContextManager[Any]]

#: Warnings name the line of the caller outside this folder.
PACKAGE = os.path.dirname(torchgeo_cmr.__file__)

_LOG = logging.getLogger(__name__)


class _Stored(TypedDict):
    counts: dict[str, int]
    refused: dict[str, str]


class RefusedWarning(UserWarning):
    """Some scenes or files could not be used; the others were embedded."""


@dataclass
class Report:
    """What a run did with each scene, by scene id."""

    #: Whether a broken scene is refused and the others go on, or the run ends.
    errors: Errors = 'refuse'
    #: What the run works through: scenes, or files without a place.
    of: str = 'scenes'
    #: Embedded in this run, new ones first met or changed since they were embedded.
    done: list[str] = field(default_factory=list)
    #: Done by an earlier run.
    skipped: list[str] = field(default_factory=list)
    #: Smaller than a patch, so skipped.
    too_small: list[str] = field(default_factory=list)
    #: Embedded before, and whose files changed: part of ``done``, or of ``too_small``.
    changed: list[str] = field(default_factory=list)
    #: Part of ``done`` without a patch that is valid enough and clear enough.
    empty: list[str] = field(default_factory=list)
    #: In the archive, but no longer among the scenes.
    vanished: list[str] = field(default_factory=list)
    #: Part of ``vanished`` whose rows were dropped.
    pruned: list[str] = field(default_factory=list)
    #: Could not be used -> the sentence that explains why.
    refused: dict[str, str] = field(default_factory=dict)
    #: Whether a warning said that the backscatter of a scene cannot be what it is stated to be.
    doubtful: bool = False
    #: Rows made in this run.
    patches: int = 0
    #: Patches of this run skipped because too few of their pixels are valid.
    left_out: int = 0
    #: The first refusal as it was raised.
    first: RasterError | AudioError | None = field(default=None, init=False)
    #: When the run began, seconds of a clock that never goes back.
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Refuse an unknown choice."""
        if self.errors not in get_args(Errors):
            raise RasterError(
                f'errors is {self.errors!r}: choose one of {", ".join(get_args(Errors))}'
            )

    @contextmanager
    def trying(self, scene: str) -> Generator[None]:
        """Note why a scene cannot be used, and go on; or let the error pass.

        Args:
            scene: Scene id, or the path of its file as long as it has no id.

        Yields:
            Nothing; what is in the block is given up when an error is raised. Only lack of
            memory on the device passes: it concerns the run, not the scene.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if self.errors == 'raise':
                raise
            if not isinstance(error, RasterError | AudioError):
                error = self._explained(scene, error)
            self._refuse(scene, error)

    def refuse(self, scene: str, error: RasterError) -> None:
        """Note why a worker could not use a scene; or raise, as :meth:`trying` does."""
        if self.errors == 'raise':
            raise error
        self._refuse(scene, error)

    def _refuse(self, scene: str, error: RasterError | AudioError) -> None:
        self.refused[_printable(scene)] = _printable(str(error))
        self.first = self.first or error

    def _explained(self, scene: str, error: Exception) -> RasterError:
        """Turn the error of a library about one file into a sentence; it must not end the run."""
        if isinstance(error, CMRError):
            return RasterError(str(error))
        _LOG.debug('%s cannot be used', scene, exc_info=error)
        reason = ' '.join(str(error).split())[:300]
        return RasterError(
            f'{scene} cannot be used ({type(error).__name__}: {reason}): check the file, or '
            'fetch it again'
        )

    def check(self) -> None:
        """Raise the first refusal if nothing at all could be used, else warn of them.

        Raises:
            RasterError: If scenes were refused and no other is there.
            AudioError: If it is sound that was refused.
        """
        if self.first is None:
            return
        scene, sentence = next(iter(self.refused.items()))
        used = len(self.done) + len(self.skipped)
        if not used:
            others = len(self.refused) - 1
            raise type(self.first)(
                sentence
                + (f'; other {self.of} that were refused: {others}' if others else '')
            )
        warnings.warn(
            f'{len(self.refused)} of {used + len(self.refused)} {self.of} were refused, '
            f'for example {scene}: {sentence}',
            RefusedWarning,
            skip_file_prefixes=(PACKAGE,),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give counts and names as plain values, with the speed of this run."""
        seconds = time.monotonic() - self.begun
        names = (
            'done',
            'skipped',
            'changed',
            'empty',
            'too_small',
            'vanished',
            'pruned',
        )
        facts: dict[str, Any] = {
            'counts': {n: len(getattr(self, n)) for n in (*names, 'refused')},
            'patches': self.patches,
            'patches_left_out': self.left_out,
            'seconds': round(seconds, 3),
            'patches_per_second': round(self.patches / max(seconds, 1e-9), 1),
        }
        return {
            **facts,
            **{n: getattr(self, n) for n in names},
            'refused': self.refused,
        }

    def write(self, archive: Path) -> Path:
        """Write the report next to an archive, in place of that of an earlier run.

        Args:
            archive: Folder of the archive.

        Returns:
            ``<archive>-report.json``.
        """
        path = free_report(archive)
        with new_file(path, overwrite=True) as temporary:
            text = json.dumps({'archive': archive.name, **self.to_dict()}, indent=1)
            temporary.write_text(text + '\n', encoding='utf-8')
        _LOG.info(
            '%s: %d done, %d there already, %d smaller than a patch, %d refused%s; '
            'report in %s',
            self.of,
            len(self.done),
            len(self.skipped),
            len(self.too_small),
            len(self.refused),
            f', {len(self.empty)} done without a patch that counts'
            if self.empty
            else '',
            path,
        )
        return path


def read_report(archive: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the report of the last run that wrote to an archive.

    Args:
        archive: Folder of the archive.

    Returns:
        ``counts``, ``patches``, ``patches_left_out``, ``seconds``, ``patches_per_second`` and
        the ids of the scenes that were ``done``, ``skipped`` (there already), ``changed`` (done
        again, or too small now), ``empty`` (done, but no patch is valid and clear enough),
        ``too_small``, ``vanished`` and ``pruned``; ``refused`` maps an id, or the path
        of a file that could not even be opened, to the sentence that explains why.

    Raises:
        ArchiveError: If there is none.
    """
    path = beside(Path(archive), '-report.json')
    cure = 'it is written by the run that embeds'
    try:
        if path.exists():
            check_regular(path, ArchiveError)
        text = path.read_bytes()
    except OSError as error:
        raise ArchiveError(f'{path} cannot be read: {cure}') from error
    content = decode(text, dict[str, Any], str(path), cure)
    convert(content, _Stored, str(path), cure)
    return content


def free_report(archive: Path) -> Path:
    """Name the report of an archive, and see that no other file has that name.

    Args:
        archive: Folder of the archive.

    Raises:
        OutputExistsError: If the file there is not a report of an earlier run.
    """
    path = beside(archive, '-report.json')
    check_on_disk(path)
    if os.path.lexists(path):
        try:
            check_regular(path, OutputExistsError)
            known = json.loads(path.read_text(encoding='utf-8'))
            ours = isinstance(known, dict) and {'archive', 'counts', 'refused'} <= {
                *known
            }
        except (OSError, ValueError, RecursionError):
            ours = False
        if not ours:
            raise OutputExistsError(
                f'{path} is where the report of the run goes, and holds something else: '
                'move it, or choose another --out'
            )
    return path


def _printable(text: str) -> str:
    """Write out bytes of file names that are not text."""
    return text.encode('utf-8', 'backslashreplace').decode()


def beside(archive: Path, ending: str) -> Path:
    """Name a file or folder next to an archive, also of a folder given as ``.`` or ``..``."""
    folder = archive if archive.name not in ('', '..') else archive.resolve()
    return folder.with_name(folder.name + ending)
