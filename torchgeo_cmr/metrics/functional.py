"""Retrieval metrics as pure NumPy functions of ranked relevance, and their chance levels.

This is the door; each family lives in a file of its own next to it. All functions that judge a
ranking take *ranked*: shape (queries, k), entry [q, i] is whether (bool) or how much (any
number, relevant if above 0) the item at rank i + 1 of query q is relevant. They never see a
score, so neither the sign nor the scale of a similarity can matter; :func:`rank_relevance`
makes *ranked* from scores, :func:`rank_blocks` from vectors too many to compare at once. Each
returns one value per query, float64; a query without any relevant item has no value (NaN), and
:func:`mean_over_queries` skips such queries and counts them.

*num_relevant* is the number of relevant items in the whole archive, shape (queries,), called R
below. It may be omitted if *ranked* is the full ranking.

Functions named ``expected_*`` are the exact mean over all orders of an archive: what a random
ranking scores. No metric of a table means anything without that number next to it; where there
is not a formula, rank with :class:`RandomOrder`.

:data:`METRICS` has all metrics under the names that tables print, :data:`CHANCE` the chance
levels under the same names, and :func:`score_ranking` computes metrics from vectors.
"""

from .anmrr import anmrr, nmrr
from .average import average_precision, mean_of_precisions
from .binary import (
    f1,
    first_rank,
    hit_rate,
    median_rank,
    precision,
    recall,
    reciprocal_rank,
)
from .chance import (
    expected_average_precision,
    expected_average_precision_at_r,
    expected_hit_rate,
    expected_precision,
    expected_recall,
    expected_reciprocal_rank,
)
from .chunked import RandomOrder, RankedBlock, dot_product, rank_blocks
from .distances import chi_square, euclidean_similarity
from .levels import CHANCE, Pool
from .multilabel import (
    ItemScores,
    f1_at_k,
    f1_at_rank,
    f1_of_means,
    item_scores,
    mean_at_k,
    shared_labels,
)
from .ranking import QueryMean, mean_over_queries, rank_relevance
from .registry import METRICS, Ranking, RankingMetric
from .relevance_grades import average_cumulative_gain, ndcg, weighted_average_precision
from .relevant_depth import (
    average_precision_at_r,
    capped_f1,
    capped_recall,
    r_precision,
)
from .scoring import Scored, score_ranking
from .ties import Ties, find_ties
from .truth import Judgement, LabelTruth, MatrixTruth, Truth

__all__ = (
    'CHANCE',
    'METRICS',
    'ItemScores',
    'Judgement',
    'LabelTruth',
    'MatrixTruth',
    'Pool',
    'QueryMean',
    'RandomOrder',
    'RankedBlock',
    'Ranking',
    'RankingMetric',
    'Scored',
    'Ties',
    'Truth',
    'anmrr',
    'average_cumulative_gain',
    'average_precision',
    'average_precision_at_r',
    'capped_f1',
    'capped_recall',
    'chi_square',
    'dot_product',
    'euclidean_similarity',
    'expected_average_precision',
    'expected_average_precision_at_r',
    'expected_hit_rate',
    'expected_precision',
    'expected_recall',
    'expected_reciprocal_rank',
    'f1',
    'f1_at_k',
    'f1_at_rank',
    'f1_of_means',
    'find_ties',
    'first_rank',
    'hit_rate',
    'item_scores',
    'mean_at_k',
    'mean_of_precisions',
    'mean_over_queries',
    'median_rank',
    'ndcg',
    'nmrr',
    'precision',
    'r_precision',
    'rank_blocks',
    'rank_relevance',
    'recall',
    'reciprocal_rank',
    'score_ranking',
    'shared_labels',
    'weighted_average_precision',
)
