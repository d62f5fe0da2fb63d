"""Names of bands: which of those that are there are the ones that are wanted."""

import re
from collections.abc import Sequence

#: Quality masks that are known.
MASKS = ('SCL', 'QA_PIXEL')

#: Names that say only a position: the file itself names nothing.
_NAMELESS = re.compile(r'(band_?)?\d+', re.IGNORECASE)

#: What may stand between a product and a band in the name of a variable.
_BREAK = r'[-_.:/ ]'


def nameless(names: Sequence[str]) -> bool:
    """Say whether names only count (``band_1``), so that they cannot be compared."""
    return all(_NAMELESS.fullmatch(name) for name in names)


def find_bands(wanted: Sequence[str], given: Sequence[str]) -> list[int] | None:
    """Find bands among variables, whose names may begin with their product.

    ``'B02'`` is found as ``'B02'``, ``'b02'`` or ``'S2-L2A-B02'``, in this order; a name
    that could be two bands is none.

    Args:
        wanted: Names to look for.
        given: Names that are there.

    Returns:
        A position in *given* for each name; None if one is not found.
    """
    order = []
    for name in wanted:
        for fits in (
            [i for i, other in enumerate(given) if other == name],
            [i for i, other in enumerate(given) if other.lower() == name.lower()],
            [
                i
                for i, other in enumerate(given)
                if re.search(rf'{_BREAK}{re.escape(name)}$', other, re.IGNORECASE)
            ],
        ):
            if len(fits) == 1:
                order += fits
                break
        else:
            return None
    return order


def last_part(name: str) -> str:
    """Give the band in the name of a variable: ``'VV'`` of ``'S1-SIGMA0-VV'``."""
    return re.split(_BREAK, name)[-1].upper()


def mask_name(band: str) -> str | None:
    """Say which mask a band is by its name, such as ``'S2-L2A-SCL'``; None if none."""
    return next(
        (m for m in MASKS if re.search(rf'(?:^|{_BREAK}){m}$', band, re.IGNORECASE)),
        None,
    )
