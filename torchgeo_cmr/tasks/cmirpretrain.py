"""Stage A of CMIR-NET: each modality learns its classes on its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torchgeo_cmr.losses import SoftOrthogonalityLoss
from torchgeo_cmr.models.cmir_network import ClassifiedEncoders

from .label_task import LabelledTask
from .labels import class_loss
from .networks import Models, Weights

__all__ = ('CMIRPretrain', 'stage_a_losses')


class CMIRPretrain(LabelledTask):
    r"""Classify each modality on its own, with features that are softly orthogonal.

    .. math::

       L_A = \sum_m CE(c_m(Z_m), y_m) + \lambda \|\tilde{Z}_m^T \tilde{Z}_m - I\|_F^2

    with binary cross-entropy instead where a row has many labels. What is embedded is *z*, the
    shares of the classes that a classifier gives (a common space without stage B, and a
    baseline for it), or *h*, the features Z, which have no common space.

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    The orthogonality term is on the authors' slides; their code has cross-entropy alone, and
    the weight of the term is not in any source we have.

    Relations: :class:`CMIRNet` trains this stage first (``pretrain_epochs``), or loads a
    checkpoint of this task (``pretrained``).

    Examples:
        >>> task = CMIRPretrain(
        ...     {'pan': 1, 'ms': 4}, 8, {'pan': 'cmir_pan', 'ms': 'cmir_ms'}
        ... ).eval()
        >>> task.set_specs({'ms': {'mean': [0.0] * 4, 'std': [1.0] * 4}})
        >>> task.embed(
        ...     {'image_ms': torch.rand(3, 4, 64, 64)}, 'ms'
        ... ).shape  # shares of 8 classes
        torch.Size([3, 8])
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        num_classes: int,
        model: Models = 'resnet18',
        weights: Weights = None,
        *,
        orth_weight: float = 1e-3,
        **options: Any,
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
            orth_weight: Weight of the orthogonality term; 0 removes it. The term needs
                batches of *feature_dim* rows or more.
            **options: Those of :class:`~torchgeo_cmr.tasks.label_task.LabelledTask`, such as
                *feature_dim*, *label_keys* and *lr*, and of :class:`CrossModalTask`.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            TypeError: If an option has an unknown name.
            ValueError: If an option has an unknown value or does not go with another.
        """
        if orth_weight < 0:
            raise ValueError(f'orth_weight is 0 or more, found {orth_weight}')
        super().__init__(in_channels, num_classes, model, weights, **options)

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
        orth_weight: Its weight; 0 removes it.

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
