"""Names of bands: which band a name means, however a file, product or catalogue spells it.

Names are compared in five steps, and the first step at which a band fits decides:

1. letter by letter;
2. ignoring case;
3. ignoring leading zeros, a resolution and the prefix of a product level: ``B2``, ``B02``,
   ``b02_10m``; ``SR_B4``, ``OLI_B4``, ``B4``;
4. after the name of a product, such as ``S2-L2A-B02``, or as the only polarisation among
   words of backscatter, such as ``Sigma0_VV_db``;
5. by what the sensor calls its bands: ``red``, ``665`` and ``B04`` of Sentinel-2.

A name that fits two bands at one step means neither.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

#: What may stand between a product and a band in the name of a variable.
_BREAK = r'[-_.:/ ]'

#: Quality masks and how their bands, assets and files are called, in the order of search.
MASKS = {
    'SCL': 'scl',
    'QA_PIXEL': 'qa_pixel|pixel_qa',
    'FMASK': 'fmask',
    'UDM2': r'(?:ortho_)?udm2(?:\.1)?',
}

#: Bands that only the mask of usable data of PlanetScope has together.
_UDM2_BANDS = frozenset({'clear', 'snow', 'shadow', 'cloud', 'confidence'})

#: Names that only say a position.
_COUNTED = re.compile(r'(?:band[_ ]?)?(\d+)', re.IGNORECASE)

#: Numbered bands, with what may stand before and after them.
_NUMBERED = re.compile(
    r'(?P<before>.*[-_.:/ ])??(?:(?P<level>SR|ST|OLI|TIRS|TM|ETM)_)?'
    r'B(?P<zero>0?)(?P<number>8A|[1-9]\d?)(?:_\d+m)?(?:,.*)?',
    re.IGNORECASE,
)

#: Names that are wavelengths in nanometres.
_WAVELENGTH = re.compile(
    r'(?:w|wl|wavelength)?[_ ]?(\d{3,5})(?:[_ ]?nm)?', re.IGNORECASE
)

#: Polarisations, and the words that may surround one in the name of a band.
_POLARISATION = re.compile(
    r'(?:^|[^a-z]|sigma|gamma|beta|amplitude|intensity)([vh][vh])'
    r'(?=$|[^a-z]|db|lin|pow|amp)',
    re.IGNORECASE,
)
_BACKSCATTER_WORDS = re.compile(
    r'sigma(?:_?0|_?nought)?|gamma(?:_?0|_?nought)?|beta(?:_?0|_?nought)?|nrcs|dbs?|'
    r'decibels?|linear|lin|power|pow|amplitude|amp|intensity|backscatter|sentinel|'
    r's1[a-d]?|sar|rtc|grd|iw|ew|sm|[-_.:/ \d()\[\]]',
    re.IGNORECASE,
)

#: Sensor -> number of a band -> its common names, the first of STAC, and its wavelength in
#: nanometres.
_SENSORS: dict[str, dict[str, tuple[str, int]]] = {
    'sentinel-2': {
        '1': ('coastal coastalaerosol aerosol aerosols', 443),
        '2': ('blue b', 490),
        '3': ('green g', 560),
        '4': ('red r', 665),
        '5': ('rededge1 rededge071 re1 rededge', 705),
        '6': ('rededge2 rededge075 re2 rededge', 740),
        '7': ('rededge3 rededge078 re3 rededge', 783),
        '8': ('nir nirbroad', 842),
        '8A': ('nir08 nirnarrow rededge4 re4', 865),
        '9': ('nir09 watervapour watervapor', 945),
        '10': ('cirrus', 1375),
        '11': ('swir16 swir1', 1610),
        '12': ('swir22 swir2', 2190),
    },
    'oli': {
        '1': ('coastal coastalaerosol aerosol', 443),
        '2': ('blue b', 482),
        '3': ('green g', 561),
        '4': ('red r', 655),
        '5': ('nir08 nir nirnarrow', 865),
        '6': ('swir16 swir1', 1609),
        '7': ('swir22 swir2', 2201),
        '8': ('pan panchromatic', 590),
        '9': ('cirrus', 1373),
        '10': ('lwir11 lwir1', 10895),
        '11': ('lwir12 lwir2', 12005),
    },
    'tm': {
        '1': ('blue b', 485),
        '2': ('green g', 560),
        '3': ('red r', 660),
        '4': ('nir08 nir', 830),
        '5': ('swir16 swir1', 1650),
        '6': ('lwir lwir11', 11450),
        '7': ('swir22 swir2', 2215),
        '8': ('pan panchromatic', 710),
    },
}

#: Nanometres by which a name may miss the wavelength of its band.
_NEAR = 10


def nameless(names: Sequence[str]) -> bool:
    """Say whether names only count from one (``band_1``, ``band_2``): nothing is named."""
    found = [_COUNTED.fullmatch(name) for name in names]
    return all(match and int(match[1]) == i for i, match in enumerate(found, 1))


def find_bands(
    wanted: Sequence[str], given: Sequence[str], sensor: str | None = None
) -> list[int] | None:
    """Find bands among others by name, by the steps of this module.

    Args:
        wanted: Names to look for.
        given: Names that are there.
        sensor: Sensor of *given*, such as ``'landsat-8'``; None to tell by the names.

    Returns:
        A position in *given* for each name; None if one is not found, could be two bands
        or is the band of another name as well.
    """
    fits = candidates(wanted, [(name,) for name in given], sensor)
    order = [found[0] for found in fits if len(found) == 1]
    return order if len(set(order)) == len(wanted) else None


def explain(
    wanted: Sequence[str], given: Sequence[str], sensor: str | None = None
) -> str:
    """Say which wanted bands are not found, and which could be several.

    Args:
        wanted: Names to look for.
        given: Names that are there.
        sensor: Sensor of *given*.

    Returns:
        Part of a sentence, such as ``'there is no band B08'``.
    """
    fits = candidates(wanted, [(name,) for name in given], sensor)
    pairs = list(zip(wanted, fits, strict=True))
    missing = [name for name, found in pairs if not found]
    doubtful = [
        f'{name} could be {" or ".join(given[i] for i in found)}'
        for name, found in pairs
        if len(found) > 1
    ]
    shared = {found[0] for _, found in pairs if len(found) == 1}
    doubtful += [
        f'{" and ".join(names)} would both be {given[i]}'
        for i in sorted(shared)
        if len(names := [name for name, found in pairs if found == [i]]) > 1
    ]
    reasons = [f'there is no band {", ".join(missing)}'] if missing else []
    return '; '.join([*reasons, *doubtful])


def candidates(
    wanted: Sequence[str], given: Sequence[Sequence[str]], sensor: str | None = None
) -> list[list[int]]:
    """Find all bands that fit names equally well, at the first step at which any fits.

    Args:
        wanted: Names to look for.
        given: For each band the names it goes by, the best first.
        sensor: Sensor of *given*; None to tell by the names.

    Returns:
        For each name positions in *given*, empty if none fits.
    """
    return [
        list(fits)
        for fits in _candidates(tuple(wanted), tuple(map(tuple, given)), sensor)
    ]


@lru_cache(maxsize=1024)
def _candidates(
    wanted: tuple[str, ...], given: tuple[tuple[str, ...], ...], sensor: str | None
) -> tuple[tuple[int, ...], ...]:
    theirs = _family(sensor) or _family_of([n for names in given for n in names])
    ours = _family_of(wanted)
    if ours is None or (ours == 'landsat' and theirs in ('oli', 'tm')):
        ours = theirs or 'sentinel-2'
    if theirs is None or (theirs == 'landsat' and ours in ('oli', 'tm')):
        theirs = ours
    # Numbers of two sensors are not compared: B05 is red edge here and near infrared there.
    family = ours if ours == theirs else None
    return tuple(_fits(name, given, family) for name in wanted)


def _fits(
    name: str, given: tuple[tuple[str, ...], ...], family: str | None
) -> tuple[int, ...]:
    """Positions of the bands that fit a name at the first step at which any does."""
    steps = (_same, _same_letters, _same_number, _same_in_product, _same_meaning)
    for step in steps:
        for rank in range(max(map(len, given), default=0)):
            fits = tuple(
                i
                for i, names in enumerate(given)
                if rank < len(names) and step(name, names[rank], family)
            )
            if fits:
                return fits
    return ()


def _same(name: str, other: str, _: str | None) -> bool:
    return name == other


def _same_letters(name: str, other: str, _: str | None) -> bool:
    return name.strip().lower() == other.strip().lower()


def _same_number(name: str, other: str, family: str | None) -> bool:
    a, b = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(other)
    if not (a and b and family) or a['before'] or b['before']:
        return False
    return a['number'].upper() == b['number'].upper()


def _same_in_product(name: str, other: str, family: str | None) -> bool:
    short, long = sorted((name, other), key=len)
    if re.search(rf'{_BREAK}{re.escape(short)}$', long, re.IGNORECASE):
        return True
    a, b = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(other)
    if a and b and family and bool(a['before']) != bool(b['before']):
        return a['number'].upper() == b['number'].upper()
    found = polarisation(name)
    if found is None or found != polarisation(other):
        return False
    # What stands around it may say more of the backscatter, but nothing else.
    rest = [re.sub(found, ' ', text, flags=re.IGNORECASE) for text in (name, other)]
    kinds = [set(re.findall('sigma|gamma|beta', text.lower())) for text in rest]
    plain = all(not _BACKSCATTER_WORDS.sub('', text) for text in rest)
    return plain and (kinds[0] == kinds[1] or not all(kinds))


def numbers_of(name: str, sensor: str) -> frozenset[str]:
    """Give the numbers of the bands of a sensor that a name can mean.

    Args:
        name: A number, wavelength or common name, such as ``'B02_10m'``, ``'490'``, ``'blue'``.
        sensor: The sensor, such as ``'sentinel-2'``.

    Returns:
        Numbers such as ``'2'``; empty if the name is that of no band of the sensor.
    """
    return _meanings(name, _family(sensor))


def _same_meaning(name: str, other: str, family: str | None) -> bool:
    return bool(_meanings(name, family) & _meanings(other, family))


@lru_cache(maxsize=1024)
def _meanings(name: str, family: str | None) -> frozenset[str]:
    """Numbers of the bands of a sensor that a name can mean."""
    table = _SENSORS.get(family or '', {})
    number = _NUMBERED.fullmatch(name)
    if number:
        return frozenset({number['number'].upper()} & set(table))
    waves = _WAVELENGTH.fullmatch(name.strip())
    if waves:
        length = int(waves[1])
        return frozenset(n for n, (_, w) in table.items() if abs(w - length) <= _NEAR)
    word = re.sub(r'[-_.:/ ]', '', name).lower()
    return frozenset(n for n, (words, _) in table.items() if word in words.split())


def _family(sensor: str | None) -> str | None:
    """Which numbering of bands a sensor has."""
    text = (sensor or '').lower()
    if text.startswith('sentinel-2'):
        return 'sentinel-2'
    landsat = re.match(r'landsat[-_ ]?(\d?)', text)
    if landsat:
        # HLS does not say which of its two, 8 and 9, whose bands are the same.
        numbers = {'4': 'tm', '5': 'tm', '7': 'tm', '8': 'oli', '9': 'oli', '': 'oli'}
        return numbers.get(landsat[1])
    return None


def _family_of(names: Sequence[str]) -> str | None:
    """Which numbering of bands names show; None if they could have any."""
    found = [match for name in names if (match := _NUMBERED.fullmatch(name))]
    levels = {(match['level'] or '').upper() for match in found}
    numbers = {match['number'].upper() for match in found}
    if levels & {'OLI', 'TIRS'} or ('SR' in levels and '6' in numbers):
        return 'oli'
    if levels & {'TM', 'ETM'}:
        return 'tm'
    if levels & {'SR', 'ST'}:
        return 'landsat'
    padded = any(match['zero'] for match in found)
    return 'sentinel-2' if padded or numbers & {'8A', '12'} else None


def polarisation(name: str) -> str | None:
    """Give the one polarisation in the name of a band, such as ``'VV'``; None if none."""
    found = {match.upper() for match in _POLARISATION.findall(name)}
    return found.pop() if len(found) == 1 else None


def is_radar(name: str) -> bool:
    """Say whether the name of a band is one of radar backscatter."""
    nought = r'(?:sigma|gamma|beta)[-_ ]?(?:0|nought|naught)|nrcs|backscatter'
    return bool(_POLARISATION.search(name) or re.search(nought, name, re.IGNORECASE))


def is_optical(name: str) -> bool:
    """Say whether the name of a band is one of reflected light."""
    words = {'red', 'green', 'blue', 'nir', 'swir', 'pan'}
    return name.strip().lower() in words or any(_meanings(name, f) for f in _SENSORS)


def mask_name(band: str) -> str | None:
    """Say which quality mask a band, asset or file is, such as ``'S2-L2A-SCL'``.

    Args:
        band: Name of a band or variable, key of an asset, or name of a file without its
            suffix.

    Returns:
        A key of ``MASKS``; None if it is not a mask.
    """
    return next((mask for mask in MASKS if _mask_pattern(mask).fullmatch(band)), None)


def mask_stem(name: str) -> str | None:
    """Give what stands before the mask in the name of a file; None if it is not one."""
    found = (_mask_pattern(mask).fullmatch(name) for mask in MASKS)
    return next((match['stem'] or '' for match in found if match), None)


def is_udm2(bands: Sequence[str]) -> bool:
    """Say whether bands are those of PlanetScope's mask of usable data."""
    return {band.strip().lower() for band in bands} >= _UDM2_BANDS


@lru_cache
def _mask_pattern(mask: str) -> re.Pattern[str]:
    return re.compile(
        rf'(?:(?P<stem>.*?){_BREAK})??(?:{MASKS[mask]})(?:_\d+m)?(?:[-_](?:jp2|clip))?',
        re.IGNORECASE,
    )
