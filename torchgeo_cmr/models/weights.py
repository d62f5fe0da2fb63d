"""Weights from elsewhere: where they are, and which bands their first convolution knows."""

import logging
import os
import re
import socket
import urllib.request
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
import torchgeo.models
from torch import Tensor
from torchgeo.models import get_weight
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import RasterError, check_choice
from torchgeo_cmr.typed_json import convert

from .plain_tensors import checked_load, plain_tensors

__all__ = (
    'Channels',
    'EncoderWeights',
    'FoundWeights',
    'NewBands',
    'announce_weights',
    'band_key',
    'check_model',
    'checked_bands',
    'find_weights',
    'load_file',
    'match_bands',
    'read_weights',
    'select_bands',
)

#: What may initialise an encoder: a TorchGeo weight enum or its name, the path of a state dict
#: or checkpoint, True for timm's own (ImageNet) weights, None or False for none.
EncoderWeights = WeightsEnum | str | Path | bool | None

NewBands = Literal['error', 'mean']

#: Where a band is in the weights: a channel, several that see one band, None for the mean of all.
type Channels = int | tuple[int, ...] | None

_LOG = logging.getLogger(__name__)
#: Seconds to wait for a host that may hold weights.
_SECONDS = 5

# section of our checkpoints that names the bands of each modality
_SECTION = 'torchgeo_cmr'


class _Bands(TypedDict):
    bands: NotRequired[list[str] | None]


class _Section(TypedDict):
    specs: NotRequired[dict[str, _Bands | None] | None]


@dataclass(frozen=True)
class FoundWeights:
    """Where weights are and what is known of them before they are read."""

    #: For messages.
    source: str
    #: Path of a file, or the enum that fetches one.
    origin: str | WeightsEnum
    #: Model of TorchGeo that takes them, if it is known.
    model: str | None = None
    #: Bands of the first convolution in order, if they are known.
    bands: list[str] | None = None
    #: Channels of the first convolution, if they are known.
    channels: int | None = None
    #: What TorchGeo knows of them; None of other files.
    enum: WeightsEnum | None = None


def band_key(band: str) -> str:
    """Normalise the name of a band: B2 and B02, B8a and B8A are the same.

    Args:
        band: Name of a band.

    Returns:
        The name in capitals, without zeros between ``B`` and its number.
    """
    return re.sub(r'^B0+(?=\d)', 'B', band.strip().upper())


def find_weights(weights: WeightsEnum | str | Path, who: str = '') -> FoundWeights:
    """Find out what is meant, and what TorchGeo knows of it; nothing is read yet.

    A file that TorchGeo has downloaded is recognised by its name.

    Args:
        weights: TorchGeo weight enum, its name, or the path of a file.
        who: For messages, such as ``' for s1'``.

    Returns:
        What is known.

    Raises:
        ValueError: If it is neither a file nor the name of TorchGeo weights.
    """
    path = None if isinstance(weights, WeightsEnum) else os.path.expanduser(weights)
    if path is not None and os.path.isfile(path):
        source, origin = f'the file {path}', path
        enum = _published_as(os.path.basename(path))
    else:
        try:
            enum = (
                weights
                if isinstance(weights, WeightsEnum)
                else get_weight(str(weights))
            )
        except ValueError as error:
            raise ValueError(
                f'weights {str(weights)!r}{who} are neither a file nor the name of TorchGeo '
                "weights such as 'ResNet50_Weights.SENTINEL1_ALL_MOCO'"
            ) from error
        source, origin = str(enum), enum
    if enum is None:
        return FoundWeights(source, origin)
    bands = [str(band) for band in enum.meta.get('bands') or ()] or None
    return FoundWeights(
        source,
        origin,
        _model_of(enum),
        bands,
        enum.meta.get('in_chans') or (len(bands) if bands else None),
        enum,
    )


