"""What an archive says of itself in the words of the community: fields of STAC's extension Embedding.

Version 0.0.1, a proposal (https://github.com/geo-embeddings/embeddings-stac-specification, read in
November 2026), of which every field that an archive knows is written; our own record stands next to it.
What an archive does not know is left out: the time of the inference, its energy, the processing
baseline of the scenes.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

#: Version of the extension that is written, and its identifier.
EMB_VERSION = '0.0.1'
EMB_SCHEMA = f'https://stac-extensions.github.io/embeddings/v{EMB_VERSION}/schema.json'
#: Key of the JSON in the metadata of a part.
EMB_KEY = b'emb'

#: Settings of a run that decide about its vectors.
_SETTINGS = (
    'bands',
    'size',
    'size_metres',
    'stride',
    'edges',
    'min_valid',
    'max_cloud',
    'batch_size',
    'precision',
    'flips',
)


def fact(record: Mapping[str, Any], name: str) -> Any:
    """Give a fact of a record, None if it is unknown or the archives that were merged disagree."""
    if name in record:
        return record[name]
    parts = record.get('merged_from')
    merged = (
        [mapping(part).get(name) for part in parts] if isinstance(parts, list) else []
    )
    agreed = merged and all(value == merged[0] for value in merged)
    return merged[0] if agreed else None


def mapping(value: Any) -> Mapping[str, Any]:
    """Give a value of a record that should be an object; an empty one if it is not."""
    return value if isinstance(value, Mapping) else {}


def collection_fields(
    record: Mapping[str, Any], dim: int, metric: str
) -> dict[str, Any]:
    """Give the fields that all vectors of an archive share.

    Args:
        record: Record of the archive or of a part.
        dim: Numbers of a vector; of packed codes, bits.
        metric: How vectors are compared.

    Returns:
        ``emb:type``, ``emb:dimensions``, ``data_type``, ``emb:fit_for_use`` and, where they are known,
        ``gsd`` (metres of a pixel of the source, in which ``emb:chip_layout`` counts) and
        ``emb:chip_layout``.
    """
    pixels = mapping(fact(record, 'pixels'))
    size = pixels.get('size') or fact(record, 'size')
    stride = pixels.get('stride') or fact(record, 'stride') or size
    fields: dict[str, Any] = {
        'emb:type': 'pixel' if pixels.get('size') == 1 else 'chip',
        'emb:dimensions': dim,
        'data_type': 'uint8' if metric == 'hamming' else 'float32',
        'emb:fit_for_use': ['retrieval'],
    }
    gsd = pixels.get('gsd') or _gsd(mapping(record.get('sources')))
    if gsd is not None:
        fields['gsd'] = gsd
    if (
        isinstance(size, int)
        and isinstance(stride, int)
        and fields['emb:type'] == 'chip'
    ):
        fields['emb:chip_layout'] = {
            'layout_type': 'regular_grid',
            'chip_size': [size, size],
            'stride': [stride, stride],
        }
    elif fact(record, 'size_metres') is not None:
        fields['emb:chip_layout'] = {'layout_type': 'variable_grid'}
    return fields


def run_fields(record: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Give the fields that say how vectors were made.

    Args:
        record: Record of the archive or of a part.
        metric: How vectors are compared.

    Returns:
        ``emb:runtime_parameters``, ``emb:preprocessing``, ``emb:postprocessing``,
        ``emb:quantization`` and ``processing:software``, as far as they are known.
    """
    fields: dict[str, Any] = {}
    known = mapping(fact(record, 'pixels')) or {
        name: fact(record, name) for name in _SETTINGS
    }
    settings = {name: value for name, value in known.items() if value is not None}
    if settings:
        fields['emb:runtime_parameters'] = settings
    before = {name: fact(record, name) for name in ('normalisation', 'resampling')}
    if any(before.values()):
        fields['emb:preprocessing'] = {
            'format': 'torchgeo_cmr',
            'expression': {name: value for name, value in before.items() if value},
        }
    if metric == 'hamming':
        fields['emb:postprocessing'] = {
            'format': 'text',
            'expression': 'sign, packbits',
        }
        fields['emb:quantization'] = {
            'method': 'binary',
            'original_dtype': 'float32',
            'quantized_dtype': 'uint8',
        }
    else:
        fields['emb:postprocessing'] = {'format': 'text', 'expression': 'l2_normalize'}
    versions = mapping(fact(record, 'versions'))
    if versions:
        fields['processing:software'] = versions
    return fields


def footer(
    record: Mapping[str, Any], dim: int, metric: str, spaces: Iterable[str]
) -> bytes:
    """Give the JSON of a part.

    Args:
        record: Record of the part.
        dim: Numbers of a vector; of packed codes, bits.
        metric: How vectors are compared.
        spaces: Fingerprints of the weights of its rows.
    """
    model = {'name': fact(record, 'model'), 'space': sorted(spaces) or None}
    found = {
        'version': EMB_VERSION,
        'schema': EMB_SCHEMA,
        **collection_fields(record, dim, metric),
        **run_fields(record, metric),
        'model': {name: value for name, value in model.items() if value},
    }
    return json.dumps(found, sort_keys=True).encode()


def _gsd(sources: Mapping[str, Any]) -> float | None:
    """Give metres of a pixel of the finest band, if all scenes share it."""
    found = set()
    for bands in sources.values():
        try:
            found.add(min(float(band[3]) for band in bands))
        except (IndexError, TypeError, ValueError):
            return None
    (gsd,) = found if len(found) == 1 else (None,)
    return gsd if gsd and gsd > 0 else None
