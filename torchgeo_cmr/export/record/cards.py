"""Cards of an archive and of a model: what they hold, for readers of a catalogue, as Markdown.

Sections as data cards and model cards have them. They are written from what archive, checkpoint and report
record; what nobody recorded is a marked blank for the owner to fill in.
"""

import json
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.export.visible_text import visible
from torchgeo_cmr.table import describe
from torchgeo_cmr.table.archive.archive_reader import read_record
from torchgeo_cmr.table.archive.emb_fields import (
    EMB_VERSION,
    collection_fields,
    fact,
    mapping,
)

#: Stands where nothing is recorded.
BLANK = '**[fill in]**'
_LONGEST = 300
#: What Markdown and HTML would not show as it is.
_ESCAPES = str.maketrans(
    {
        '<': '&lt;',
        '>': '&gt;',
        '&': '&amp;',
        **{mark: f'\\{mark}' for mark in '\\`*_[]|#'},
    }
)


def to_data_card(
    archive: str | PathLike[str],
    path: str | PathLike[str],
    *,
    licence: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the data card of an archive.

    Args:
        archive: Archive folder.
        path: File to write, ``.md``.
        licence: Licence of the vectors.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        ArchiveError: If the folder is not an archive or is broken.
        OutputExistsError: If the file is there and ``overwrite`` is False.
    """
    facts = {**describe(archive), 'record': read_record(archive, strict=False)}
    lines = _title(f'Data card: {Path(archive).resolve().name}')
    for title, rows in _data(facts, licence).items():
        lines += _section(title, rows)
    return _write(lines, path, overwrite)


def _data(
    facts: Mapping[str, Any], licence: str | None
) -> dict[str, list[tuple[str, Any]]]:
    """Give the sections of a data card: what each is called, and its facts."""
    record = mapping(facts['record'])
    fields = collection_fields(record, facts['dim'], facts['metric'])
    layout = fields.get('emb:chip_layout', {})
    length = 1 if facts['metric'] == 'cosine' else 'packed bits'
    return {
        'Model': [
            ('model', fact(record, 'model')),
            ('fingerprint of the weights (space)', facts['spaces']),
            ('numbers of a vector', facts['dim']),
            ('compared by', facts['metric']),
            ('software', fact(record, 'versions')),
        ],
        'Source data': [
            ('modalities (rows)', facts['modalities']),
            ('bands', fact(record, 'bands')),
            ('scenes', facts['scenes'] or None),
            ('resampling of coarser bands', fact(record, 'resampling')),
            ('normalisation', fact(record, 'normalisation')),
            ('provider and collection', None),
        ],
        'Extent and dates': [
            ('rows', facts['rows']),
            ('west, south, east, north', facts['bounds']),
            ('CRS of the scenes (rows)', facts['crs']),
            ('first and last acquisition', facts['time']),
            ('rows without a date', facts['undated']),
            ('rows without a place', facts['placeless']),
        ],
        'Grid and stride': [
            ('size in pixels', layout.get('chip_size') or _metres(record)),
            ('step in pixels', layout.get('stride')),
            ('metres of a pixel', fields.get('gsd')),
            ('edges', fact(record, 'edges')),
        ],
        'Which patches have a vector': [
            ('least share of valid pixels', fact(record, 'min_valid')),
            ('most cloud in percent', fact(record, 'max_cloud')),
        ],
        'Precision': [
            ('stored as', fields['data_type']),
            ('computed in', fact(record, 'precision')),
            ('length of a vector', length),
        ],
        'Files': [
            ('format', f'GeoParquet 1.1, archive version {facts["version"]}'),
            ('parts', facts['parts']),
            ('bytes', facts['bytes']),
            ('complete', facts['complete']),
            ('columns of its own', facts['columns']),
            ('metadata', f'STAC extension Embedding {EMB_VERSION}, key emb'),
        ],
        'Licence': [('licence', licence), ('citation', None)],
    }


def _metres(record: Mapping[str, Any]) -> str | None:
    """Say how large patches are that were given in metres."""
    metres = fact(record, 'size_metres')
    return None if metres is None else f'those that are nearest to {metres} m'


def to_model_card(
    model: Mapping[str, Any],
    path: str | PathLike[str],
    *,
    report: str | PathLike[str] | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the model card of a checkpoint.

    Args:
        model: What :func:`~torchgeo_cmr.tasks.describe_checkpoint` says of it.
        path: File to write, ``.md``.
        report: Report of an evaluation as JSON, whose scores the card has.
        licence: Licence of the weights.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If the report is not one.
        OutputExistsError: If the file is there and ``overwrite`` is False.
    """
    lines = [
        *_title(f'Model card: {Path(str(model.get("path", "model"))).name}'),
        *_section(
            'Purpose',
            [
                ('task', model.get('task')),
                ('for', 'retrieval across modalities by the cosine of vectors'),
                ('fingerprint of the weights (space)', model.get('space')),
            ],
        ),
    ]
    for name, spec in mapping(model.get('modalities')).items():
        known = mapping(spec)
        lines += _section(
            f'Input: {name}',
            [
                ('bands, in order', known.get('bands')),
                ('units', known.get('units')),
                ('metres of a pixel', known.get('gsd')),
                ('patch in pixels', known.get('patch_size')),
                ('mean', known.get('mean')),
                ('standard deviation', known.get('std')),
            ],
        )
    lines += [
        *_section('Training', [('places', None), ('dates', None), ('labels', None)]),
        *_section(
            'Method',
            [
                ('class', model.get('task')),
                ('epoch', model.get('epoch')),
                ('steps', model.get('step')),
                ('parameters', model.get('parameters')),
                ('bytes', model.get('bytes')),
                ('torchgeo_cmr', model.get('version')),
                ('losses', None),
            ],
        ),
        *_evaluation(report),
        *_section('Intended use', [('intended', None), ('not intended', None)]),
        *_section('Limits', [('known limits', None)]),
        *_section('Licence', [('licence', licence), ('citation', None)]),
    ]
    return _write(lines, path, overwrite)


def _evaluation(report: str | PathLike[str] | None) -> list[str]:
    """Give the scores of a report, with its protocol."""
    if report is None:
        return _section('Evaluation', [('protocol', None), ('scores', None)])
    try:
        found = json.loads(Path(report).read_bytes())
        protocol, directions = mapping(found['protocol']), found['directions']
        rows = [
            (name, measure, score['value'], score['chance'])
            for name, direction in directions.items()
            for measure, score in direction['scores'].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise QueryError(
            f'{report} is not a report of an evaluation ({error}); give what evaluate --out wrote as '
            'JSON'
        ) from error
    lines = _section(
        'Evaluation',
        [
            ('relevant', found.get('relevance')),
            ('protocol', protocol.get('name')),
            ('source of the protocol', protocol.get('source')),
            ('seed', found.get('seed')),
        ],
    )
    lines += ['| direction | measure | value | chance |', '|---|---|---:|---:|']
    lines += [f'| {" | ".join(map(_cell, row))} |' for row in rows]
    return [*lines, '']


def _title(words: str) -> list[str]:
    return [
        f'# {_cell(words)}',
        '',
        f'Written by torchgeo_cmr from what is recorded; {BLANK} marks what is not.',
        '',
    ]


def _section(title: str, rows: Iterable[tuple[str, Any]]) -> list[str]:
    lines = [f'## {_cell(title)}', '', '| | |', '|---|---|']
    lines += [
        f'| {name} | {BLANK if value in (None, [], {}, "") else _cell(value)} |'
        for name, value in rows
    ]
    return [*lines, '']


def _cell(value: Any) -> str:
    """Write a value as the text of a cell, nothing in it as Markdown or HTML."""
    if isinstance(value, bool):
        words = 'yes' if value else 'no'
    elif isinstance(value, float):
        words = f'{value:.6g}'
    elif isinstance(value, Mapping):
        words = '; '.join(f'{name}: {_plain(item)}' for name, item in value.items())
    elif isinstance(value, list | tuple):
        words = ', '.join(map(_plain, value))
    else:
        words = str(value)
    words = ' '.join(visible(words).split())
    words = words if len(words) <= _LONGEST else f'{words[:_LONGEST]} ...'
    return words.translate(_ESCAPES)


def _plain(value: Any) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _write(lines: list[str], path: str | PathLike[str], overwrite: bool) -> Path:
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_text('\n'.join(lines).rstrip() + '\n', encoding='utf-8')
    return Path(path)
