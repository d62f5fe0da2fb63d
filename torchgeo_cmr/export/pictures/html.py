"""One page of hits: a map in SVG, a table, thumbnails; no script, nothing fetched.

The page is built as a tree of elements and written by the standard library, which escapes
every text; a policy in its head forbids the browser to load or run anything.
"""

import base64
import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.extent import placed, with_geometry
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.export.visible_text import visible
from torchgeo_cmr.search.results import check_result
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import unwrap

from .sheet import Read
from .svg_map import draw_map

#: What the browser may do: show pictures that are in the page, and use its style.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5em auto; max-width: 72em; padding: 0 1em;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.3em; } svg { width: 100%; height: auto; border: 1px solid #bbb; }
table { border-collapse: collapse; width: 100%; margin: 1em 0; }
th, td { text-align: left; padding: .25em .6em; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td { overflow-wrap: anywhere; } img { width: 96px; image-rendering: pixelated; display: block; }
figure { display: inline-block; margin: 0 .5em .5em 0; } figcaption { font-size: .8em; }
tr:target, path:target { outline: 3px solid #d55e00; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1em 1em; } dd { margin: 0; }
"""
_HEAD = (
    'query',
    'rank',
    'score',
    'modality',
    'time (UTC)',
    'longitude',
    'latitude',
    'source',
)


def to_html(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    read: Read | None = None,
    max_hits: int = 200,
    overwrite: bool = False,
) -> Path:
    """Write hits as one HTML page that any browser shows without a network.

    The map is azimuthal equidistant about the middle of the hits, so it has no seam at 180
    degrees and none at the poles; it has no background, because that would be fetched. Hits
    without a place are in the table only.

    Args:
        results: What a search gave.
        path: File to write.
        queries: The queries, outlined in red on the map.
        area: The searched area, outlined in black; as :func:`to_geopackage` takes it.
        record: How the search was made; its ``command``, ``filters`` and ``archives`` are
            shown, and its ``scenes`` give the thumbnails; if one is missing, the page
            notes it and shows no more of them.
        read: Gives the thumbnail of a row in a modality, as for :func:`to_sheet`, instead of
            the record's scenes.
        max_hits: Hits to show, best ranks first; the page states how many there are.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If the frame is not a result, or the area cannot be understood.
        OutputExistsError: If the file is there and ``overwrite`` is False.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> import tempfile
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> folder = tempfile.TemporaryDirectory()
        >>> hits = RetrievalIndex(table).search(table.select([0]), 2)
        >>> to_html(hits, f'{folder.name}/hits.html').read_text()[:15]
        '<!DOCTYPE html>'
        >>> folder.cleanup()
    """
    check_result(results)
    best = np.argsort(results['rank'].to_numpy(), kind='stable')[:max_hits]
    shown = with_geometry(results).take(np.sort(best))
    query_frame = queries.frame if isinstance(queries, EmbeddingTable) else queries
    scenes = (record or {}).get('scenes') or {}
    notes: list[str] = []
    if read is None and scenes:
        read = _from_scenes(scenes, notes)
    page = Element('html', lang='en')
    head = SubElement(page, 'head')
    SubElement(head, 'meta', charset='utf-8')
    SubElement(
        head, 'meta', {'http-equiv': 'Content-Security-Policy', 'content': _POLICY}
    )
    SubElement(head, 'meta', name='viewport', content='width=device-width')
    # Else browsers request one.
    SubElement(head, 'link', rel='icon', href='data:,')
    SubElement(head, 'title').text = title = Path(path).stem
    SubElement(head, 'style').text = _STYLE
    body = SubElement(page, 'body')
    SubElement(body, 'h1').text = title
    number = results['query_id'].nunique()
    summary = f'{len(results)} hits of {number} {"query" if number == 1 else "queries"}'
    if len(shown) < len(results):
        summary += f', the best {len(shown)} shown'
    SubElement(body, 'p').text = f'{summary}. Higher scores are closer.'
    located = placed(shown)
    if located.any():
        body.append(draw_map(shown[located], query_frame, area))
    if not located.all():
        SubElement(
            body, 'p'
        ).text = (
            f'{int((~located).sum())} of them have no place and are not on the map.'
        )
    if len(shown):
        body.append(_table(shown, read, sorted(scenes)))
    for note in notes:
        SubElement(body, 'p').text = f'Pictures are missing: {note}.'
    _conditions(body, record or {})
    text = visible(tostring(page, encoding='unicode', method='html'))
    with new_file(path, overwrite=overwrite) as temporary:
        # Names of files need not be Unicode.
        temporary.write_text(
            f'<!DOCTYPE html>\n{text}\n', encoding='utf-8', errors='backslashreplace'
        )
    return Path(path)


def _from_scenes(scenes: Mapping[str, Any], notes: list[str]) -> Read | None:
    """Give pictures until a scene is missing, none without rasterio; note it, once."""
    try:
        from .thumbnails import PatchReader
    except ModuleNotFoundError as error:
        notes.append(f'{error.name} is not installed (pip install {error.name})')
        return None
    read = PatchReader(scenes, north_up=True)

    def call(hit: pd.Series, modality: str) -> NDArray[np.floating] | None:
        if notes:
            return None
        try:
            return read(hit, modality)
        except QueryError as error:
            notes.append(str(error))
            return None

    return call


def _table(
    shown: gpd.GeoDataFrame, read: Read | None, modalities: list[str]
) -> Element:
    """Lay out the hits, one per line."""
    table = Element('table')
    top = SubElement(SubElement(table, 'thead'), 'tr')
    for name in (*_HEAD, *(['pictures'] if read else [])):
        SubElement(top, 'th', scope='col').text = name
    body = SubElement(table, 'tbody')
    drawn = 0
    for i, (_, hit) in enumerate(shown.iterrows()):
        line = SubElement(body, 'tr', id=f'row-{i}')
        for cell in (
            hit['query_id'],
            hit['rank'],
            hit['score'],
            hit['modality'],
            _when(hit),
        ):
            _cell(line, cell)
        if hit['geometry'] is None:
            for _ in range(2):
                _cell(line, None)
        else:
            place = unwrap(hit['geometry']).centroid
            _cell(line, f'{(place.x + 180) % 360 - 180:.5f}', number=True)
            _cell(line, f'{place.y:.5f}', number=True)
            # The map numbers what it shows.
            link = SubElement(line[1], 'a', href=f'#hit-{drawn}')
            line[1].text, link.text = None, str(hit['rank'])
            drawn += 1
        _cell(line, hit['source'])
        if read:
            _pictures(SubElement(line, 'td'), hit, read, modalities)
    return table


def _cell(line: Element, value: Any, *, number: bool = False) -> None:
    number = number or isinstance(value, int | float | np.number)
    cell = SubElement(line, 'td', {'class': 'number'} if number else {})
    if value is None or pd.isna(value):
        return
    cell.text = f'{value:.4f}' if isinstance(value, float) else str(value)


def _when(hit: pd.Series) -> str:
    """Give the acquisition as people read it."""
    start, end = hit['time_start'], hit['time_end']
    moments = [m for m in (start, end) if not pd.isna(m)]
    words = dict.fromkeys(f'{m:%Y-%m-%d %H:%M}' for m in moments)
    return ' to '.join(words)


def _pictures(cell: Element, hit: pd.Series, read: Read, modalities: list[str]) -> None:
    """Show a hit in its own modality, then in the others."""
    hit_modality = hit['modality']
    for modality in dict.fromkeys([hit_modality, *modalities]):
        picture = read(hit, modality) if isinstance(modality, str) else None
        if picture is None:
            continue
        figure = SubElement(cell, 'figure')
        caption = f'rank {hit["rank"]} in {modality}'
        SubElement(figure, 'img', src=_data_uri(picture), alt=caption)
        SubElement(figure, 'figcaption').text = modality


def _data_uri(picture: NDArray[np.floating]) -> str:
    """Give a picture as a PNG inside an address."""
    from matplotlib import image

    pixels = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    png = io.BytesIO()
    image.imsave(png, pixels, format='png')
    return f'data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}'


def _conditions(body: Element, record: Mapping[str, Any]) -> None:
    """Say how the search was made, as far as the record knows."""
    facts = {
        'command': ' '.join(record.get('command') or []),
        'filters': ', '.join(
            f'{k}: {v}' for k, v in (record.get('filters') or {}).items()
        ),
        'options': ', '.join(
            f'{k}: {v}' for k, v in (record.get('options') or {}).items()
        ),
        'archives': ', '.join(
            f'{archive.get("name")} ({archive.get("rows")} rows, SHA-256 {str(archive.get("sha256"))[:12]})'
            for archive in record.get('archives') or []
        ),
        'weights': str(record.get('space') or ''),
        'versions': ', '.join(
            f'{k} {v}' for k, v in (record.get('versions') or {}).items()
        ),
    }
    facts = {name: value for name, value in facts.items() if value}
    if not facts:
        return
    SubElement(body, 'h2').text = 'How it was searched'
    listed = SubElement(body, 'dl')
    for name, value in facts.items():
        SubElement(listed, 'dt').text = name
        SubElement(listed, 'dd').text = value
