"""A task as a folder of the Hugging Face Hub: weights as safetensors, the rest as JSON, and a card.

``model.safetensors`` holds what ``state_dict`` of a checkpoint does, ``config.json`` the rest of it and the
digest of the weights. A folder and a repository of the Hub are the same three files.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from huggingface_hub import HfApi, ModelCardData, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from torchgeo_cmr.drafts import Draft, drafting, publish
from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.regular_files import is_on_hub
from torchgeo_cmr.tasks.arguments import check_section
from torchgeo_cmr.typed_json import read_json

__all__ = ('located', 'push_folder', 'read_folder', 'write_folder')

CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'
_FORMAT = 1
_CURE = 'save it again with save_pretrained'
_BLANK = '**[fill in]**'
_TAGS = ('earth-observation', 'cross-modal-retrieval', 'torchgeo')


class _Config(TypedDict):
    """What ``config.json`` holds."""

    format: int
    torchgeo_cmr: dict[str, Any]
    torchgeo_cmr_details: NotRequired[dict[str, Any] | None]
    hyper_parameters: dict[str, Any]
    sha256: str
    #: Names of weights that several layers share, and the name that they are stored under.
    shared: dict[str, str]


class _Foreign(TypedDict, total=False):
    """What tells a configuration of ours from those of other libraries."""

    torchgeo_cmr: Any
    library_name: Any
    architectures: Any


def write_folder(
    folder: Path,
    checkpoint: Mapping[str, Any],
    *,
    section: str,
    details: str,
    licence: str | None,
    overwrite: bool,
) -> None:
    """Write a checkpoint as a folder; the configuration appears last.

    Args:
        folder: The folder, made if it is missing; other files in it stay.
        checkpoint: What a checkpoint file holds.
        section: Key of the section that describes it.
        details: Key of what loading needs in addition.
        licence: Licence of the weights, for the card.
        overwrite: Replace the three files.

    Raises:
        OutputExistsError: If one of them is there and ``overwrite`` is False.
        QueryError: If an argument of the task has no form in JSON.
    """
    kept, shared = _unshared(checkpoint['state_dict'])
    facts = checkpoint[section]
    files: list[Draft] = []
    with (
        drafting(folder / WEIGHTS, overwrite=overwrite) as weights,
        drafting(folder / CARD, overwrite=overwrite) as card,
        drafting(folder / CONFIG, overwrite=overwrite) as config,
    ):
        # Not save_file, whose own temporary file nobody removes if the process is killed.
        stored = save(kept, metadata={'format': 'pt'})
        weights.path.write_bytes(stored)
        digest = hashlib.sha256(stored).hexdigest()
        content = {
            'format': _FORMAT,
            'library_name': 'torchgeo_cmr',
            section: facts,
            details: checkpoint[details],
            'hyper_parameters': checkpoint['hyper_parameters'],
            'sha256': digest,
            'shared': shared,
        }
        try:
            text = json.dumps(content, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise QueryError(
                f'an argument of this task has no form in JSON ({error}); use plain values'
            ) from error
        config.path.write_text(text + '\n')
        card.path.write_text(_card(facts, licence))
        files = [weights, card, config]
    publish(files)


def read_folder(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a folder as :func:`~torchgeo_cmr.tasks.storage.checkpoint.read_checkpoint` reads a file.

    Args:
        folder: What :func:`write_folder` wrote.

    Returns:
        The checkpoint, and our section of it.

    Raises:
        ArchiveError: If a file is missing, damaged, or not ours.
    """
    home = Path(folder)
    if not (home / CONFIG).is_file():
        raise ArchiveError(
            f'{home} holds no {CONFIG}: name a checkpoint, or a folder that save_pretrained wrote'
        )
    _check_library(home / CONFIG)
    config: Any = read_json(home / CONFIG, _Config, _CURE)
    if config['format'] > _FORMAT:
        raise ArchiveError(
            f'{home} is of format {config["format"]}, this version reads {_FORMAT}; update torchgeo_cmr'
        )
    section = config['torchgeo_cmr']
    check_section(section, str(home / CONFIG))
    state = _weights(home / WEIGHTS, config['sha256'])
    for name, stored in config['shared'].items():
        if stored not in state:
            raise ArchiveError(
                f'{home / CONFIG} names weights {stored!r:.80} that are not there; {_CURE}'
            )
        state[name] = state[stored]
    checkpoint = {
        'state_dict': state,
        'hyper_parameters': config['hyper_parameters'],
        'torchgeo_cmr': section,
        'torchgeo_cmr_details': config.get('torchgeo_cmr_details'),
    }
    return checkpoint, section


