"""IS: draw each image closer to the most similar image of its own modality."""

from typing import Literal

import torch
from torch import Tensor

from torchgeo_cmr.errors import check_choice

from .pairs import Loss, check_pairs, gather_pairs, unit_rows

__all__ = ('ISLoss',)

Distance = Literal['euclidean', 'cosine']
MineWith = Literal['own', 'other', 'both']


class ISLoss(Loss):
    r"""Intra-modal similarity: raise the cosine of nearest neighbours within a modality.

    In each modality the neighbour of image *i* is the closest other image of the batch,
    :math:`n_m(i) = \arg\min_{j \ne i} \lVert h_i^m - h_j^m \rVert_2`, and the loss is

    .. math::

       -\frac{1}{2} \sum_m \frac{1}{B} \sum_i s(h_i^m, h_{n_m(i)}^m)

    with *s* the cosine. The choice of neighbours has no gradient; both members of a chosen
    pair receive one. Published code of the same group adds this mean cosine with the opposite sign,
    which drives neighbours apart; we follow the words of the paper.

    If you use this loss in your research, please cite the following paper:

    * https://arxiv.org/abs/2202.11429

    Relations: like :class:`MDELoss` it only pulls, and a constant encoder is a perfect
    solution of it; it sharpens what :class:`MIMLoss` has separated.

    Examples:
        >>> h = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> ISLoss()(h, h).item()  # one of four nearest neighbours is orthogonal
        -0.75
    """

    settings = ('num_neighbors', 'distance', 'detach_neighbor', 'mine_with', 'is_sign')

    def __init__(
        self,
        *,
        num_neighbors: int = 1,
        distance: Distance = 'euclidean',
        detach_neighbor: bool = False,
        mine_with: MineWith = 'own',
        is_sign: int = -1,
        gather_distributed: bool = True,
    ) -> None:
        """Initialize a new ISLoss instance.

        Args:
            num_neighbors: How many nearest neighbours to average over; a batch with fewer
                other images uses those it has.
            distance: What "most similar" is measured with when neighbours are chosen.
            detach_neighbor: Whether the gradient stops at the neighbour.
            mine_with: Whose distances choose the neighbours of a modality: its ``'own'``, the
                ``'other'`` modality's, or ``'both'`` (the mean over both choices).
            is_sign: -1 draws neighbours together (the paper); +1 drives them apart and is
                here for ablations only.
            gather_distributed: Look for neighbours on all ranks while training, if a process
                group is initialised. Off in evaluation mode.

        Raises:
            ValueError: If an option is unknown or *num_neighbors* is below 1.
        """
        super().__init__()
        if num_neighbors < 1:
            raise ValueError(f'num_neighbors must be at least 1, found {num_neighbors}')
        check_choice('distance', distance, Distance)
        check_choice('mine_with', mine_with, MineWith)
        if is_sign not in (-1, 1):
            raise ValueError(f'is_sign must be -1 or +1, found {is_sign}')
        self.num_neighbors = num_neighbors
        self.distance = distance
        self.detach_neighbor = detach_neighbor
        self.mine_with = mine_with
        self.is_sign = is_sign
        self.gather_distributed = gather_distributed

    def forward(self, h_a: Tensor, h_b: Tensor) -> Tensor:
        """Compute the loss of a batch of pairs.

        Args:
            h_a: Encoder outputs of one modality, shape (batch, dim), any floating dtype.
            h_b: Encoder outputs of the other, shape (batch, other dim); row i belongs to
                row i.

        Returns:
            Scalar, float32, between -1 (every neighbour in the same direction) and 1; 0 if
            there are fewer than two pairs, because then no image has a neighbour.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(h_a, h_b, same_dim=False)
        with torch.autocast(h_a.device.type, enabled=False):
            rows = h_a.float(), h_b.float()
            gather = self.gather_distributed and self.training
            archive, start, share = gather_pairs(*rows, active=gather)
            if len(archive[0]) < 2 or len(h_a) < 1:
                # part of the graph, so that backward still works
                return (rows[0].sum() + rows[1].sum()) * 0
            near = [
                self._neighbors(x, y, start) for x, y in zip(rows, archive, strict=True)
            ]

            total = rows[0].new_zeros(())
            for m in range(2):
                chosen = {
                    'own': near[m],
                    'other': near[1 - m],
                    'both': torch.cat([near[m], near[1 - m]], dim=1),
                }[self.mine_with]
                unit, candidates = unit_rows(rows[m]), unit_rows(archive[m])
                if self.detach_neighbor:
                    candidates = candidates.detach()
                cosine = (unit.unsqueeze(1) * candidates[chosen]).sum(dim=2)
                total = total + cosine.mean() / 2
            return self.is_sign * total * share

    @torch.no_grad()
    def _neighbors(self, rows: Tensor, archive: Tensor, start: int) -> Tensor:
        """Find the nearest other rows; of equally near ones the first.

        Args:
            rows: Features of this rank, shape (batch, dim).
            archive: Features of all ranks, shape (total, dim).
            start: Position of the first of *rows* in *archive*.

        Returns:
            Positions in *archive*, shape (batch, k), int64, nearest first.
        """
        if self.distance == 'cosine':
            far = -(unit_rows(rows) @ unit_rows(archive).T)
        else:
            # Differences, not products: rounding of products hides near duplicates.
            mode = 'donot_use_mm_for_euclid_dist'
            far = torch.cdist(rows, archive, compute_mode=mode)
        row = torch.arange(len(rows), device=rows.device)
        far[row, row + start] = torch.inf
        k = min(self.num_neighbors, len(archive) - 1)
        return far.sort(dim=1, stable=True).indices[:, :k]
