"""Stage A of CMIR-NET: each modality learns its classes by itself."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.losses import SoftOrthogonalityLoss
from torchgeo_cmr.models.cmir_network import ClassifiedEncoders

from .base import RetrievalFeatures
from .label_task import LabelledTask, Similarity
from .labels import class_loss
from .optim import OptimizerName, ScheduleName

__all__ = ('CMIRPretrain', 'stage_a_losses')


class CMIRPretrain(LabelledTask):
    r"""Classify each modality by itself, with features that are softly orthogonal.

    .. math::

       L_A = \sum_m CE(c_m(Z_m), y_m) + \lambda \|\tilde{Z}_m^T \tilde{Z}_m - I\|_F^2

    with binary cross-entropy instead where a row has many labels. What is embedded is *z*, the
    shares of the classes that a classifier gives (a common space without stage B, and a
    baseline for it), or *h*, the features Z, which have no common space.

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    The orthogonality term is on the authors' slides; their code has cross-entropy alone, and
    the weight of the term is not in any source we have.

    Relations: :class:`CMIRNet` trains this stage by itself (``pretrain_epochs``), or takes a
    checkpoint of this task (``pretrained``).
    """

    ignore: Sequence[str] | str | None = ('weights',)

    def __init__(
        self,
        in_channels: dict[str, int],
        num_classes: int,
        model: str | nn.Module | Mapping[str, str | nn.Module] = 'resnet18',
        weights: dict[str, WeightsEnum | str | bool | None]
        | WeightsEnum
        | str
        | bool
        | None = None,
        *,
        feature_dim: int = 128,
        dropout: float = 0.5,
        orth_weight: float = 1e-3,
        speech: dict[str, Any] | None = None,
        label_keys: dict[str, str] | None = None,
        similarity: Similarity = 'cosine',
        new_bands: Literal['error', 'mean'] = 'error',
        freeze_backbone: bool = False,
        retrieval_features: RetrievalFeatures = 'z',
        keys: dict[str, str] | None = None,
        bands: dict[str, list[str]] | None = None,
        mean: dict[str, list[float]] | None = None,
        std: dict[str, list[float]] | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        warmup_epochs: int = 10,
        optimizer: OptimizerName = 'adam',
        schedule: ScheduleName = 'constant',
    ) -> None:
        """Initialize a new CMIRPretrain instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name; 1 for
                speech, and the width of vectors that another network made.
            num_classes: Number of classes.
            model: Name of the encoder, one for both or one per modality, as of
                :func:`~torchgeo_cmr.models.build_feature_encoder`: ``'cmir_pan'``,
                ``'cmir_ms'``, ``'speech'``, ``'speech:<timm model>'``, ``'mlp'``,
                ``'identity'``, any timm or TorchGeo model, or a network.
            weights: Initial weights of timm models, as of :class:`SSCMRSIR`.
            feature_dim: Width of the features Z.
            dropout: Share of features that are dropped in training.
            orth_weight: Weight of the orthogonality term; 0 leaves it out. The term wants
                batches of *feature_dim* rows or more.
            speech: Options of :class:`~torchgeo_cmr.models.SpeechEncoder`, such as
                ``{'frames': 160}``.
            label_keys: Where a batch holds the labels of each modality: class numbers, shape
                (batch,), or many-hot labels, shape (batch, num_classes). ``label`` by default,
                and ``audio_label`` for speech.
            similarity: What validation and test rank by: ``'cosine'``, as archives do, or
                ``'euclidean'`` distance of the features as they are, as the paper does.
            new_bands: What initial weights give a band they do not know.
            freeze_backbone: Whether the networks stay as they are, their batch norm too, and
                only the layers on top of them are trained.
            retrieval_features: Whether to retrieve with ``'z'`` or ``'h'``.
            keys: Where a sample holds each modality; ``image_<modality>`` by default, and
                ``audio`` for speech.
            bands: Names of the channels of each modality, in order.
            mean: Mean of each channel of each modality.
            std: Standard deviation of each channel of each modality.
            lr: Learning rate.
            weight_decay: Weight decay of matrices and kernels.
            warmup_epochs: Epochs of linear warm-up of the cosine, at most a tenth of the run.
            optimizer: ``'adam'``, ``'adamw'`` or ``'sgd'`` (no momentum).
            schedule: ``'constant'``, ``'cosine'`` with warm-up, or ``'onecycle'``.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If an option is unknown or does not go with another.
        """
        if orth_weight < 0:
            raise ValueError(f'orth_weight is 0 or more, found {orth_weight}')
        super().__init__(
            in_channels,
            num_classes,
            model,
            weights,
            feature_dim=feature_dim,
            dropout=dropout,
            speech=speech,
            label_keys=label_keys,
            similarity=similarity,
            new_bands=new_bands,
            keys=keys,
            bands=bands,
            mean=mean,
            std=std,
            retrieval_features=retrieval_features,
            freeze_backbone=freeze_backbone,
            lr=lr,
            weight_decay=weight_decay,
            warmup_epochs=warmup_epochs,
            optimizer=optimizer,
            schedule=schedule,
        )

    def configure_models(self) -> None:
        """Initialize encoders and classifiers."""
        self.model = self.build_stage_a()

    def configure_losses(self) -> None:
        """Initialize the orthogonality term."""
        self.orthogonality = SoftOrthogonalityLoss()

    def batch_losses(
        self, batch: Mapping[str, Any], outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compare each modality with its labels.

        Args:
            batch: Samples with labels.
            outputs: What :meth:`forward` made of them.

        Returns:
            Scalars: ``loss``, and the unweighted terms ``class`` and ``orth``, sums over the
            modalities.

        Raises:
            ValueError: If labels are missing or do not fit the classes.
        """
        features = {m: output['h'] for m, output in outputs.items()}
        return stage_a_losses(
            self.model,
            features,
            self.labels(batch),
            self.orthogonality,
            self.hparams['orth_weight'],
        )


def stage_a_losses(
    model: ClassifiedEncoders,
    features: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    orthogonality: SoftOrthogonalityLoss,
    orth_weight: float,
) -> dict[str, Tensor]:
    """Add up the losses of stage A.

    Args:
        model: Has the classifiers.
        features: Z of each modality, shape (batch, feature_dim).
        labels: Labels of each modality.
        orthogonality: The orthogonality term.
        orth_weight: Its weight; 0 leaves it out.

    Returns:
        Scalars ``loss``, ``class`` and, if it takes part, ``orth``.
    """
    each = [class_loss(model.classify(z, m), labels[m]) for m, z in features.items()]
    losses = {'class': torch.stack(each).sum()}
    total = losses['class']
    if orth_weight:
        losses['orth'] = torch.stack(
            [orthogonality(z) for z in features.values()]
        ).sum()
        total = total + orth_weight * losses['orth']
    return {'loss': total, **losses}
