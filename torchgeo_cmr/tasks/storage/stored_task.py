"""What a task is apart from its training: what its modalities look like, its space, its files."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lightning
import torch
from torch import Tensor, nn
from torchgeo.tasks import BaseTask

from torchgeo_cmr import __version__
from torchgeo_cmr.drafts import check_new, new_draft
from torchgeo_cmr.errors import ArchiveError, QueryError, RasterError
from torchgeo_cmr.models.pooling import PooledEncoder
from torchgeo_cmr.models.weights import checked_bands
from torchgeo_cmr.tasks.arguments import check_section, plain, read_facts
from torchgeo_cmr.tasks.space import fingerprint, select, uncompiled

from .hub import push_folder, write_folder

__all__ = ('StoredTask',)

#: Key of our section in a Lightning checkpoint.
SECTION = 'torchgeo_cmr'

#: Key of what loading needs in addition: fingerprints, and which encoders were networks.
DETAILS = 'torchgeo_cmr_details'

# Entries of a specification next to mean and std, which are buffers.
_WORDS = ('bands', 'gsd', 'patch_size', 'units', 'nodata')

# Further entries for sound; the specification of a raster lacks them.
_SOUND = ('sample_rate', 'seconds')

# Physical value of one step, per band; absent where it is unknown.
_SCALE = 'scale'


class StoredTask(BaseTask):
    """A task whose file is enough to embed.

    A subclass sets what is declared here before it calls a method.
    """

    in_channels: dict[str, int]
    modalities: tuple[str, ...]
    #: Where a sample holds each modality.
    keys: dict[str, str]
    #: Modalities whose encoder is a network that was given, not the name of one.
    own_encoders: tuple[str, ...]
    #: Bands of initial weights that configure_models took by position, not by name.
    assumed_bands: dict[str, list[str]]
    model: Any
    #: Names and units of each modality.
    _specs: dict[str, dict[str, Any]]
    #: Modalities whose statistics were seen to be known.
    _ready: set[str]
    #: Space that a checkpoint of an earlier version gave to weights of this fingerprint.
    _earlier: tuple[str, str] | None

    # -- statistics and names -------------------------------------------------------------

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        """What each modality looks like, as plain numbers and strings.

        Per modality ``bands``, ``mean`` and ``std`` (empty if unknown), ``gsd`` (metres),
        ``patch_size`` (pixels), ``units`` and ``nodata`` (None if unknown) and ``scale``
        (physical value of one step per band, if known); of sound also ``sample_rate`` and
        ``seconds``. Change it with :meth:`set_specs`.
        """
        specs = {}
        for modality in self.modalities:
            known = self._specs[modality]
            spec: dict[str, Any] = {'bands': list(known.get('bands') or [])}
            for name in ('mean', 'std'):
                values = self._statistic(name, modality)
                spec[name] = [] if values.isnan().any() else values.tolist()
            for name in _WORDS[1:]:
                spec[name] = known.get(name)
            spec |= {name: known[name] for name in (_SCALE, *_SOUND) if name in known}
            specs[modality] = spec
        return specs

    def set_specs(self, specs: Mapping[str, Mapping[str, Any]]) -> None:
        """Set statistics and names, for instance from a data module's ``describe()``.

        Args:
            specs: Per modality any of ``bands``, ``mean``, ``std``, ``gsd``, ``patch_size``,
                ``units``, ``nodata``, ``scale``, ``sample_rate`` and ``seconds``. What is absent
                or None keeps its value; modalities that the task does not have are ignored.

        Raises:
            RasterError: If a list is not as long as the modality has channels, or a number
                is not finite, or a standard deviation is negative, or bands are not those
                for which initial weights were taken.
        """
        for modality in self.modalities:
            spec = specs.get(modality) or {}
            channels = self.in_channels[modality]
            for name in ('bands', 'mean', 'std'):
                values = plain(spec.get(name))
                if values is None:
                    continue
                if not isinstance(values, list) or len(values) != channels:
                    found = len(values) if isinstance(values, list) else repr(values)
                    raise RasterError(
                        f'{modality} has {channels} channels and needs as many {name}, '
                        f'found {found}: check in_channels and the bands of the dataset'
                    )
                if name == 'bands':
                    checked_bands(self.assumed_bands, modality, [*map(str, values)])
                    self._specs[modality]['bands'] = [str(band) for band in values]
                    continue
                numbers = torch.tensor(values, dtype=torch.float32)
                if not numbers.isfinite().all() or (
                    name == 'std' and (numbers < 0).any()
                ):
                    raise RasterError(
                        f'{name} of {modality} must be finite'
                        f'{" and at least 0" if name == "std" else ""}, found {values}'
                    )
                self._statistic(name, modality).copy_(numbers)
            for name in (*_WORDS[1:], _SCALE, *_SOUND):
                if spec.get(name) is not None:
                    self._specs[modality][name] = plain(spec[name])
        self._ready.clear()

    def _statistic(self, name: str, modality: str) -> Tensor:
        return self.get_buffer(f'{name}_{modality}')

    def _no_modality(self, modality: str) -> QueryError:
        return QueryError(
            f'the task has no modality {modality!r}: it knows {", ".join(self.modalities)}'
        )

    # -- checkpoints ----------------------------------------------------------------------

    @property
    def space(self) -> str:
        """Fingerprint of everything that decides where pictures land in the common space.

        SHA-256 over what :meth:`deciding` names of all modalities, statistics, and the choice
        of retrieval features; the same on every device, compiled or not, and after loading.
        What only training needs does not count: classifiers, decoders, the batch counters of
        batch norm. A task from a checkpoint of an earlier version, which counted all weights,
        keeps the space of that checkpoint until its weights change.

        Each call computes it anew, in about a second per gigabyte of weights.

        Returns:
            16 hexadecimal digits.
        """
        current = self._fingerprint(self.state_dict(), self.modalities)
        earlier = self._earlier
        return earlier[1] if earlier and earlier[0] == current else current

    def space_of(self, modality: str) -> str:
        """Fingerprint of what decides where pictures of one modality land.

        Unlike :attr:`space` it does not change with the encoders of other modalities, so it
        tells whether vectors of this modality are those that the task would give now.

        Args:
            modality: Name of a modality.

        Returns:
            16 hexadecimal digits.

        Raises:
            QueryError: If the task has no such modality.
        """
        if modality not in self.in_channels:
            raise self._no_modality(modality)
        return self._fingerprint(self.state_dict(), (modality,))

    def deciding(self, modality: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture of a modality lands.

        A network may have a method ``deciding(modality, features)``, as those of
        :mod:`torchgeo_cmr.models` have; of any other network all weights count. So do weights
        of a task outside its network.

        Args:
            modality: Name of a modality.

        Returns:
            Prefixes of their names in the state dict.
        """
        others = {
            uncompiled(name).partition('.')[0]
            for name, _ in (*self.named_parameters(), *self.named_buffers())
        }
        others -= {f'{n}_{m}' for n in ('mean', 'std') for m in self.modalities}
        deciding = getattr(self.model, 'deciding', None)
        if deciding is None:
            return tuple(others)
        prefixes = deciding(modality, self.hparams['retrieval_features'])
        return (*(f'model.{name}' for name in prefixes), *(others - {'model'}))

    def _choices(self, modality: str) -> tuple[str, ...]:
        """Options that decide where a picture lands and leave no trace in the weights."""
        return ()

    def _fingerprint(self, state: Mapping[str, Any], modalities: Sequence[str]) -> str:
        """Fingerprint of modalities in a state dict of this task."""
        words, names = [self.hparams['retrieval_features']], set()
        for modality in modalities:
            words += self._choices(modality)
            names |= {*self.deciding(modality), f'mean_{modality}', f'std_{modality}'}
        return fingerprint(words, select(state, names))

    def save_encoder(
        self, path: str | os.PathLike[str], modality: str, *, overwrite: bool = False
    ) -> Path:
        """Write the encoder of one modality as a plain state dict in timm's own names.

        ``timm.create_model(model, in_chans=..., num_classes=0).load_state_dict(...)`` takes it
        as it is, with ``strict=False`` where the task has a *stage*, behind which there are no
        weights. Statistics and head are not written. Of a joint model it is the shared trunk,
        which expects the channels of the stem and not the bands: the stem adds a bias before
        the trunk pads with zeros, so the two cannot be folded into one convolution.

        Args:
            path: File to write; it appears only when complete.
            modality: Whose encoder.
            overwrite: Whether to replace an existing file.

        Returns:
            The path.

        Raises:
            OutputExistsError: If the file exists and *overwrite* is off.
            QueryError: If the task has no such modality.
        """
        path = Path(path)
        if modality not in self.in_channels:
            raise self._no_modality(modality)
        check_new(path, overwrite=overwrite)
        encoder = self.model.encoder(modality)
        if isinstance(encoder, PooledEncoder):
            encoder = encoder.network
        state = {uncompiled(k): v for k, v in encoder.state_dict().items()}
        with new_draft(path, overwrite=overwrite) as draft:
            torch.save({k: v.detach().cpu().clone() for k, v in state.items()}, draft)
        return path

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the task as a checkpoint, without a trainer.

        Args:
            path: File to write, ``.ckpt``; it appears only when complete.
            overwrite: Whether to replace an existing file.

        Returns:
            The path; :func:`load_task` and ``--ckpt`` take it.

        Raises:
            OutputExistsError: If the file exists and *overwrite* is off.
        """
        path = Path(path)
        check_new(path, overwrite=overwrite)
        with new_draft(path, overwrite=overwrite) as draft:
            torch.save(self._checkpoint(), draft)
        return path

    def _checkpoint(self) -> dict[str, Any]:
        """Give what a trainer would write."""
        checkpoint = {
            'epoch': 0,
            'global_step': 0,
            'pytorch-lightning_version': lightning.__version__,
            'state_dict': self.state_dict(),
            'hparams_name': 'kwargs',
            'hyper_parameters': dict(self.hparams),
        }
        self.on_save_checkpoint(checkpoint)
        return checkpoint

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        licence: str | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the task as a folder of the Hugging Face Hub.

        ``model.safetensors``, ``config.json`` and a card, ``README.md``, in which a marked blank stands
        for what only you know.

        Args:
            folder: Folder, made if it is missing.
            licence: Licence of the weights as the Hub names it, such as ``'mit'``.
            overwrite: Replace these three files.

        Returns:
            The folder; :func:`load_task` and ``--ckpt`` take it.

        Raises:
            OutputExistsError: If one of the files is there and *overwrite* is off.
            QueryError: If an argument of the task has no form in JSON.
        """
        home = Path(folder)
        write_folder(
            home,
            self._checkpoint(),
            section=SECTION,
            details=DETAILS,
            licence=licence,
            overwrite=overwrite,
        )
        return home

    def push_to_hub(
        self,
        repository: str,
        *,
        licence: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        message: str = 'Encoders for cross-modal retrieval',
    ) -> str:
        """Put the task on the Hugging Face Hub, as :meth:`save_pretrained` writes it.

        Args:
            repository: ``'organisation/name'``, made if it is missing.
            licence: As for :meth:`save_pretrained`.
            private: Whether a new repository is private; None for the usual of the organisation.
            token: Token of the Hub; None for that of ``hf auth login``.
            message: Message of the commit.

        Returns:
            Address of the commit.

        Raises:
            ArchiveError: If the Hub refuses or is not reached.
        """
        with tempfile.TemporaryDirectory() as folder:
            home = self.save_pretrained(folder, licence=licence)
            return push_folder(
                home, repository, private=private, token=token, message=message
            )

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        map_location: str | torch.device = 'cpu',
    ) -> Self:
        """Load a task from a folder or a repository of the Hugging Face Hub.

        Args:
            name: The folder, or ``'organisation/name'``.
            revision: Branch, tag or commit of the repository.
            map_location: Device to load to.

        Returns:
            The task in evaluation mode; as :func:`load_task`, which has more options, gives it.

        Raises:
            ArchiveError: As :func:`load_task`, or if it is not a task of this class.
        """
        from .checkpoint import load_task  # a sibling, which imports this file

        task = load_task(name, revision=revision, map_location=map_location)
        if not isinstance(task, cls):
            raise ArchiveError(
                f'{name} is a {type(task).__name__} and not a {cls.__name__}; load it with load_task'
            )
        return task

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the section that describes this checkpoint.

        Args:
            checkpoint: The checkpoint dictionary before it is written; gains a section
                ``torchgeo_cmr`` of plain types.
        """
        from torchgeo_cmr import tasks  # a sibling; imported late, it imports this file

        name = type(self).__name__
        if getattr(tasks, name, None) is not type(self):
            name = f'{type(self).__module__}.{type(self).__qualname__}'
        checkpoint[SECTION] = {
            'task': name,
            'version': __version__,
            'modalities': list(self.modalities),
            'space': self.space,
            'specs': self.specs,
            'keys': dict(self.keys),
        }
        checkpoint[DETAILS] = {
            'fingerprint': self._fingerprint(self.state_dict(), self.modalities),
            'spaces': {m: self.space_of(m) for m in self.modalities},
            'own_encoders': list(self.own_encoders),
        }
        checkpoint['hyper_parameters'] = plain(
            dict(checkpoint.get('hyper_parameters') or self.hparams)
        )
        weights = checkpoint.get('state_dict') or {}
        checkpoint['state_dict'] = {uncompiled(k): v for k, v in weights.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore names and units; the numbers come with the weights.

        Args:
            checkpoint: The checkpoint dictionary as read.

        Raises:
            ArchiveError: If the checkpoint is of other modalities.
        """
        ours = {uncompiled(name): name for name in self.state_dict()}
        state = {
            ours.get(uncompiled(name), name): value
            for name, value in checkpoint.get('state_dict', {}).items()
        }
        checkpoint['state_dict'] = state
        section = checkpoint.get(SECTION)
        if not section:
            return
        check_section(section, 'the checkpoint')
        if list(section['modalities']) != list(self.modalities):
            raise ArchiveError(
                f'the checkpoint is of the modalities {", ".join(section["modalities"])}, '
                f'found {", ".join(self.modalities)}: set in_channels alike, in this order'
            )
        known = (checkpoint.get(DETAILS) or {}).get('fingerprint')
        known = known or self._fingerprint(state, self.modalities)
        self._earlier = (known, section['space']) if section.get('space') else None
        self.keys = dict(section['keys'])
        self.set_specs(
            {
                m: {
                    name: spec[name]
                    for name in (*_WORDS, _SCALE, *_SOUND)
                    if spec.get(name) not in (None, [])
                }
                for m, spec in section['specs'].items()
                if spec
            }
        )

    # -- what is not a weight, for strategies that return nothing but a state dict ----------

    def _facts(self) -> dict[str, Any]:
        """What this task knows in addition to its weights, JSON-able."""
        return {'specs': self._specs}

    def _take_facts(self, facts: Mapping[str, Any]) -> None:
        self._specs = {m: dict(facts['specs'].get(m) or {}) for m in self.modalities}

    def get_extra_state(self) -> Tensor:
        """Give names and units as bytes, shape (length,), uint8.

        Spawned processes return a state dict and nothing else to the process that started them.
        """
        return torch.frombuffer(
            bytearray(json.dumps(self._facts()).encode()), dtype=torch.uint8
        )

    def set_extra_state(self, state: Tensor | None) -> None:
        """Set names and units from bytes; None keeps them."""
        if state is not None:
            self._take_facts(read_facts(state))


def without_facts(
    module: nn.Module, state: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Accept a state dict without names and units, as earlier versions wrote it."""
    state.setdefault(f'{prefix}_extra_state', None)