def check_model(found: FoundWeights, model: str, who: str = '') -> None:
    """Refuse weights that were made for another model, before anything is read or fetched.

    Args:
        found: What :func:`find_weights` gave.
        model: Name of the model.
        who: For messages, such as ``' for s1'``.

    Raises:
        ValueError: If another model of TorchGeo takes them.
    """
    # Sizes of OlmoEarth are models of ours, and one of TorchGeo.
    if found.model is not None and not f'{model}_'.startswith(f'{found.model}_'):
        raise ValueError(
            f'{found.source} were made for {found.model}, found model={model!r}{who}: set '
            f'model={found.model!r} or other weights'
        )


def announce_weights(model: str, who: str = '') -> None:
    """Say what timm is about to fetch, and from where, unless it is in the cache.

    Args:
        model: Name of a timm network.
        who: For messages, such as ``' for s1'``.

    Raises:
        ValueError: If the host cannot be reached; nobody waits for timm to give up.
    """
    source = timm.get_pretrained_cfg(model)
    repository = getattr(source, 'hf_hub_id', None)
    if not repository or _is_cached(repository):
        return
    endpoint = huggingface_hub.constants.ENDPOINT
    address = urlsplit(endpoint)
    place = address.hostname or '', address.port or 443
    try:
        # Whether a proxy reaches it, only that knows.
        if not urllib.request.getproxies().get(address.scheme):
            socket.create_connection(place, timeout=_SECONDS).close()
    except OSError as error:
        raise ValueError(
            f'weights=True{who} would fetch {repository} from {endpoint}, which cannot be reached '
            f'({error}): give the path of a file with weights, or none'
        ) from None
    _LOG.info('fetching the weights %s%s from %s', repository, who, endpoint)


def _is_cached(repository: str) -> bool:
    files = 'model.safetensors', 'pytorch_model.bin'
    cached = map(partial(huggingface_hub.try_to_load_from_cache, repository), files)
    return any(isinstance(path, str) for path in cached)


def read_weights(found: FoundWeights, modality: str) -> tuple[dict[str, Any], Any]:
    """Read the tensors, with ``weights_only=True``.

    Args:
        found: What :func:`find_weights` gave.
        modality: Which modality of a checkpoint of ours to look at.

    Returns:
        State dict, and the bands of its first convolution or None.

    Raises:
        ValueError: If a file holds no weights that can be read safely.
    """
    if isinstance(found.origin, WeightsEnum):
        state = found.origin.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
        return dict(state), found.bands
    path = found.origin
    content = load_file(path)
    bands = found.bands
    if isinstance(content, dict) and isinstance(content.get(_SECTION), dict):
        cure = 'name other weights'
        section = convert(content[_SECTION], _Section, path, cure, ValueError)
        bands = ((section.get('specs') or {}).get(modality) or {}).get('bands') or bands
    tensors = plain_tensors(content, path)
    # torch.compile prefixes the weights of what it wraps
    return {k.replace('_orig_mod.', ''): v for k, v in tensors.items()}, bands


def load_file(path: str | Path) -> Any:
    """Load a file of weights to the CPU, with ``weights_only=True``.

    Args:
        path: The file.

    Raises:
        ValueError: If it cannot be read safely.
    """
    cure = 'download it again, or save its state dict with torch.save'
    if str(path).endswith('.safetensors'):
        raise ValueError(f'{path} is in the format of safetensors: {cure}')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch warns of what it refuses next
            return checked_load(path, map_location='cpu')
    except Exception as error:
        raise ValueError(
            f'{path} holds no weights that can be read safely (weights_only=True): '
            f'{type(error).__name__}; {cure}'
        ) from error


