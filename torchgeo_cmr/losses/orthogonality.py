"""Soft orthogonality: every feature should say something of its own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ('SoftOrthogonalityLoss',)


class SoftOrthogonalityLoss(nn.Module):
    r"""Push the features of a batch towards orthogonal columns.

    :math:`\|\tilde{Z}^T \tilde{Z} - I\|_F^2`, where the columns of *Z* (one a feature, over
    the batch) are scaled to length one; without that the identity is out of reach for a batch
    of any other size of features. With fewer rows *B* than features *D* the columns cannot be
    orthogonal and the loss stays at or above D (D - B) / B; take batches of D rows or more. A
    feature that is 0 in the whole batch counts 1.

    If you use this loss in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    Relations: the second term of :class:`~torchgeo_cmr.tasks.CMIRPretrain`. The authors'
    slides have it, their published code has not.
    """

    def __init__(self, *, normalize: bool = True) -> None:
        """Initialize a new SoftOrthogonalityLoss instance.

        Args:
            normalize: Whether columns are scaled to length one first.
        """
        super().__init__()
        self.normalize = normalize

    def extra_repr(self) -> str:
        """Show the settings in the model's print-out.

        Returns:
            The settings as ``name=value``.
        """
        return f'normalize={self.normalize}'

    def forward(self, z: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            z: Features, shape (batch, features), any floating dtype.

        Returns:
            Scalar, float32, at least 0.

        Raises:
            ValueError: If *z* is no matrix.
        """
        if z.ndim != 2:
            raise ValueError(
                f'features are a matrix (batch, features), found shape {tuple(z.shape)}'
            )
        with torch.autocast(z.device.type, enabled=False):
            z = F.normalize(z.float(), dim=0, eps=1e-8) if self.normalize else z.float()
            gram = z.T @ z
            identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
            return (gram - identity).square().sum()
