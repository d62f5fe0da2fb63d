"""An archive without the mean of its vectors, next to it, made again after each run."""

import os
from pathlib import Path

from torchgeo_cmr.embed.companion import companion
from torchgeo_cmr.export.new_file import only_writer
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.search import Alignment
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.replacement import replacement


def center_archive(archive: str | os.PathLike[str]) -> Path:
    """Write an archive whose vectors have lost the mean of each modality, and the means.

    Encoders that never saw pairs place each sensor in a corner of its own; archives that were
    centred one by one can be searched with each other. The archive is read part by part, twice, so
    that memory holds the largest part only.

    Args:
        archive: Folder of the archive, which stays as it is.

    Returns:
        The folder ``<archive>-centred``; the means are in ``<archive>-centred.npz``.

    Raises:
        OutputExistsError: If something that is not such an archive has its name.
        QueryError: If a row has no modality.
    """
    path = centred_folder(archive)
    means = path.with_name(f'{path.name}.npz')
    with only_writer([path], [means]):
        parts = EmbeddingTable.load_parts(archive)
        mean = Alignment.center(table for _, table in parts)
        header = {
            'space': parts.space and f'{parts.space}+{mean.name}',
            'record': {**parts.record, 'alignment': mean.name},
        }
        with replacement(path, header) as sink:
            for key, table in steps(parts, 'part', 'centre'):
                sink.commit(key, mean.table(table))
            sink.finish()
        mean.save(means, overwrite=True)
    return path


def centred_folder(archive: str | os.PathLike[str]) -> Path:
    """Name the archive without its mean, and refuse anything else of that name."""
    return companion(archive, '-centred', 'alignment', 'an archive without its mean')


__all__ = ('center_archive', 'centred_folder')
