"""What counts as a number where a number is requested.

A truth value does not, and neither does a span of time, which NumPy has among whole numbers.
"""

from typing import Any, TypeGuard

import numpy as np


def is_real(value: Any) -> TypeGuard[float]:
    """Say whether a value is a real number, of Python or NumPy."""
    return isinstance(value, float | np.floating) or is_whole(value)


def is_whole(value: Any) -> TypeGuard[int]:
    """Say whether a value is a whole number by its type, of Python or NumPy."""
    whole = isinstance(value, int | np.integer)
    return whole and not isinstance(value, bool | np.timedelta64)
