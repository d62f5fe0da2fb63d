"""Names of classes and regions, as people write them into columns and tags.

Spaces around a name are no part of it: ``'wood '`` is how ``'wood'`` was typed once, not another
class. What is null, empty or blank is no name.
"""

import logging
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)


def class_names(column: pd.Series, what: str) -> NDArray[np.object_]:
    """Give the names in a column.

    Args:
        column: Text, numbers or truth values, of which some may be null. Floating-point numbers
            that are all whole were whole numbers before a null came among them, and read the same.
        what: What the column is called in a note.

    Returns:
        Text (n,) without spaces around it, None where there is no name.
    """
    known = column.notna().to_numpy()
    values = column[known].tolist()
    if all(isinstance(value, float) and value.is_integer() for value in values):
        values = [int(value) for value in values]
    texts = [str(value) for value in values]
    bare = bare_names(texts, what)
    names = np.full(len(column), None, dtype=object)
    names[known] = [bare[text] or None for text in texts]
    return names


def bare_names(texts: Iterable[str], what: str) -> dict[str, str]:
    """Strip names of spaces, and note which become one by it.

    Args:
        texts: Names as they are written.
        what: Where they are written, for the note.

    Returns:
        What each means: without spaces around it, empty if it is blank.
    """
    bare = {text: text.strip() for text in sorted(set(texts))}
    first: dict[str, str] = {}
    alike = [
        (first[name], text)
        for text, name in bare.items()
        if name and first.setdefault(name, text) != text
    ]
    if alike:
        left = f', and {len(alike) - 1} more likewise' if len(alike) > 1 else ''
        _LOG.info(
            '%s: %.80r and %.80r are one name, for spaces around a name are no part of it%s',
            what,
            *alike[0],
            left,
        )
    return bare


__all__ = ('bare_names', 'class_names')
