"""How QGIS draws a layer: QML documents, written with the standard library's XML.

One document serves three places: the style embedded in a GeoPackage, the ``.qml`` file
next to a layer, and the layer in a project. QGIS 3.22 and newer read them.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from xml.etree import ElementTree as ET

from torchgeo_cmr.export.new_file import new_file

from .qml import (
    add_choice,
    add_label,
    add_ramp,
    add_symbol,
    add_temporal,
    as_text,
    document,
)

#: Viridis in five steps, dark to light as scores rise; distinguishable by colour-blind readers.
VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
#: Magma in five steps, for rasters below the boxes.
MAGMA = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
#: Outline of a layer by its name.
OUTLINES = {
    'query': (215, 25, 28),
    'area_of_interest': (35, 35, 35),
    'links': (215, 25, 28),
    'footprints': (59, 82, 139),
}

_NULL = '{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}'
_DARK = (35, 35, 35)
#: Names may hold < or &, and a map tip is HTML.
_PLAIN = "replace(replace(coalesce(\"{0}\", '-'), '&', '&amp;'), '<', '&lt;')"
_TIME = "coalesce(format_date(\"{0}\", 'yyyy-MM-dd HH:mm'), 'unknown')"


def score_classes(
    scores: Sequence[float], number: int = 5
) -> list[tuple[float, float]]:
    """Divide scores into classes of equal width such that each score is in one.

    Args:
        scores: Finite numbers; the lowest and highest are enough.
        number: Classes.

    Returns:
        Lower and upper ends, rising, the outer ones widened. One class if all scores are
        equal; -1..1 if there are none.
    """
    if not len(scores):
        return [(-1.0, 1.0)]
    low, high = float(min(scores)), float(max(scores))
    size = max(abs(low), abs(high), 1e-6)
    if high - low <= 1e-9 * size:
        return [(low - 1e-6 * size, high + 1e-6 * size)]
    margin = 1e-3 * (high - low)
    ends = [low + i * (high - low) / number for i in range(number + 1)]
    ends[0], ends[-1] = low - margin, high + margin
    return list(itertools.pairwise(ends))


def results_style(
    scores: Sequence[float],
    *,
    kind: str = 'Polygon',
    timed: bool = True,
    scale: float | None = None,
) -> str:
    """Style results: coloured by score, labelled by rank, shown when they were taken.

    ``relevant`` gets a list of yes, no and unknown to choose from.

    Args:
        scores: Scores of the layer; the lowest and highest are enough.
        kind: ``'Polygon'``, ``'LineString'`` or ``'Point'``.
        timed: Whether the layer has the fields ``time_start`` and ``time_end``.
        scale: Denominator of the smallest scale at which labels are drawn; None for all.

    Returns:
        A QML document.
    """
    root = document(labels=True)
    add_temporal(root, timed)
    classes = score_classes(scores)
    renderer = ET.SubElement(
        root,
        'renderer-v2',
        type='graduatedSymbol',
        attr='score',
        graduatedMethod='GraduatedColor',
        symbollevels='0',
        enableorderby='0',
    )
    ranges = ET.SubElement(renderer, 'ranges')
    symbols = ET.SubElement(renderer, 'symbols')
    words = _labels(classes)
    for i, (lower, upper) in enumerate(classes):
        ET.SubElement(
            ranges,
            'range',
            lower=repr(lower),
            upper=repr(upper),
            symbol=str(i),
            label=words[i],
            render='true',
        )
        # One class alone takes the ramp's middle.
        colour = VIRIDIS[i if len(classes) > 1 else 2]
        add_symbol(symbols, kind, str(i), _DARK, 0.26, (*colour, 102))
    add_symbol(
        ET.SubElement(renderer, 'source-symbol'),
        kind,
        '0',
        _DARK,
        0.26,
        (*VIRIDIS[2], 102),
    )
    add_ramp(renderer, VIRIDIS)
    add_label(root, 'rank', scale)
    times = f' to [% {_TIME.format("time_end")} %]'
    ET.SubElement(root, 'mapTip').text = (
        '<b>#[% "rank" %]</b> [% format_number("score", 3) %]<br>'
        f'[% {_PLAIN.format("modality")} %] [% {_PLAIN.format("source")} %]'
        + (f'<br>[% {_TIME.format("time_start")} %]{times}' if timed else '')
    )
    # What lists of features show; QGIS would take the query, which all hits of one share.
    ET.SubElement(
        root, 'previewExpression'
    ).text = """'#' || "rank" || ' ' || "patch_id\""""
    add_choice(root, 'relevant', {'yes': 'true', 'no': 'false', 'unknown': _NULL})
    return as_text(root)


