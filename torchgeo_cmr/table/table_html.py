"""What a notebook shows of a table."""

from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .provenance import Rows

#: Characters of a fact that are shown.
_SHOWN = 200


def table_html(table: Rows, boxes: NDArray[np.float64]) -> str:
    """Say what the rows are, and show the first of them.

    Args:
        table: An embedding table.
        boxes: Bounds (n, 4) of its rows that have a place: west, south, east, north.

    Returns:
        HTML, in which every word of the table is escaped.
    """
    kinds = table.frame['modality'].fillna('unknown').value_counts()
    times = pd.concat([table.frame['time_start'], table.frame['time_end']]).dropna()
    facts = {
        'rows': f'{len(table):,}',
        'vectors': f'{table.dim} numbers, {table.metric}',
        'modalities': ', '.join(f'{name} ({count:,})' for name, count in kinds.items()),
        'space': ', '.join(table.spaces) or 'unknown',
        'time': f'{times.min()} to {times.max()}' if len(times) else 'unknown',
        'west, south, east, north': ', '.join(
            f'{side:.4f}'
            for side in (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))
        )
        if len(boxes)
        else 'no place',
    }
    lines = ''.join(
        f'<tr><th>{name}</th><td>{escape(value[:_SHOWN])}</td></tr>'
        for name, value in facts.items()
    )
    # Of each list and geometry only the beginning; pandas escapes what it writes.
    head = pd.DataFrame(table.frame.drop(columns='geometry').head()).to_html(
        index=False, max_cols=12, border=0
    )
    return f'<div><b>EmbeddingTable</b><table>{lines}</table>{head}</div>'
