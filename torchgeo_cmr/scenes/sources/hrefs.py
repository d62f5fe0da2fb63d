"""Where the hrefs of a list lead: to files on this disk, or on servers if that is allowed."""

import os
from dataclasses import dataclass
from typing import Any

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.regular_files import is_address, shown
from torchgeo_cmr.scenes.files import local_file
from torchgeo_cmr.scenes.remote_access import RemoteAccess
from torchgeo_cmr.scenes.remote_files import RemoteFile, unallowed
from torchgeo_cmr.scenes.sources.assets import is_cube


@dataclass(frozen=True)
class Finder:
    """Finds what hrefs name, relative to their list.

    Args:
        home: Folder of the list, or address of the list.
        access: What allows files on servers to be fetched; None for none.
    """

    home: str
    access: RemoteAccess | None

    def find(self, href: str) -> str:
        """Give the path of a file on this disk, or the file on a server if that is allowed.

        Args:
            href: As the list writes it.

        Returns:
            Its path; of something elsewhere that may not be fetched, the address.

        Raises:
            RasterError: If an address of a server cannot be read as one, or a list on a server
                names a file on this disk.
        """
        from_server = is_address(self.home)
        if self.access is not None and (from_server or is_address(href)):
            return self.access.file(href, self.home if from_server else '')
        return local_file(href, self.home)

    def is_there(self, href: str) -> bool:
        """Say whether an asset can be opened: a file on this disk, or a raster that may be fetched."""
        try:
            file = self.find(href)
        except RasterError:
            return False
        if isinstance(file, RemoteFile):
            return not is_cube(file)
        return not is_address(file) and os.path.exists(file)

    def refusal(self, href: str) -> str:
        """Say why an address, or what a list on a server names, cannot be opened."""
        if self.access is None:
            return unallowed(href)
        if is_address(self.home) and href.lower().startswith('file:'):
            return f'{href:.200} would be a file of this disk, which a list on a server cannot name'
        try:
            self.find(href)
        except RasterError as error:
            return str(error)
        return f'{shown(href)} is a cube on a server, which is not read: download it'

    def list_name(self, file: str) -> str:
        """Name a list that another one links to, with the query that it may have.

        Args:
            file: What :meth:`find` gave.
        """
        if isinstance(file, RemoteFile) or not is_address(file):
            return file
        raise RasterError(unallowed(file))


def shown_href(href: Any) -> str:
    """Give an href for messages, without query and password."""
    return shown(str(href)) if is_address(str(href)) else str(href)