def plain_style(name: str, *, kind: str = 'Polygon') -> str:
    """Style a layer with one symbol: an outline without a fill.

    Args:
        name: Layer, one of :data:`OUTLINES`: a query is red, an area dark.
        kind: ``'Polygon'``, ``'LineString'`` or ``'Point'``.

    Returns:
        A QML document.
    """
    root = document(labels=False)
    add_temporal(root, False)
    renderer = ET.SubElement(
        root, 'renderer-v2', type='singleSymbol', symbollevels='0', enableorderby='0'
    )
    width = {'links': 0.3, 'footprints': 0.3}.get(name, 0.7)
    add_symbol(ET.SubElement(renderer, 'symbols'), kind, '0', OUTLINES[name], width)
    return as_text(root)


def raster_style(lowest: float = 0.0) -> str:
    """Style a similarity raster: magma from 0 (or -1) to 1, with labels.

    Args:
        lowest: Lowest value of the raster; below 0 the ramp begins at -1.

    Returns:
        A QML document.
    """
    begin = -1.0 if lowest < 0 else 0.0
    root = document()
    pipe = ET.SubElement(root, 'pipe')
    renderer = ET.SubElement(
        pipe,
        'rasterrenderer',
        type='singlebandpseudocolor',
        band='1',
        opacity='1',
        alphaBand='-1',
        classificationMin=repr(begin),
        classificationMax='1.0',
    )
    shader = ET.SubElement(
        ET.SubElement(renderer, 'rastershader'),
        'colorrampshader',
        colorRampType='INTERPOLATED',
        classificationMode='1',
        clip='0',
        minimumValue=repr(begin),
        maximumValue='1.0',
    )
    add_ramp(shader, MAGMA)
    for i, colour in enumerate(MAGMA):
        value = begin + i * (1 - begin) / (len(MAGMA) - 1)
        ET.SubElement(
            shader,
            'item',
            value=repr(value),
            label=f'{value:.2f}',
            color='#{:02x}{:02x}{:02x}'.format(*colour),
            alpha='255',
        )
    return as_text(root)


def picture_style(bands: Sequence[int], ranges: Iterable[tuple[float, float]]) -> str:
    """Style a source raster: three bands as colours or one in grey, stretched.

    Args:
        bands: One or three band numbers from 1.
        ranges: Lowest and highest value shown, a pair a band.

    Returns:
        A QML document.
    """
    root = document()
    pipe = ET.SubElement(root, 'pipe')
    if len(bands) == 3:
        names = ('red', 'green', 'blue')
        kind, options = (
            'multibandcolor',
            {f'{n}Band': str(b) for n, b in zip(names, bands, strict=True)},
        )
        tags = [f'{n}ContrastEnhancement' for n in names]
    else:
        kind, options = (
            'singlebandgray',
            {'grayBand': str(bands[0]), 'gradient': 'BlackToWhite'},
        )
        tags = ['contrastEnhancement']
    renderer = ET.SubElement(
        pipe, 'rasterrenderer', type=kind, opacity='1', alphaBand='-1', attrib=options
    )
    for tag, (low, high) in zip(tags, ranges, strict=True):
        stretch = ET.SubElement(renderer, tag)
        ET.SubElement(stretch, 'minValue').text = repr(float(low))
        ET.SubElement(stretch, 'maxValue').text = repr(float(high))
        ET.SubElement(stretch, 'algorithm').text = 'StretchToMinimumMaximum'
    return as_text(root)


def write_qml(
    style: str, path: str | PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a style next to the layer it belongs to.

    Args:
        style: A QML document.
        path: The layer, or the ``.qml`` file: the suffix is replaced.
        overwrite: Replace a file that is there.

    Returns:
        The path of the ``.qml`` file.

    Raises:
        OutputExistsError: If the file is there and ``overwrite`` is False.
    """
    target = Path(path).with_suffix('.qml')
    with new_file(target, overwrite=overwrite) as temporary:
        temporary.write_text(style, encoding='utf-8')
    return target


def _labels(classes: Sequence[tuple[float, float]]) -> list[str]:
    """Write class ends with as many digits as it takes to tell them apart."""
    narrowest = min(upper - lower for lower, upper in classes)
    digits = min(12, max(2, math.ceil(-math.log10(narrowest)) + 1))
    if len(classes) == 1:
        lower, upper = classes[0]
        if upper - lower < 1:
            return [f'{(lower + upper) / 2:.2f}']
    return [f'{lower:.{digits}f} - {upper:.{digits}f}' for lower, upper in classes]
