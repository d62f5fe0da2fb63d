"""Recall as a curve over the number of hits that are looked at, with chance."""

from itertools import cycle
from typing import TYPE_CHECKING

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.pictures.space_plots import COLOURS

from .report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Cut-offs of a curve: close where people look, up to a list that nobody reads.
CUTS = (1, 2, 3, 5, 10, 20, 50, 100)


def plot_recall(report: Report) -> 'Figure':
    """Draw recall@k of every direction over k, with chance dashed and intervals shaded where known.

    Args:
        report: Scored with ``recall@k`` at several cut-offs, such as :data:`CUTS`.

    Returns:
        The figure.

    Raises:
        QueryError: If the report has no recall@k.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout='constrained')
    axis = figure.subplots()
    cuts: list[int] = []
    for (name, found), colour in zip(
        report.directions.items(), cycle(COLOURS), strict=False
    ):
        curve = {
            int(measure.partition('@')[2]): score
            for measure, score in found['scores'].items()
            if measure.startswith('recall@') and score['value'] is not None
        }
        if not curve:
            continue
        cuts = sorted(curve)
        axis.plot(
            cuts, [curve[k]['value'] for k in cuts], 'o-', color=colour, label=name
        )
        axis.plot(
            cuts, [curve[k]['chance'] for k in cuts], '--', color=colour, alpha=0.6
        )
        if all(curve[k].get('low') is not None for k in cuts):
            low, high = ([curve[k][end] for k in cuts] for end in ('low', 'high'))
            axis.fill_between(cuts, low, high, color=colour, alpha=0.15)
    if not cuts:
        raise QueryError(
            'the report has no recall@k; make it with metrics=["recall@k"]'
        )
    axis.set_xscale('log')
    axis.set_xticks(cuts, labels=map(str, cuts))
    axis.minorticks_off()
    axis.set(xlabel='hits that are looked at, k', ylabel='recall@k', ylim=(0, 1))
    axis.set_title(f'Relevant: {report.relevance}; dashed: chance', fontsize='medium')
    axis.legend(fontsize='small')
    return figure
