"""The terms of CMIR-NET: Frobenius norms of differences, weights and Gram matrices."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from torchgeo_cmr.errors import check_choice

from .pairs import Loss, check_pairs, gather_rows

__all__ = ('FrobeniusLoss', 'SoftOrthogonalityLoss', 'WeightNormLoss')

Reduction = Literal['mean', 'sum', 'norm']
Kind = Literal['squared', 'absolute', 'elementwise']


class FrobeniusLoss(Loss):
    r"""Distance of two batches of features, or of one batch from the origin.

    With *D* the difference of the two (or the one batch itself):

    * ``reduction='mean'``: :math:`\|D\|_F^2 / B`, independent of the number *B* of rows;
    * ``reduction='sum'``: :math:`\|D\|_F^2`, as on the authors' slides;
    * ``reduction='norm'``: :math:`\|D\|_F`, not squared, as in their code.

    While training, in a process group, *D* has the rows of all ranks, so that the loss is that of
    one process on the whole batch, also for ``'norm'`` and for ranks with different numbers of rows.

    Three terms of CMIR-NET are this loss: the latent term of two embeddings, the decoder term
    of a reconstruction and its target, and the feature norm of an embedding alone.

    If you use this loss in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    Relations: :class:`~torchgeo_cmr.tasks.CMIRNet` weighs and adds the terms. Nothing but the
    class term of that task keeps a constant encoder from being a perfect solution of it.

    Examples:
        >>> a, b = torch.ones(2, 3), torch.zeros(2, 3)
        >>> [FrobeniusLoss(kind)(a, b).item() for kind in ('mean', 'sum')]
        [3.0, 6.0]
    """

    settings = ('reduction',)

    def __init__(self, reduction: Reduction = 'mean') -> None:
        """Initialize a new FrobeniusLoss instance.

        Args:
            reduction: ``'mean'``, ``'sum'`` or ``'norm'``.

        Raises:
            ValueError: If *reduction* is unknown.
        """
        super().__init__()
        check_choice('reduction', reduction, Reduction)
        self.reduction = reduction

    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch.

        Args:
            a: Features, shape (batch, dim), any floating dtype.
            b: Features of the same shape, row i for row i; the origin by default.

        Returns:
            Scalar, float32, at least 0; 0 for a batch without rows.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(a, a if b is None else b)
        with torch.autocast(a.device.type, enabled=False):
            difference = a.float() if b is None else a.float() - b.float()
            every, _, _ = gather_rows(difference, active=self.training)
            size = _frobenius(every, squared=self.reduction != 'norm')
            return size / max(len(every), 1) if self.reduction == 'mean' else size


class WeightNormLoss(Loss):
    r"""Draw the Frobenius norm of a weight matrix towards a number.

    :math:`(\|W\|_F - \alpha)^2` (``kind='squared'``), :math:`|\|W\|_F - \alpha|`
    (``'absolute'``, the published code of CMIR-NET for speech), or :math:`\|W - \alpha\|_F^2`
    (``'elementwise'``, the formula as its slides print it, which draws every single weight
    towards alpha and so grows with the size of the matrix). The slides report that retrieval
    collapses with alpha = 0.

    If you use this loss in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    Relations: one of the terms of :class:`~torchgeo_cmr.tasks.CMIRNet`.

    Examples:
        >>> WeightNormLoss(alpha=1.0)(torch.tensor([[3.0, 4.0]])).item()
        16.0
    """

    settings = ('alpha', 'kind')

    def __init__(self, alpha: float = 1.0, kind: Kind = 'squared') -> None:
        """Initialize a new WeightNormLoss instance.

        Args:
            alpha: Target of the norm, at least 0; of every weight for ``'elementwise'``.
            kind: ``'squared'``, ``'absolute'`` or ``'elementwise'``.

        Raises:
            ValueError: If *alpha* is negative or *kind* is unknown.
        """
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f'alpha is a norm, at least 0, found {alpha}')
        check_choice('kind', kind, Kind)
        self.alpha, self.kind = alpha, kind

    def forward(self, weight: Tensor) -> Tensor:
        """Compute the loss of one matrix.

        Args:
            weight: Weights of any shape.

        Returns:
            Scalar, float32, at least 0.
        """
        with torch.autocast(weight.device.type, enabled=False):
            if self.kind == 'elementwise':
                return _frobenius(weight.float() - self.alpha, squared=True)
            gap = _frobenius(weight.float(), squared=False) - self.alpha
            return gap.square() if self.kind == 'squared' else gap.abs()


class SoftOrthogonalityLoss(Loss):
    r"""Push the features of a batch towards orthogonal columns.

    :math:`\|\tilde{Z}^T \tilde{Z} - I\|_F^2`, where the columns of *Z* (one per feature,
    over the batch) are scaled to length one; without that a batch whose features have another
    size cannot reach the identity. With fewer rows *B* than features *D* the columns cannot be
    orthogonal and the loss stays at or above D (D - B) / B; take batches of D rows or more. A
    feature that is 0 in the whole batch counts 1. While training, in a process group, the batch is
    that of all ranks.

    If you use this loss in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    Relations: the second term of :class:`~torchgeo_cmr.tasks.CMIRPretrain`. The authors'
    slides have it, their published code does not.

    Examples:
        >>> SoftOrthogonalityLoss()(torch.eye(3)).item()
        0.0
        >>> round(SoftOrthogonalityLoss()(torch.ones(3, 3)).item(), 3)
        6.0
    """

    settings = ('normalize',)

    def __init__(self, *, normalize: bool = True) -> None:
        """Initialize a new SoftOrthogonalityLoss instance.

        Args:
            normalize: Whether columns are scaled to length one first.
        """
        super().__init__()
        self.normalize = normalize

    def forward(self, z: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            z: Features, shape (batch, features), any floating dtype.

        Returns:
            Scalar, float32, at least 0.

        Raises:
            ValueError: If *z* is not a matrix.
        """
        if z.ndim != 2:
            raise ValueError(
                f'features are a matrix (batch, features), found shape {tuple(z.shape)}'
            )
        with torch.autocast(z.device.type, enabled=False):
            z, _, _ = gather_rows(z.float(), active=self.training)
            z = F.normalize(z, dim=0, eps=1e-8) if self.normalize else z
            gram = z.T @ z
            identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
            return _frobenius(gram - identity, squared=True)


def _frobenius(x: Tensor, *, squared: bool) -> Tensor:
    """Compute the Frobenius norm of a tensor, or its square.

    Torch gives its norm a gradient of 0 at 0, where the root of the square has none.
    """
    return x.square().sum() if squared else torch.linalg.vector_norm(x)
