"""Where the documentation says more about a message, for people who meet it on a terminal."""

import re

#: Page of the documentation, in a checkout; on the site it ends in .html.
PAGE = 'docs/user/troubleshooting.md'

#: Heading of the page -> messages below it, where ``…`` stands for what differs from case to case.
MESSAGES: dict[str, tuple[str, ...]] = {
    'Installing': (
        'what … was told to do needs …, which is not installed: pip install …',
        'a database needs psycopg; install it',
        'an approximate index needs faiss; pip install faiss-cpu, or search exactly',
    ),
    'Opening rasters': (
        'no … matches …: …',
        '… has no CRS: declare it',
        'has ground control points or RPCs in place of a grid: warp it first',
        'belongs to a set of … bands, but … is missing: add the file or request fewer bands',
        'does not cover the same ground as …, a band of the same scene',
        '… recognises no file in …: check the path, and that files have the names of the product',
    ),
    'Pairing and training': (
        'have no common ground: their footprints are …',
        'share ground but no date: the nearest acquisitions are … days apart and the tolerance is …',
        'has no date and so fails every tolerance',
        'no patch fits into the training ground: choose a smaller patch_size, block or margin',
        'training pairs do not fill one batch of …',
        "the scale of …'s radar bands is unknown: state the units of …",
        'a training batch of one pair was skipped: set drop_last=True',
        'encoder has collapsed: it gives nearly one embedding for',
    ),
    'Embedding': (
        'expects … bands…, the dataset gives … in …: open it with the expected',
        "has pixels of … m, and … was trained on … m: resample with gsd='resample', or say gsd='ignore'",
        'was trained on radar in …, and … does not say what its pixels are: state it with',
        'holds numbers up to … without a scale: state the value of one step with',
        'patches holds a share of … valid pixels and at most … percent cloud, or the encoder gives them only zeros',
        'embed with the model the archive was begun with',
    ),
    'Searching': (
        'the area touches no footprint: the archive lies within longitude …, latitude …, and its nearest footprint is … km from the area',
        'has no CRS; say which one it is in, for example',
        'is not a position; give longitude (-180 to 180), then latitude (-90 to 90), in degrees',
        'no patch covers …: the nearest is … km away',
        'were embedded in space … and the archive in …; embed both with one checkpoint',
        'is a raster: say its sensor with --query-modality',
        'or the archive has changed; build it again',
        'GB of memory and … GB are left',
    ),
    'Writing': (
        'is there already; choose another name or overwrite it',
        'could not be written, and nothing was changed there',
        'none of the … hits has a place on the ground, so no raster can be drawn and no pixels cut',
        'written and then removed; copy it there again, or run the command that embedded it again',
        'cannot be read, it is truncated or broken; remove it and run again',
    ),
}


def read_more(message: str) -> str | None:
    """Name the page and heading that explain a message.

    Args:
        message: What a command said.

    Returns:
        Path and anchor, None if the page does not have the message.

    Examples:
        >>> read_more('a.tif has no CRS: declare it with gdal_edit.py -a_srs')
        'docs/user/troubleshooting.md#opening-rasters'
        >>> read_more('nothing of the kind') is None
        True
    """
    for heading, quoted in MESSAGES.items():
        for words in quoted:
            find = '.+?'.join(re.escape(part.strip()) for part in words.split('…'))
            if re.search(find, message, re.DOTALL):
                return f'{PAGE}#{heading.lower().replace(" ", "-")}'
    return None
