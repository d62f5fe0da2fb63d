"""MIM: distinguish the own pair from all other rows of the batch (NT-Xent, InfoNCE)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from torchgeo_cmr.errors import check_choice

from .pairs import Loss, check_pairs, gather_pairs, unit_rows

__all__ = ('MIMLoss',)

Negatives = Literal['all', 'cross']

#: Largest factor of the cosines that a learned temperature may reach, as in CLIP.
MAX_SCALE = 100.0


class MIMLoss(Loss):
    r"""Mutual information maximisation between two modalities.

    With the 2B unit rows *w* of both modalities, *p(i)* the own pair of row *i* and *s* the
    cosine, ``negatives='all'`` is

    .. math::

       -\frac{1}{2B} \sum_i \log \frac{\exp(s(w_i, w_{p(i)}) / \tau)}
       {\sum_{j \ne i} \exp(s(w_i, w_j) / \tau)}

    so rows of the own modality are negatives too. ``negatives='cross'`` excludes those: the
    symmetric form of CLIP. Batches should be large (the published runs used 128 to 256 pairs)
    and must not hold two patches of one place, which would be false negatives.

    If you use this loss in your research, please cite the following papers:

    * SS-CM-RSIR: https://arxiv.org/abs/2202.11429
    * NT-Xent: https://arxiv.org/abs/2002.05709
    * symmetric form (CLIP): https://arxiv.org/abs/2103.00020

    Relations: pulls pairs together and pushes everything else apart, so it does not collapse
    on its own. :class:`MDELoss` and :class:`ISLoss` only pull and need this one alongside.
    With ``negatives='all'`` in one process it equals lightly's ``NTXentLoss``, which has no
    negatives from the other modality alone, needs batches of equal size on all ranks, and
    computes its cosines in half precision under autocast.

    Examples:
        >>> z = torch.eye(4)
        >>> loss = MIMLoss(temperature=0.5)
        >>> round(loss(z, z).item(), 3)  # each pair alike, all others different
        0.594
        >>> round(loss(z, z.flip(0)).item(), 3)  # the wrong pairs alike
        2.594
    """

    settings = ('temperature', 'negatives')

    def __init__(
        self,
        temperature: float = 0.5,
        *,
        negatives: Negatives = 'all',
        learned: bool = False,
        gather_distributed: bool = True,
    ) -> None:
        """Initialize a new MIMLoss instance.

        Args:
            temperature: Divisor of the cosines, above 0; smaller means harder negatives.
            negatives: ``'all'`` rows of both modalities, or ``'cross'`` for the other
                modality alone.
            learned: Whether the temperature is trained too, from *temperature* on: the logarithm
                of its inverse is a parameter, and the inverse stays at or below 100, as in CLIP.
            gather_distributed: Use the rows of all ranks as negatives while training (with
                gradient), if a process group is initialised. Off in evaluation mode.

        Raises:
            ValueError: If *temperature* is not above 0 or *negatives* is unknown.
        """
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be above 0, found {temperature}')
        check_choice('negatives', negatives, Negatives)
        self.temperature = temperature
        self.negatives = negatives
        self.learned = learned
        if learned:
            self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.gather_distributed = gather_distributed

    def forward(
        self, z_a: Tensor, z_b: Tensor, exclude: Tensor | None = None
    ) -> Tensor:
        """Compute the loss of a batch of pairs.

        Args:
            z_a: Projections of one modality, shape (batch, dim), any floating dtype, any
                length of row.
            z_b: Projections of the other modality, same shape; row i belongs to row i.
            exclude: Rows that are no negatives of each other, shape (batch, rows of all ranks),
                bool, as :func:`false_negatives` gives. The own pair is not affected.

        Returns:
            Scalar, float32, at least 0 (0 for a single pair). Over ranks it is this rank's
            share, whose mean over ranks is the loss of the whole batch.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(z_a, z_b)
        # exp(1 / 0.05) overflows fp16: everything below runs in fp32, under autocast too.
        with torch.autocast(z_a.device.type, enabled=False):
            a, b = unit_rows(z_a), unit_rows(z_b)
            gather = self.gather_distributed and self.training
            (all_a, all_b), start, share = gather_pairs(a, b, active=gather)
            row = torch.arange(len(a), device=a.device)
            pair = row + start

            logits_a, logits_b = self._scaled(a @ all_b.T), self._scaled(b @ all_a.T)
            positive_a, positive_b = logits_a[row, pair], logits_b[row, pair]
            never = a.new_tensor(-torch.inf)
            if exclude is not None:
                exclude = exclude.index_put((row, pair), exclude.new_zeros(()))
                logits_a = logits_a.masked_fill(exclude, -torch.inf)
                logits_b = logits_b.masked_fill(exclude, -torch.inf)
            if self.negatives == 'all':
                same_a = self._scaled(a @ all_a.T).index_put((row, pair), never)
                same_b = self._scaled(b @ all_b.T).index_put((row, pair), never)
                if exclude is not None:
                    same_a = same_a.masked_fill(exclude, -torch.inf)
                    same_b = same_b.masked_fill(exclude, -torch.inf)
                logits_a = torch.cat([logits_a, same_a], dim=1)
                logits_b = torch.cat([logits_b, same_b], dim=1)
            loss_a = torch.logsumexp(logits_a, dim=1) - positive_a
            loss_b = torch.logsumexp(logits_b, dim=1) - positive_b
            return (loss_a + loss_b).mean() / 2 * share

    def _scaled(self, cosines: Tensor) -> Tensor:
        """Divide cosines by the temperature."""
        if not self.learned:
            return cosines / self.temperature
        if self.training:  # in place, so that the gradient can still lower it
            with torch.no_grad():
                self.log_scale.clamp_(max=math.log(MAX_SCALE))
        return cosines * self.log_scale.float().exp()
