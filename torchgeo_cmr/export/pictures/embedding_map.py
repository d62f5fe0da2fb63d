"""Maps of an archive: places whose vectors are alike have like colours."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.table import EmbeddingTable

from .similarity_raster import similarity, write_cog

#: Rows whose vectors are held in double precision at a time.
_BLOCK = 8_192
#: Percentiles of a component that become its darkest and its brightest value.
_DARK, _BRIGHT = 2, 98


def to_embedding_map(
    table: EmbeddingTable,
    path: str | PathLike[str],
    *,
    modality: str | None = None,
    cell: float | None = None,
    crs: Any = None,
    overwrite: bool = False,
) -> Path:
    """Draw the places of an archive in colours of their vectors.

    Red, green and blue are the first three principal components (:func:`principal_colours`); where footprints
    overlap, their mean.

    Args:
        table: Rows with places.
        path: File to write: ``.tif`` for a cloud-optimised GeoTIFF of three bytes a cell with a mask, or
            ``.png`` for a picture, transparent where no patch lies.
        modality: Draw the rows of one modality; all without it. Colours are those of all rows, so that maps
            of several modalities can be compared.
        cell: As for :func:`similarity`.
        crs: As for :func:`similarity`.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If the suffix is another, there is no such modality, or no row has a place.
        OutputExistsError: If the file is there and ``overwrite`` is False.

    Examples:
        >>> import tempfile
        >>> import geopandas as gpd
        >>> import shapely
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     to_embedding_map(table, f'{folder}/map.tif').name
        'map.tif'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in ('.tif', '.png'):
        raise QueryError(
            f'{path} has the suffix {suffix or "none"}: a map is written to .tif or .png'
        )
    rows = table.frame['modality'].to_numpy() == modality
    if modality is None:
        rows = np.ones(len(table), bool)
    elif not rows.any():
        raise QueryError(
            f'there are no rows of the modality {modality!r}; the archive has '
            f'{", ".join(sorted(set(table.frame["modality"])))}'
        )
    colours = principal_colours(table)[rows]
    frame = table.frame[rows]
    bands = [
        similarity(frame.assign(score=colour), how='mean', cell=cell, crs=crs)
        for colour in colours.T
    ]
    mask = ~np.isnan(bands[0].to_numpy())
    pixels = np.stack([np.nan_to_num(band.to_numpy()) for band in bands])
    pixels = np.round(255 * pixels).astype(np.uint8)
    with new_file(path, overwrite=overwrite) as temporary:
        if suffix == '.png':
            from matplotlib.image import imsave

            opaque = np.dstack([*pixels, np.where(mask, 255, 0).astype(np.uint8)])
            imsave(temporary, opaque, format='png')
        else:
            write_cog(
                temporary,
                pixels,
                crs=bands[0].rio.crs,
                transform=bands[0].rio.transform(),
                nodata=None,
                names=('first component', 'second component', 'third component'),
                mask=np.where(mask, 255, 0).astype(np.uint8),
            )
    return Path(path)


def principal_colours(table: EmbeddingTable) -> NDArray[np.float32]:
    """Give each row a colour, alike where vectors are alike.

    The three principal components of all vectors, each modality centred and scaled on its own, since else the
    first component would say which sensor it was. A component goes from its 2nd to its 98th percentile.

    Args:
        table: Rows.

    Returns:
        Red, green and blue of each row in 0..1, (rows, 3); components that vectors do not have are 0.5.
    """
    codes = np.unique(
        table.frame['modality'].to_numpy().astype(str), return_inverse=True
    )[1]
    count = np.maximum(np.bincount(codes), 1)
    sums, squares = np.zeros((len(count), table.dim)), np.zeros(len(count))
    blocks = [slice(s, s + _BLOCK) for s in range(0, len(table), _BLOCK)]
    for block in blocks:
        members = (codes[block] == np.arange(len(count))[:, None]).astype(np.float64)
        rows = table.unit_rows(block).astype(np.float64)
        sums += members @ rows
        squares += members @ (rows**2).sum(axis=1)
    centres = sums / count[:, None]
    widths = np.sqrt(np.maximum(squares / count - (centres**2).sum(axis=1), 1e-12))

    def relative(block: slice) -> NDArray[np.float64]:
        off = table.unit_rows(block) - centres[codes[block]]
        return off / widths[codes[block], None]

    spread = np.zeros((table.dim, table.dim))
    for block in blocks:
        off = relative(block)
        spread += off.T @ off
    variances, axes = np.linalg.eigh(spread)
    axes = axes[:, ::-1][:, :3]
    # An axis has no direction of its own: its largest number is positive, so that colours are the same again.
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    # What is left of rounding is not a component.
    kept = variances[::-1][: axes.shape[1]] > 1e-9 * max(
        variances.max(initial=0), 1e-30
    )
    values = np.empty((len(table), axes.shape[1]))
    for block in blocks:
        values[block] = relative(block) @ axes
    colours = np.full((len(table), 3), 0.5, np.float32)
    for i in np.flatnonzero(kept):
        low, high = np.percentile(values[:, i], [_DARK, _BRIGHT])
        if high > low:
            colours[:, i] = np.clip((values[:, i] - low) / (high - low), 0, 1)
    return colours
