"""An archive without the mean of its vectors, next to it, made again after each run."""

import os
from pathlib import Path

from torchgeo_cmr.embed.companion import companion
from torchgeo_cmr.export.new_file import only_writer
from torchgeo_cmr.search import Alignment
from torchgeo_cmr.table import EmbeddingTable


def center_archive(archive: str | os.PathLike[str]) -> Path:
    """Write an archive whose vectors have lost the mean of each modality, and the means.

    Encoders that never saw pairs place each sensor in a corner of its own; archives that were
    centred one by one can be searched with each other.

    Args:
        archive: Folder of the archive, which stays as it is.

    Returns:
        The folder ``<archive>-centred``; the means are in ``<archive>-centred.npz``.

    Raises:
        OutputExistsError: If something that is not such an archive has its name.
        QueryError: If a row has no modality.
    """
    path = companion(archive, '-centred', 'alignment', 'an archive without its mean')
    means = path.with_name(f'{path.name}.npz')
    with only_writer([path], [means]):
        table = EmbeddingTable.load(archive)
        mean = Alignment.center([table])
        made = mean.table(table).save(path, overwrite=True)
        mean.save(means, overwrite=True)
    return made


__all__ = ('center_archive',)
