"""What happens between a question and its answer: filter, plan, rank, merge.

An index is, at any moment, a :class:`~torchgeo_cmr.search.state.State`; everything here is a
function of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .exact import above, top_k
from .filters import Step, Where
from .plan import Plan, choose
from .state import State

type _Rows = NDArray[np.int64]
type _Scores = NDArray[np.float32]
type _Answer = tuple[_Rows, _Scores]


@dataclass(frozen=True)
class Group:
    """Queries that may find the same rows."""

    queries: _Rows
    selection: list[_Rows]
    steps: tuple[Step, ...]

    @property
    def rows(self) -> int:
        """Give how many rows they may find."""
        return sum(map(len, self.selection))


def select(
    state: State, where: Where | None, query: EmbeddingTable | None
) -> tuple[list[_Rows], list[Step]]:
    """Give the living positions of each part that match, and what each clause did."""
    if where is not None and not isinstance(where, Where):
        raise QueryError(f'where is a {type(where).__name__}; give a Where(...)')
    selection: list[_Rows] = []
    steps: list[Step] = []
    for part, columns in zip(state.parts, state.columns.members, strict=True):
        if where is None:
            selection.append(part.living())
            continue
        living = part.living() if len(part.dead) else None
        some, told = where.narrow(columns, query, living)
        selection.append(some)
        steps += told
    return selection, summed(steps, 1)


def groups_of(
    state: State, where: Where | None, table: EmbeddingTable | None, num_queries: int
) -> list[Group]:
    """Put queries that may find the same rows together."""
    if (
        where is None
        or not isinstance(where, Where)
        or not where.relative
        or table is None
    ):
        selection, steps = select(state, where, None)
        return [Group(np.arange(num_queries), selection, tuple(steps))]
    equal: dict[bytes, tuple[list[int], list[_Rows], list[Step]]] = {}
    for i in range(num_queries):
        selection, steps = select(state, where, table.select([i]))
        key = b'|'.join(some.tobytes() for some in selection)
        equal.setdefault(key, ([], selection, []))
        equal[key][0].append(i)
        equal[key][2].extend(steps)
    return [
        Group(np.array(queries), selection, tuple(summed(steps, len(queries))))
        for queries, selection, steps in equal.values()
    ]


def summed(steps: Iterable[Step], times: int) -> list[Step]:
    """Add up steps of one clause over parts; take the mean over ``times`` runs."""
    by: dict[str, list[Step]] = {}
    for step in steps:
        by.setdefault(step.clause, []).append(step)
    return [
        Step(
            clause,
            round(sum(s.before for s in same) / times),
            round(sum(s.after for s in same) / times),
            sum(s.seconds for s in same),
            None
            if all(s.undated is None for s in same)
            else round(sum(s.undated or 0 for s in same) / times),
        )
        for clause, same in by.items()
    ]


def _rank(
    state: State,
    vectors: NDArray[Any],
    k: int,
    selection: Sequence[_Rows],
    *,
    exact: bool,
) -> tuple[_Rows, NDArray[np.float32], list[Plan]]:
    """Rank the selected rows of every part and merge."""
    answers: list[_Answer] = []
    plans: list[Plan] = []
    for i, (part, some) in enumerate(zip(state.parts, selection, strict=True)):
        if not len(some) and len(state.parts) > 1:
            continue
        others = () if exact else state.approximate[i]
        plan = choose(part.vectors, others, len(some), exact=exact)
        plans.append(plan)
        if plan.approximate is not None:
            found, score = plan.approximate.search(
                part.vectors, some, vectors, k, ties=part.ranks
            )
        else:
            found, score = top_k(
                part.vectors, some, vectors, k, ties=part.ranks, spare=plan.spare
            )
        answers.append((part.to_numbers(found) + state.starts[i], score))
    if not answers:
        empty = (len(vectors), 0)
        return np.empty(empty, np.int64), np.empty(empty, np.float32), plans
    return *_merged(answers, k, lambda rows: state.ties[rows]), plans


def _merged(answers: list[_Answer], k: int, ties: Any) -> _Answer:
    """Give the k best of several answers to the same queries."""
    if len(answers) == 1:
        return answers[0]
    rows = np.concatenate([a for a, _ in answers], axis=1)
    scores = np.concatenate([b for _, b in answers], axis=1)
    order = np.lexsort((ties(rows), -scores))[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def ranked(
    state: State,
    vectors: NDArray[Any],
    k: int,
    where: Where | None,
    table: EmbeddingTable | None,
    exact: bool,
    calibrated: bool,
) -> tuple[list[_Rows], list[_Scores], list[Group], list[Plan]]:
    """Rank every group of queries; rows and scores come one array a query."""
    groups = groups_of(state, where, table, len(vectors))
    rows: list[_Rows] = [np.empty(0, np.int64)] * len(vectors)
    scores: list[_Scores] = [np.empty(0, np.float32)] * len(vectors)
    plans: list[Plan] = []
    for group in groups:
        asked = vectors[group.queries]
        parts = (
            state.calibration.split(group.selection)
            if calibrated
            else [(None, group.selection)]
        )
        answers = []
        for modality, selection in parts:
            found, score, more = _rank(state, asked, k, selection, exact=exact)
            plans += more
            if calibrated:
                score = state.calibration.standardise(asked, score, modality)
            answers.append((found, score))
        found, score = _merged(answers, k, lambda some: state.ties[some])
        for i, query in enumerate(group.queries):
            rows[query], scores[query] = found[i], score[i]
    return rows, scores, groups, plans


def reaching(
    state: State,
    vectors: NDArray[Any],
    min_score: float,
    where: Where | None,
    table: EmbeddingTable | None,
) -> tuple[list[_Rows], list[_Scores]]:
    """Give all rows that reach a score, one array a query."""
    rows: list[_Rows] = [np.empty(0, np.int64)] * len(vectors)
    scores: list[_Scores] = [np.empty(0, np.float32)] * len(vectors)
    for group in groups_of(state, where, table, len(vectors)) if len(vectors) else ():
        pairs = []
        for part, some, start in zip(
            state.parts, group.selection, state.starts, strict=False
        ):
            owner, position, score = above(
                part.vectors, some, vectors[group.queries], min_score, ties=part.ranks
            )
            pairs.append((owner, part.to_numbers(position) + start, score))
        owner, row, score = (np.concatenate(p) for p in zip(*pairs, strict=True))
        order = np.lexsort((state.ties[row], -score, owner))
        cuts = np.searchsorted(owner[order], np.arange(1, len(group.queries)))
        for i, own in zip(group.queries, np.split(order, cuts), strict=True):
            rows[i], scores[i] = row[own], score[own]
    return rows, scores