def _check_library(config: Path) -> None:
    """Refuse a model of another library, which has a file of the same name."""
    found = read_json(config, _Foreign, _CURE)
    if 'torchgeo_cmr' not in found:
        words = found.get('library_name') or found.get('architectures')
        what = f' ({_words(words)[:80]})' if words else ''
        raise ArchiveError(
            f'{config} is of another library{what}: name a folder that save_pretrained of '
            'torchgeo_cmr wrote'
        )


def located(name: str | os.PathLike[str], revision: str | None = None) -> str:
    """Give the path of a checkpoint, or of a folder of the Hub, which is fetched.

    Args:
        name: A path, or ``'organisation/name'`` where no such path is there.
        revision: Branch, tag or commit of the repository.

    Raises:
        ArchiveError: If the Hub has no such repository, or is not reached.
    """
    if not is_on_hub(name):
        return os.fspath(name)
    try:
        return snapshot_download(
            os.fspath(name), revision=revision, allow_patterns=[CONFIG, WEIGHTS, CARD]
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArchiveError(
            f'there is no file or folder {name} here, and the Hub does not give it '
            f'({reason[0]:.200}); check the name and the network'
        ) from error


def push_folder(
    folder: Path,
    repository: str,
    *,
    private: bool | None,
    token: str | None,
    message: str,
) -> str:
    """Upload the three files in one commit.

    Args:
        folder: What :func:`write_folder` wrote.
        repository: ``'organisation/name'``, made if it is missing.
        private: Whether a new repository is private; None for the usual of the organisation.
        token: Token of the Hub; None for that of ``hf auth login``.
        message: Message of the commit.

    Returns:
        Address of the commit.

    Raises:
        ArchiveError: If the Hub refuses or is not reached.
    """
    try:
        hub = HfApi(token=token)
        repository = hub.create_repo(repository, private=private, exist_ok=True).repo_id
        done = hub.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArchiveError(
            f'{repository} was not pushed ({reason[0]:.200}); check the name, the token and the network'
        ) from error
    return str(done)


def _unshared(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Give weights, each once, and the names of layers that share them."""
    kept: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for name, weights in state.items():
        place = (weights.data_ptr(), weights.shape, weights.dtype)
        first = seen.setdefault(place, name) if weights.numel() else name
        if first != name:
            shared[name] = first
        else:
            kept[name] = weights.detach().cpu().contiguous().clone()
    return kept, shared


def _weights(file: Path, digest: str) -> dict[str, Tensor]:
    """Read weights whose digest is known."""
    if not file.is_file():
        raise ArchiveError(f'there is no {file}; {_CURE}')
    with file.open('rb') as content:
        found = hashlib.file_digest(content, 'sha256').hexdigest()
    if found != digest:
        raise ArchiveError(f'{file} is damaged, or not that of its {CONFIG}; {_CURE}')
    try:
        return load_file(file)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ArchiveError(f'{file} cannot be read ({error}); {_CURE}') from error


def _card(facts: Mapping[str, Any], licence: str | None) -> str:
    """Write the card: what is known, and a marked blank for what is not."""
    data = ModelCardData(library_name='torchgeo_cmr', tags=list(_TAGS), license=licence)
    rows = [
        ('task', facts['task']),
        ('torchgeo_cmr', facts['version']),
        ('space (fingerprint)', facts['space']),
        ('training data, places and dates', _BLANK),
        ('evaluation, with its protocol', _BLANK),
        ('intended use and limits', _BLANK),
        ('licence', licence or _BLANK),
        ('citation', _BLANK),
    ]
    lines = ['| | |', '|---|---|', *(f'| {name} | {value} |' for name, value in rows)]
    inputs = [
        '| Sensor | Bands | Units | Metres of a pixel | Patch |',
        '|---|---|---|---|---|',
    ]
    for modality, spec in facts['specs'].items():
        known = spec or {}
        words = [known.get(n) for n in ('bands', 'units', 'gsd', 'patch_size')]
        cells = [_BLANK if w in (None, []) else _words(w) for w in words]
        inputs.append(f'| {modality} | {" | ".join(cells)} |')
    return '\n'.join(
        [
            '---',
            data.to_yaml(),
            '---',
            '',
            '# Encoders for cross-modal retrieval',
            '',
            *lines,
            '',
            'Pixels are those of the files; statistics are in the weights.',
            '',
            *inputs,
            '',
            '```python',
            'from torchgeo_cmr.tasks import load_task',
            '',
            "task = load_task('organisation/name')  # or this folder",
            '```',
            '',
        ]
    )


def _words(value: Any) -> str:
    items = value if isinstance(value, list) else [value]
    return ', '.join(str(item).replace('|', '\\|') for item in items)
