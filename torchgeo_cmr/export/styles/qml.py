"""The parts of a QML document, which is how QGIS keeps a style."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

_SYMBOLS = {'Polygon': 'fill', 'LineString': 'line', 'Point': 'marker'}


def document(*, labels: bool | None = None) -> ET.Element:
    """Begin a style.

    Args:
        labels: Whether a vector layer is labelled; None for a raster.
    """
    root = ET.Element('qgis', version='3.22.0', styleCategories='AllStyleCategories')
    if labels is not None:
        root.set('labelsEnabled', str(int(labels)))
    return root


def as_text(root: ET.Element) -> str:
    """Give a style as text, escaped by the library.

    Args:
        root: What :func:`document` began.
    """
    return ET.tostring(root, encoding='unicode')


def add_temporal(root: ET.Element, timed: bool) -> None:
    """Tie the layer to QGIS' time slider, or not.

    Args:
        root: The style.
        timed: Whether the layer has the fields ``time_start`` and ``time_end``.
    """
    ET.SubElement(
        root,
        'temporal',
        enabled=str(int(timed)),
        mode='2',
        limitMode='1',
        startField='time_start' if timed else '',
        endField='time_end' if timed else '',
        durationUnit='min',
        fixedDuration='0',
        accumulate='0',
    )


def add_symbol(
    parent: ET.Element,
    kind: str,
    name: str,
    outline: tuple[int, int, int],
    width: float,
    fill: tuple[int, int, int, int] | None = None,
) -> None:
    """Draw polygons, lines or points with an outline and perhaps a fill.

    Args:
        parent: Where the renderer keeps its symbols.
        kind: ``'Polygon'``, ``'LineString'`` or ``'Point'``.
        name: Number of the symbol.
        outline: Red, green, blue.
        width: Of the outline, in millimetres.
        fill: Red, green, blue, opacity, each 0 to 255; None draws no fill.
    """
    symbol = ET.SubElement(parent, 'symbol', type=_SYMBOLS[kind], name=name, alpha='1')
    line = ','.join(map(str, (*outline, 255)))
    inside = ','.join(map(str, fill or (0, 0, 0, 0)))
    if kind == 'LineString':
        layer = 'SimpleLine'
        options = {
            'line_color': line if fill is None else inside,
            'line_width': str(width),
            'line_width_unit': 'MM',
            'line_style': 'solid',
        }
    else:
        options = {
            'color': inside,
            'outline_color': line,
            'outline_width': str(width),
            'outline_width_unit': 'MM',
        }
        if kind == 'Polygon':
            layer, options['style'] = 'SimpleFill', 'no' if fill is None else 'solid'
        else:
            layer = 'SimpleMarker'
            options |= {'name': 'circle', 'size': '3', 'size_unit': 'MM'}
    element = ET.SubElement(
        symbol, 'layer', {'class': layer, 'enabled': '1', 'pass': '0', 'locked': '0'}
    )
    _add_options(element, options)


def _add_options(parent: ET.Element, values: dict[str, str]) -> None:
    box = ET.SubElement(parent, 'Option', type='Map')
    for name, value in values.items():
        ET.SubElement(box, 'Option', type='QString', name=name, value=value)


def add_ramp(parent: ET.Element, colours: Sequence[tuple[int, int, int]]) -> None:
    """Name the colours as a ramp, so that QGIS can classify anew with them.

    Args:
        parent: The renderer.
        colours: Red, green, blue of each stop.
    """
    words = [','.join(map(str, (*c, 255))) for c in colours]
    stops = [f'{i / (len(words) - 1)};{w}' for i, w in enumerate(words)][1:-1]
    ramp = ET.SubElement(parent, 'colorramp', type='gradient', name='[source]')
    _add_options(
        ramp,
        {
            'color1': words[0],
            'color2': words[-1],
            'discrete': '0',
            'rampType': 'gradient',
            'stops': ':'.join(stops),
        },
    )


def add_label(root: ET.Element, field: str, scale: float | None = None) -> None:
    """Label each feature with a field, with a light buffer.

    Args:
        root: The style.
        field: Name of the field.
        scale: Denominator of the smallest scale at which labels are drawn; None for all.
    """
    settings = ET.SubElement(ET.SubElement(root, 'labeling', type='simple'), 'settings')
    style = ET.SubElement(
        settings,
        'text-style',
        fieldName=field,
        isExpression='0',
        fontSize='8',
        fontSizeUnit='Point',
        textColor='20,20,20,255',
    )
    ET.SubElement(
        style,
        'text-buffer',
        bufferDraw='1',
        bufferSize='0.8',
        bufferSizeUnits='MM',
        bufferColor='255,255,255,220',
        bufferOpacity='1',
    )
    if scale is not None:
        # QGIS calls the smallest scale, which has the greatest number, the maximum here.
        ET.SubElement(
            settings,
            'rendering',
            drawLabels='1',
            scaleVisibility='1',
            scaleMin='0',
            scaleMax=f'{scale:.0f}',
        )


def add_choice(root: ET.Element, field: str, values: dict[str, str]) -> None:
    """Let the user choose a field's value from a list.

    Args:
        root: The style.
        field: Name of the field.
        values: What the user reads -> what is stored.
    """
    parent = ET.SubElement(
        ET.SubElement(root, 'fieldConfiguration'), 'field', name=field
    )
    widget = ET.SubElement(parent, 'editWidget', type='ValueMap')
    box = ET.SubElement(ET.SubElement(widget, 'config'), 'Option', type='Map')
    entries = ET.SubElement(box, 'Option', type='List', name='map')
    for name, value in values.items():
        _add_options(entries, {name: value})
