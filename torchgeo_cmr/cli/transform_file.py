"""The file of a hash or of maps: used as it is if it is there, else made and written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgeo_cmr.search import Alignment, Hash


@dataclass(frozen=True)
class TransformFile:
    """What ``--using`` names, and how a command makes it.

    Args:
        path: The file.
        flag: Option that says how one is made, such as ``--kind``.
        how: What that option was given; None to use the file.
        what: What the file holds, for messages.
        overwrite: Whether the file may be replaced.
    """

    path: str
    flag: str
    how: str | None
    what: str
    overwrite: bool

    def check(self, out: str, ways: Sequence[str], example: str) -> None:
        """Refuse what cannot be, before anything is read.

        Args:
            out: Archive that will be written.
            ways: What the option takes.
            example: One of them, for the message.

        Raises:
            QueryError: If there is no file and none is made, or not in such a way.
            OutputExistsError: If the archive is there and may not be replaced.
        """
        from torchgeo_cmr.errors import OutputExistsError, QueryError

        if self.how is None and not Path(self.path).exists():
            raise QueryError(
                f'--using {self.path} is not there: name {self.what}, or make one with '
                f'{self.flag} {example}'
            )
        if self.how is not None and self.how not in ways:
            raise QueryError(
                f'{self.flag} {self.how} is not known: use one of {", ".join(ways)}'
            )
        if Path(out).exists() and not self.overwrite:
            raise OutputExistsError(
                self._there()
                if self._kept()
                else f'{out} is there already; choose another name or add --overwrite'
            )

    def keep(self, made: 'Alignment | Hash') -> bool:
        """Write what was made, unless the file holds it: its command may have been stopped then.

        Args:
            made: The hash or the maps.

        Returns:
            Whether it was written.

        Raises:
            OutputExistsError: If the file holds another and may not be replaced.
        """
        from torchgeo_cmr.errors import OutputExistsError

        if self._kept():
            if type(made).load(self.path).name != made.name:
                raise OutputExistsError(self._there())
            return False
        made.save(self.path, overwrite=self.overwrite)
        return True

    def _kept(self) -> bool:
        """Whether one is made although the file is there and may not be replaced."""
        return self.how is not None and Path(self.path).exists() and not self.overwrite

    def _there(self) -> str:
        return f'{self.path} is there already: drop {self.flag} to use it, or add --overwrite'
