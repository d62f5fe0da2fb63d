"""Models that are named in words, such as ``presto:presto.pt``, and the bands that they see."""

import re
from collections.abc import Mapping, Sequence

import torch

from torchgeo_cmr.errors import CMRError, QueryError, RasterError
from torchgeo_cmr.models.foundation.spectrum import SENTINEL2
from torchgeo_cmr.models.torchgeo_network import check_pictures
from torchgeo_cmr.models.weights import find_weights
from torchgeo_cmr.tasks.frozen.pretrained import Pretrained
from torchgeo_cmr.tasks.networks import Normalize

__all__ = ('read_model', 'read_models', 'usual_bands')


def read_model(
    words: str,
    modality: str,
    bands: Sequence[str] | None,
    normalize: Normalize = 'weights',
) -> Pretrained:
    """Build what ``--model`` names.

    Args:
        words: ``MODEL`` or ``MODEL:WEIGHTS``, the latter a name of TorchGeo or a file.
        modality: Which modality is embedded.
        bands: Names of its bands; None for those of the weights, or of Sentinel-1 or
            Sentinel-2 for modalities called s1 and s2.
        normalize: By whose statistics.

    Raises:
        QueryError: If there is no such model, or the weights are of another or not there.
        RasterError: If the bands are not known.
    """
    return read_models(words, {modality: bands}, normalize)


def read_models(
    words: str,
    bands: Mapping[str, Sequence[str] | None],
    normalize: Normalize = 'weights',
) -> Pretrained:
    """Build what ``--model`` names, for one modality or several.

    Args:
        words: As in :func:`read_model`.
        bands: Modality -> names of its bands; None as in :func:`read_model`.
        normalize: By whose statistics.

    Raises:
        QueryError: If there is no such model, or the weights are of another or not there.
        RasterError: If the bands are not known.
    """
    model, colon, weights = words.partition(':')
    if colon and not weights:
        raise QueryError(
            f'model {words} names no weights behind its colon: name them, or drop the colon for '
            'random ones'
        )
    names = {}
    try:
        if re.fullmatch(r'\w+_Weights\.\w+', model):
            made_for = find_weights(model).model
            raise QueryError(
                f'{model} are weights: name their model too, as {made_for}:{model}'
            )
        check_pictures(model)
        for modality, given in bands.items():
            names[modality] = [*(given or _bands_of(model, weights, modality))]
        # Random weights are the same in every run, which may so complete what another began.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Pretrained(
                {modality: len(each) for modality, each in names.items()},
                model,
                weights or None,
                bands=names,
                normalize=normalize,
            )
    except CMRError:
        raise
    except ValueError as error:  # an unknown model, weights of another
        raise QueryError(f'model {words}: {error}') from error


def _bands_of(model: str, weights: str, modality: str) -> list[str]:
    """Give the bands of weights, each once, or those that a model usually sees."""
    found = find_weights(weights, f' for {modality}') if weights else None
    if found is not None and found.bands:
        return list(dict.fromkeys(found.bands))
    if found is not None and found.channels == 3:  # photographs
        return ['B04', 'B03', 'B02'] if modality.startswith('s2') else ['R', 'G', 'B']
    return usual_bands(model, modality)


def usual_bands(model: str, modality: str) -> list[str]:
    """Give the bands of a sensor that a model knows.

    Raises:
        RasterError: If the sensor is not known.
    """
    if modality.startswith('s1'):
        return ['VV', 'VH']
    if modality.startswith('s2'):
        without = {'B10', 'B1', 'B9'} if model == 'presto' else {'B10'}
        return [f'B{b[1:]:0>2}' for b in SENTINEL2 if b not in without]
    raise RasterError(
        f'which bands does {modality} have? Name them with --bands, such as --bands B02,B03,B04'
    )
