"""Encoders as others trained them: nothing to train, ready to embed."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from torchgeo_cmr.errors import OptionError, RasterError, check_choice
from torchgeo_cmr.models import CrossModalEncoder, build_encoder
from torchgeo_cmr.models.foundation.adapter import resampled
from torchgeo_cmr.models.foundation.adapters import ADAPTERS, adapter_of
from torchgeo_cmr.models.foundation.band_statistics import (
    for_bands,
    image_size,
    of_sensor,
)
from torchgeo_cmr.models.foundation.pixel_steps import pixel_steps
from torchgeo_cmr.models.foundation.spectrum import SENTINEL2, is_radar
from torchgeo_cmr.models.weights import (
    FoundWeights,
    band_key,
    check_model,
    find_weights,
)
from torchgeo_cmr.tasks.base import CrossModalTask
from torchgeo_cmr.tasks.networks import Models, Normalize, Weights, each_model
from torchgeo_cmr.tasks.space import fingerprint, uncompiled

__all__ = ('Pretrained',)

#: Patch width in pixels where neither model nor weights have one of their own: that of
#: BigEarthNet.
_PATCH = 120


class Pretrained(CrossModalTask):
    """Frozen encoders that embed without training.

    A model is one of TorchGeo's foundation models (CROMA, DOFA, Panopticon, Copernicus-FM,
    Presto), whose bands, width and normalisation are known; any timm or TorchGeo model with
    weights, normalised as their authors did; or a network of your own. Encoders of several
    modalities by one foundation model share it, and their vectors one ``space``, also those of
    tasks that have one of the modalities each.

    How well the vectors of two sensors compare depends on the model: CROMA and CLOSP were
    contrasted behind projections that are not published, and DOFA, Copernicus-FM and Presto were
    never asked to bring two sensors together.

    Relations: :class:`SSCMRSIR` and others train encoders on pairs; a task of this kind has no
    losses.

    Examples:
        >>> import torch
        >>> task = Pretrained({'s1': 2}, 'presto', bands={'s1': ['VV', 'VH']})
        >>> task.embed({'image_s1': torch.full((3, 2, 64, 64), -12.0)}, 's1').shape
        torch.Size([3, 128])
        >>> optical = Pretrained({'s2': 3}, 'presto', bands={'s2': ['B2', 'B3', 'B4']})
        >>> optical.load_encoders(task)  # the same weights
        >>> optical.space == task.space
        True
    """

    least_modalities = 1

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models,
        weights: Weights = None,
        *,
        bands: dict[str, list[str]] | None = None,
        mean: dict[str, list[float]] | None = None,
        std: dict[str, list[float]] | None = None,
        input_size: dict[str, int | None] | None = None,
        normalize: Normalize = 'weights',
        keys: dict[str, str] | None = None,
    ) -> None:
        """Initialize a new Pretrained instance.

        Args:
            in_channels: Number of channels of each modality, one or more.
            model: Name of a foundation model of TorchGeo (``'panopticon_vitb14'``,
                ``'croma_base'``, ``'dofa_base_patch16_224'``, ``'copernicusfm_base'``,
                ``'presto'``), of any other model of TorchGeo or timm, or a network; one for all
                modalities or one per modality.
            weights: TorchGeo weights or their name, the path of a file of the same layout, or None
                for random ones; one for all or one per modality.
            bands: Names of the channels of each modality, in order. Foundation models need them.
            mean: Mean of each channel, by which pixels are normalised; by default what the weights
                were trained with, else that of Sentinel-1 in decibels or Sentinel-2 in
                reflectance times 10,000.
            std: Standard deviation of each channel, as *mean*.
            input_size: Width in pixels to which patches are resampled for each modality; by default
                that of the model or the weights.
            normalize: ``'weights'`` for the pixels that model and weights were trained with, in
                their units; ``'data'`` for pixels of any kind, as they are stored, such as pictures
                for display: statistics are *mean* and *std*, those of the data module, or what
                :func:`~torchgeo_cmr.embed.measure_pixels` gives. Vectors of pictures that were
                normalised by different numbers then share a ``space``.
            keys: Where a sample holds each modality; ``image_<modality>`` by default.

        Raises:
            RasterError: If bands are missing or unknown to a model, or statistics are not known.
            ValueError: If a model or *normalize* is unknown, or weights are not of the model.
        """
        check_choice('normalize', normalize, Normalize)
        self.weights = weights
        self.models = each_model(model, in_channels)
        super().__init__(
            in_channels,
            keys=keys,
            bands=bands,
            mean=mean,
            std=std,
            retrieval_features='h',
        )
        self.requires_grad_(False).eval()
        specs = self._own_specs()
        for name, given in (('mean', mean), ('std', std)):
            for modality in given or ():
                specs[modality].pop(name, None)
        self.set_specs(specs)
        #: What the vectors depend on and the weights do not show.
        sizes = {m: self.model.encoder(m).size for m in self.modalities}
        self.hparams['input_size'] = sizes

    def configure_models(self) -> None:
        """Build the encoders; modalities of one foundation model share it."""
        shared: dict[tuple[str, Any], nn.Module] = {}
        backbones = {m: self._encoder(m, shared) for m in self.modalities}
        self.model = CrossModalEncoder(backbones, {m: nn.Identity() for m in backbones})

    def configure_losses(self) -> None:
        """Have none."""

    def configure_metrics(self) -> None:
        """Compare modalities where there are several."""
        if len(self.modalities) > 1:
            super().configure_metrics()

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Refuse to train.

        Args:
            outputs: What :meth:`forward` gave.

        Raises:
            OptionError: Always.
        """
        raise OptionError(
            'Pretrained has nothing to train: embed with it, or train SSCMRSIR with the same model '
            'and weights'
        )

    def _no_statistics(self, modality: str) -> RasterError:
        return RasterError(
            f'{self.models[modality]} has no statistics for the bands of {modality}: take '
            "normalize='data' (embed --model MODEL --normalize data), or pass mean= and std="
        )

    def load_encoders(self, other: 'Pretrained') -> None:
        """Take the weights of another task of the same models, for other modalities of them.

        Args:
            other: A task with as many different networks.
        """
        for ours, theirs in zip(self._distinct(), other._distinct(), strict=True):
            ours.load_state_dict(theirs.state_dict())

    def _encoder(
        self, modality: str, shared: dict[tuple[str, Any], nn.Module]
    ) -> nn.Module:
        """Build the encoder of a modality; foundation models are kept in *shared*."""
        model, found = self.models[modality], self._found(modality)
        weights = None if found is None else found.origin
        bands = (self.hparams['bands'] or {}).get(modality)
        who = f' for {modality}'
        chosen = (self.hparams['input_size'] or {}).get(modality)
        if isinstance(model, str) and model in ADAPTERS:
            if found is not None:
                check_model(found, model, who)
            adapter = adapter_of(model, bands, who)
            assert bands is not None  # adapter_of saw to it
            key = (model, weights)
            if key not in shared:
                shared[key] = adapter.build(model, weights)
            encoder = adapter(shared[key], bands)
            encoder.size = chosen or encoder.size
            return encoder
        encoder = build_encoder(
            model, self.in_channels[modality], weights, modality=modality, bands=bands
        )
        if not chosen and found is not None and found.enum is not None:
            chosen = image_size(found.enum)
        return _Resampled(encoder, chosen)

    def _found(self, modality: str) -> FoundWeights | None:
        """Find the weights of a modality, None if it has none."""
        given: Any = self.weights
        given = given[modality] if isinstance(given, Mapping) else given
        return find_weights(given, f' for {modality}') if given else None

    def _own_specs(self) -> dict[str, dict[str, Any]]:
        """Give what is known of the pixels that the encoders expect."""
        specs: dict[str, dict[str, Any]] = {}
        for modality in self.modalities:
            bands = (self.hparams['bands'] or {}).get(modality)
            found = self._found(modality)
            if bands is None and found is not None:
                bands = found.bands
            spec: dict[str, Any] = {
                'bands': bands,
                'patch_size': self.model.encoder(modality).size or _PATCH,
            }
            if self.hparams['normalize'] == 'data':
                specs[modality] = spec
                continue
            statistics = self._own_statistics(modality, bands, found)
            if statistics is not None:
                spec['mean'], spec['std'] = statistics
            sentinel = _sees_sentinel(bands, found)
            if sentinel:
                spec['gsd'] = 10.0
            if bands and is_radar(bands):
                # Of backscatter in decibels the mean is below zero.
                decibels = statistics is None or min(statistics[0]) < 0
                spec['units'] = 'db' if decibels else 'dn'
            elif found is not None and found.enum is not None and statistics:
                light = sentinel or found.enum.name.startswith('SENTINEL2')
                spec['scale'] = pixel_steps(*statistics, sentinel2=light)
            elif bands and sentinel:
                spec['scale'] = [1e-4] * len(bands)
            specs[modality] = spec
        return specs

    def _own_statistics(
        self, modality: str, bands: Sequence[str] | None, weights: FoundWeights | None
    ) -> tuple[list[float], list[float]] | None:
        """Give the statistics by which an encoder expects its pixels, None if unknown."""
        encoder = self.model.encoder(modality)
        if not isinstance(encoder, _Resampled):
            return encoder.statistics() if _is_sentinel(encoder.bands) else None
        found = for_bands(weights, bands, self.in_channels[modality])
        if found is not None:
            return found
        if bands and _is_sentinel(bands):
            return of_sensor(bands, str(self.models[modality]))
        return None

    def _distinct(self) -> list[nn.Module]:
        """Give the networks, each once, in the order of the modalities."""
        found: dict[int, nn.Module] = {}
        for modality in self.modalities:
            network = self.model.encoder(modality).network
            found.setdefault(id(network), network)
        return list(found.values())

    def _fingerprint(self, state: Mapping[str, Any], modalities: Sequence[str]) -> str:
        """Fingerprint of the networks alone, so that modalities of one network share it.

        Statistics count where they were given: those of a model follow from its name.
        """
        words: list[str] = []
        tensors: dict[str, Tensor] = {}
        numbers: dict[int, int] = {}
        clean = {uncompiled(name): value for name, value in state.items()}
        for modality in modalities:
            network = self.model.encoder(modality).network
            number = numbers.setdefault(id(network), len(numbers))
            prefix = f'model.backbones.{modality}.network.'
            tensors |= {
                f'{number}.{name.removeprefix(prefix)}': value
                for name, value in clean.items()
                if name.startswith(prefix) and not name.endswith('num_batches_tracked')
            }
            size = self.model.encoder(modality).size
            words.append(f'{number}:{self.models[modality]}:{size}')
            if self.hparams['normalize'] == 'data':
                words.append('normalised by the data')
            elif self.hparams['mean'] or self.hparams['std']:
                tensors |= {
                    f'{number}.{modality}.{n}': self._statistic(n, modality)
                    for n in ('mean', 'std')
                }
        return fingerprint(sorted({*words}), tensors)


class _Resampled(nn.Module):
    """An encoder for patches of any width, which are resampled to one."""

    def __init__(self, network: nn.Module, size: int | None) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch of normalised patches."""
        return self.network(resampled(x, self.size))


def _is_sentinel(bands: Sequence[str]) -> bool:
    """Say whether statistics of these bands are known."""
    return is_radar(bands) or all(band_key(band) in SENTINEL2 for band in bands)


def _sees_sentinel(bands: Sequence[str] | None, found: FoundWeights | None) -> bool:
    """Say whether an encoder expects pixels of Sentinel-1 or Sentinel-2, by its bands."""
    if not bands or not _is_sentinel(bands):
        return False
    enum = None if found is None else found.enum
    # Landsat numbers its bands likewise.
    return enum is None or not enum.name.startswith('LANDSAT')
