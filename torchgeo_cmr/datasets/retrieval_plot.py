"""A query and what came back, side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torchgeo_cmr.datasets.plots import quicklook

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_retrieval(
    query: Any,
    results: Sequence[Any],
    *,
    relevant: Sequence[bool] | None = None,
    titles: Sequence[str] | None = None,
    query_title: str = 'query',
    query_bands: Sequence[str] = (),
    result_bands: Sequence[str] = (),
    suptitle: str | None = None,
) -> 'Figure':
    """Plot a query and the first results, best first, in one row of panels.

    Args:
        query: Picture of shape ``(bands, height, width)``, NaN where missing, or sound of
            shape ``(1, samples)``, which is drawn as a waveform.
        results: The retrieved items in the same form, in order of rank.
        relevant: For each result whether it is relevant; framed green if so, else red.
        titles: Words above each result; its rank by default.
        query_title: Words above the query.
        query_bands: Names of the query's bands; B04, B03 and B02 are shown as red, green
            and blue.
        result_bands: Names of the results' bands.
        suptitle: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: If there is no result, or not one word or judgement for each, or an item
            is neither picture nor sound.
    """
    from matplotlib.figure import Figure

    if not len(results):
        raise ValueError('there is no result to plot: retrieve at least one item')
    for name, given in (('relevant', relevant), ('titles', titles)):
        if given is not None and len(given) != len(results):
            raise ValueError(
                f'{name} needs one entry for each of {len(results)} results, found '
                f'{len(given)}'
            )
    above = titles or [str(rank) for rank in range(1, len(results) + 1)]
    fig = Figure(figsize=(2.2 * (1 + len(results)), 2.6), layout='constrained')
    axes = fig.subplots(1, 1 + len(results), squeeze=False)[0]
    _draw(axes[0], query, query_bands)
    axes[0].set_title(query_title)
    for number, (axis, item) in enumerate(zip(axes[1:], results, strict=True)):
        _draw(axis, item, result_bands)
        axis.set_title(above[number])
        if relevant is not None:
            for side in axis.spines.values():
                side.set_color('tab:green' if relevant[number] else 'tab:red')
                side.set_linewidth(3)
    if suptitle is not None:
        fig.suptitle(suptitle)
    return fig


def _draw(axis: Any, item: Any, bands: Sequence[str]) -> None:
    """Draw one item, with its frame but without ticks."""
    values = np.asarray(item, np.float32)
    if values.ndim == 3:
        axis.imshow(quicklook(values, bands), cmap='gray')
    elif values.ndim == 2 and len(values) == 1:
        axis.plot(values[0], linewidth=0.5)
        axis.set_ylim(-1, 1)
        axis.set_box_aspect(1)
    else:
        raise ValueError(
            'an item is a picture (bands, height, width) or sound (1, samples), found '
            f'shape {values.shape}'
        )
    axis.set_xticks([])
    axis.set_yticks([])


__all__ = ('plot_retrieval',)
