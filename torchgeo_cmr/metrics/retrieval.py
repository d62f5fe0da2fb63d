"""Instance retrieval between modalities, over a whole loader, as a torchmetrics Metric."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from .health import embedding_health
from .thinning import thin, unrepeated

__all__ = ('CrossModalRetrieval',)


class CrossModalRetrieval(Metric):
    """Recall of the own pair in the other modality.

    Each embedding of one modality looks for its pair among all embeddings of another modality
    that were seen since the last reset, over all ranks: the gallery is the whole loader, not
    the batch. Exactly one item is relevant to a query. Higher scores rank first and scores that
    are NaN last; those that are equal in float32 count as the mean over all their orders, so a
    constant or diverged encoder scores chance, which is k over the number of pairs.

    Neighbouring patches are counted as wrong here, although they may look the same: use it to
    watch training and to choose a checkpoint; judge an archive with an explicit relevance.
    Samples that a distributed sampler repeats to fill the last batch count once if they are numbered.

    Examples:
        >>> import torch
        >>> metric = CrossModalRetrieval(('s1', 's2'))
        >>> rows = torch.nn.functional.normalize(torch.eye(4) + 0.1)
        >>> metric.update({'s1': rows, 's2': rows})
        >>> float(metric.compute()['recall@1_s1_to_s2'])
        1.0
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    numbers: list[Tensor]

    def __init__(
        self,
        modalities: Sequence[str],
        ks: Sequence[int] = (1, 5, 10),
        *,
        health: bool = False,
        max_rows: int | None = None,
        chunk: int = 1024,
        **kwargs: Any,
    ) -> None:
        """Initialize a new CrossModalRetrieval instance.

        Args:
            modalities: Names of two or more modalities.
            ks: Cut-offs.
            health: Whether to compute
                :func:`~torchgeo_cmr.metrics.health.embedding_health` as well.
            max_rows: Rows of each modality that are scored at most, evenly spaced over those
                seen, for what is scored grows with their square; all by default.
            chunk: Queries scored at once (memory only).
            **kwargs: Forwarded to :class:`torchmetrics.Metric`.

        Raises:
            ValueError: If there are fewer than two modalities, or a cut-off is below 1.
        """
        super().__init__(**kwargs)
        self.modalities = tuple(modalities)
        self.ks = tuple(ks)
        if len(set(self.modalities)) < 2:
            raise ValueError(
                f'retrieval across modalities needs two or more, found {self.modalities}'
            )
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f'ks are cut-offs of at least 1, found {self.ks}')
        self.health = health
        self.max_rows = max_rows
        self.chunk = chunk
        for modality in self.modalities:
            self.add_state(f'rows_{modality}', default=[], dist_reduce_fx='cat')
        self.add_state('numbers', default=[], dist_reduce_fx='cat')

    def update(
        self, embeddings: Mapping[str, Tensor], numbers: Tensor | None = None
    ) -> None:
        """Take a batch of pairs.

        Args:
            embeddings: Unit rows per modality, each of shape (batch, dim); row i of one
                belongs to row i of every other.
            numbers: Which sample each row is of, int64 of shape (batch,), the same number for
                the same sample on whatever rank; each is scored once. Without, all rows are.

        Raises:
            ValueError: If a modality is missing or the numbers of rows differ.
        """
        missing = [m for m in self.modalities if m not in embeddings]
        if missing:
            raise ValueError(
                f'embeddings of {", ".join(missing)} are missing, found '
                f'{", ".join(embeddings) or "none"}'
            )
        sizes = {m: len(embeddings[m]) for m in self.modalities}
        if len(set(sizes.values())) > 1:
            raise ValueError(f'paired embeddings need one row per pair, found {sizes}')
        for modality in self.modalities:
            rows = embeddings[modality].detach().float()
            getattr(self, f'rows_{modality}').append(rows)
        if numbers is None:
            numbers = torch.full((len(rows),), -1, device=rows.device)
        self.numbers.append(numbers)

    def embeddings(self) -> dict[str, Tensor]:
        """Give back the rows that are scored of those seen on this rank since the last reset.

        Returns:
            Unit rows per modality, each of shape (rows, dim), float32.
        """
        kept = thin(unrepeated(dim_zero_cat(self.numbers)), self.max_rows)
        return {
            m: dim_zero_cat(getattr(self, f'rows_{m}'))[kept] for m in self.modalities
        }

    def compute(self) -> dict[str, Tensor]:
        """Rank every embedding's pair in every other modality.

        Returns:
            Scalars ``recall@<k>_<query>_to_<gallery>`` and ``median_rank_<query>_to_<gallery>``
            per direction, their means over directions ``recall@<k>`` and ``median_rank``, and
            the health figures if requested.
        """
        rows = self.embeddings()
        figures: dict[str, Tensor] = {}
        for query, gallery in permutations(self.modalities, 2):
            before, tied = self._ranks(rows[query], rows[gallery])
            direction = f'{query}_to_{gallery}'
            for k in self.ks:
                found = ((k - before) / tied).clamp(0, 1)
                figures[f'recall@{k}_{direction}'] = found.mean()
            # torch's median is the lower of the two in the middle, ours their mean
            ranks = before + (tied + 1) / 2
            figures[f'median_rank_{direction}'] = ranks.quantile(0.5)
        for name in [*(f'recall@{k}' for k in self.ks), 'median_rank']:
            each = [
                value for key, value in figures.items() if key.startswith(f'{name}_')
            ]
            figures[name] = torch.stack(each).mean()
        if self.health:
            figures.update(embedding_health(rows))
        return figures

    def _ranks(self, queries: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
        """Where row i of the gallery ranks among all, for query i.

        Args:
            queries: Unit rows, shape (rows, dim).
            gallery: Unit rows, shape (rows, dim).

        Returns:
            Rows of higher score, and those of equal score, itself among them, each of shape
            (rows,), float32.
        """
        device = gallery.device
        # A product of float32 depends in its last bit on where a row stands; Metal has no float64.
        if device.type == 'mps':
            queries, gallery = queries.cpu(), gallery.cpu()
        gallery = gallery.double().T
        position = torch.arange(len(queries), device=gallery.device)
        before, tied = [], []
        for part, rows in zip(
            queries.split(self.chunk), position.split(self.chunk), strict=True
        ):
            scores = (
                (part.double() @ gallery)
                .float()
                .nan_to_num(nan=-torch.inf, posinf=torch.inf)
            )
            score = scores.gather(1, rows.unsqueeze(1))
            before.append((scores > score).sum(dim=1))
            tied.append((scores == score).sum(dim=1))
        return torch.cat(before).float().to(device), torch.cat(tied).float().to(device)