def match_bands(
    have: Sequence[str] | None,
    have_channels: int,
    want: Sequence[str] | None,
    channels: int,
    *,
    new_bands: NewBands = 'error',
    source: str = 'the weights',
    who: str = '',
) -> list[Channels]:
    """Find the channel of the weights for each channel of the data.

    With names on both sides names decide, never positions. Where a side has no names, equal
    numbers of channels are taken in order. A band that the weights have twice, as those for
    pictures of two dates do, stands for both.

    Args:
        have: Bands of the weights, in order, if they are known.
        have_channels: Channels of the weights.
        want: Bands of the images, in order, if they are known.
        channels: Channels of the images.
        new_bands: What to do with a band that the weights do not have: ``'error'``, or
            ``'mean'`` for the mean over the bands they have.
        source: For messages.
        who: For messages, such as ``' for s1'``.

    Returns:
        A position in the weights for each channel, or several; None for their mean.

    Raises:
        RasterError: If a band has no weight, or numbers of unnamed channels differ.
        ValueError: If *new_bands* is unknown.
    """
    check_choice('new_bands', new_bands, NewBands)
    if have and want and len(have) == have_channels:
        theirs, ours = ([band_key(band) for band in bands] for bands in (have, want))
        if theirs == ours:
            return list(range(channels))
        positions: dict[str, list[int]] = {}
        for i, key in enumerate(theirs):
            positions.setdefault(key, []).append(i)
        missing = [band for band in want if band_key(band) not in positions]
        if missing and new_bands == 'error':
            raise RasterError(
                f'{source} have no weights for the bands {", ".join(missing)}{who}, they know '
                f"{', '.join(have)}: select bands that they know, or say new_bands='mean'"
            )
        found = (positions.get(key) for key in ours)
        return [
            None if each is None else each[0] if len(each) == 1 else tuple(each)
            for each in found
        ]
    if have_channels == channels:
        return list(range(channels))
    if new_bands == 'mean':
        return [None] * channels
    named = f' ({", ".join(have)})' if have else ''
    raise RasterError(
        f'{source} were made for {have_channels} channels{named}, found {channels}{who}: '
        "name your bands with bands=, take other weights, or say new_bands='mean'"
    )


def select_bands(kernel: Tensor, order: Sequence[Channels]) -> Tensor:
    """Cut a first convolution to the channels of the data.

    Args:
        kernel: Weights, shape (out, channels, height, width).
        order: What :func:`match_bands` gave.

    Returns:
        Weights, shape (out, ``len(order)``, height, width); None stands for the mean over
        *channels*, and several channels for their sum: what they make of one band. Nothing is
        rescaled.
    """

    def chosen(channels: Channels) -> Tensor:
        if channels is None:
            return kernel.mean(dim=1)
        if isinstance(channels, tuple):
            return kernel[:, channels].sum(dim=1)
        return kernel[:, channels]

    return torch.stack([chosen(channels) for channels in order], dim=1)


def checked_bands(
    assumed: Mapping[str, Sequence[str]], modality: str, bands: Sequence[str]
) -> None:
    """Refuse bands that came to be known after weights were taken in another order.

    Args:
        assumed: Modality -> bands that its weights were matched to, by position.
        modality: Whose bands became known.
        bands: Those bands.

    Raises:
        RasterError: If the two differ.
    """
    taken = assumed.get(modality)
    if taken and [*map(band_key, taken)] != [*map(band_key, bands)]:
        raise RasterError(
            f'the weights of {modality} were taken in the order {", ".join(taken)}, but the '
            f'data holds {", ".join(bands)}: pass bands= to the task, and weights are chosen '
            'by name'
        )


def _published_as(name: str) -> WeightsEnum | None:
    """Find the TorchGeo weights whose download has this file name; None if there are none."""
    for thing in vars(torchgeo.models).values():
        if isinstance(thing, type) and issubclass(thing, WeightsEnum):
            for enum in thing:
                url = getattr(enum, 'url', None)
                if isinstance(url, str) and url.rsplit('/', 1)[-1] == name:
                    return enum
    return None


def _model_of(weights: WeightsEnum) -> str | None:
    """Find the model of TorchGeo that takes weights of this kind."""
    for name in torchgeo.models.list_models():
        with suppress(KeyError):  # some models have no weights
            if torchgeo.models.get_model_weights(name) is type(weights):
                return name
    return None
